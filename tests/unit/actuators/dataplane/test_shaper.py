"""Shaping on a kernel that has none of it."""

from __future__ import annotations

import pytest

from anycastd.actuators.dataplane import shaping_wire as wire
from anycastd.actuators.dataplane.shaping import Shaper
from anycastd.model.shaping import ShapingFault

UNKNOWN_GET = 250
"""Of the kind that asks (rtnetlink takes it from the last two bits), and known to no kernel."""


async def test_a_kernel_without_qdiscs_is_a_problem_only_when_something_is_shaped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wire, "RTM_GETQDISC", UNKNOWN_GET)
    shaper = Shaper()
    try:
        assert await shaper.reconcile({}, ["eth1"]) == ()
        (problem,) = await shaper.reconcile({0x100: 10**6}, ["eth1"])
    finally:
        await shaper.close()
    assert (problem.device, problem.fault) == ("kernel", ShapingFault.UNSUPPORTED)
    assert "does not tell of its qdiscs: ENOTSUP" in problem.detail
