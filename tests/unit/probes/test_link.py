"""The link check against what netlink may tell."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from anycastd.model.checks import CheckKind, LinkOptions, Timing
from anycastd.model.kernel import LinkView
from anycastd.model.probe import Outcome, Why
from tests.unit.probes.world import probing, spec

UP = LinkView("t1", 7, True, True, "unknown", frozenset({ip_address("10.0.0.1")}))


@pytest.mark.parametrize(
    ("link", "require", "why"),
    [
        (UP, True, Why.ANSWERED),
        (None, True, Why.NO_DEVICE),
        (replace(UP, admin_up=False), True, Why.LINK_DOWN),
        (replace(UP, carrier=False), True, Why.LINK_DOWN),
        (replace(UP, operstate="lowerlayerdown"), True, Why.LINK_DOWN),
        (replace(UP, addresses=frozenset()), True, Why.ADDRESS_GONE),
        (replace(UP, addresses=frozenset()), False, Why.ANSWERED),
    ],
)
async def test_verdict(link: LinkView | None, require: bool, why: Why) -> None:
    """A missing device is our own fault, a down one is the tunnel's."""
    links = {} if link is None else {"t1": link}
    async with probing(lambda: links) as probe:
        options = LinkOptions(require_address=require)
        result = await probe.first(spec(CheckKind.LINK, options, source="10.0.0.1", device="t1"))
    assert result.why is why
    assert (result.outcome is Outcome.BROKEN) == (link is None)


async def test_link_changed_tells_at_once() -> None:
    """Before the call returns, and only for checks of that device: nobody waits for the interval."""
    links = {"t1": UP, "t2": UP}
    slow = Timing(interval_s=3600.0)
    specs = [spec(CheckKind.LINK, LinkOptions(), name=name, device=name, timing=slow) for name in ("t1", "t2")]
    async with probing(lambda: links) as probe:
        probe.engine.set_probes(specs)
        await probe.until("first results", lambda: len(probe.results) == 2)
        links["t1"] = replace(UP, carrier=False)
        probe.engine.link_changed(frozenset({"t1"}))
        assert [(result.check, result.why) for result in probe.results[2:]] == [("t1", Why.LINK_DOWN)]
