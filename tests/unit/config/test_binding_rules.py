"""The rules of one EIP, as the file and the API share them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycastd.config.binding_rules import BindingFacts, EipRule, PrefixSet, facts_of, problems_of
from anycastd.model.address import BackendId, RegionName
from anycastd.model.eip import (
    Bandwidth,
    Binding,
    Eip,
    EipId,
    Mode,
    PortMap,
    Shaping,
    Target,
    Tracking,
    Transport,
)
from tests.unit.config.places import SMALLEST, load_text

FACTS = BindingFacts(
    prefixes=PrefixSet([ip_network("203.0.113.0/24"), ip_network("2001:db8::/48"), ip_network("198.18.0.0/15")]),
    backends={
        BackendId("eu/a"): ip_address("10.1.0.1"),
        BackendId("eu/b"): ip_address("10.1.0.2"),
        BackendId("eu/six"): ip_address("fd00::1"),
        BackendId("us/a"): ip_address("10.2.0.1"),
        BackendId("us/bad"): None,
        BackendId("lost/a"): ip_address("10.3.0.1"),
    },
    modes={RegionName("eu"): Mode.ROUTED, RegionName("us"): Mode.MASQUERADE},
    ours={ip_address("203.0.113.1"): "neighbor 'transit'"},
    max_targets=3,
)


def target(backend: str, **more: Any) -> Target:
    return Target(backend=BackendId(backend), **more)


def eip(*targets: Target, address: str = "203.0.113.9", **more: Any) -> Eip:
    """Return an EIP that is bound to these targets."""
    return Eip(id=EipId("eip-00000001"), address=ip_address(address), binding=Binding(targets=targets), **more)


def told(one: Eip, facts: BindingFacts = FACTS) -> list[str]:
    """Return what is said of it: `rule path: message`."""
    return [f"{broken.rule} {broken.path}: {broken.message}" for broken in problems_of(one, facts)]


PORT = PortMap(Transport.TCP, 80, 8080)


@pytest.mark.parametrize(
    "good",
    [
        eip(target("eu/a")),
        eip(target("eu/six"), address="2001:db8::5"),
        eip(target("eu/a"), target("us/a", weight=0, priority=100)),
        eip(target("eu/a", mode=Mode.DNAT), target("eu/b"), target("us/a", mode=Mode.ROUTED)),
        eip(target("us/a", ports=(PORT, PortMap(Transport.UDP, 80, 8080), PortMap(Transport.TCP, 81, 8080)))),
        eip(target("eu/a"), target("us/a", mode=Mode.ROUTED), tracking=Tracking.STATELESS),
        eip(target("us/bad"), target("lost/a", ports=(PORT,))),
        eip(target("us/a"), bandwidth=Bandwidth(in_bps=64_000, out_bps=400_000_000_000)),
        replace(eip(), binding=None, tracking=Tracking.STATELESS),
    ],
)
def test_good_ones(good: Eip) -> None:
    assert told(good) == []


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (eip(target("eu/a"), address="203.0.114.9"),
         "outside_prefixes (): lies in none of the prefixes (203.0.113.0/24, 198.18.0.0/15)"),
        (eip(target("eu/a"), address="203.0.113.1"),
         "our_address (): is our own address of neighbor 'transit': we would answer it"),
        (eip(), "no_targets ('bind',): is empty; leave it out where nothing is to be bound"),
        (eip(target("eu/c")), "unknown_backend ('bind', 0, 'backend'): "
         "no backend is called 'eu/c'; did you mean 'eu/b'?"),
        (eip(target("us/a"), target("eu/six")), "other_family ('bind', 1, 'backend'): "
         "'eu/six' has the IPv6 address fd00::1; an IPv4 one is needed"),
        (eip(target("us/a", weight=256)), "weight_out_of_range ('bind', 0, 'weight'): 256 is not between 0 and 255"),
        (eip(target("us/a", priority=0)), "priority_out_of_range ('bind', 0, 'priority'): 0 is not between 1 and 100"),
        (eip(target("us/a", weight=0), target("eu/a", weight=0)),
         "all_weights_zero ('bind',): every weight is 0: nothing would be sent anywhere"),
        (eip(target("us/a"), target("us/a", priority=2)),
         "backend_twice ('bind', 1, 'backend'): 'us/a' is already in this binding"),
        (eip(*(target(f"us/{name}") for name in ("a", "bad")), target("eu/a"), target("lost/a")),
         "too_many_targets ('bind',): 4 backends; eip.max_targets allows 3"),
        (eip(target("eu/a"), target("eu/b", priority=2)), "routed_twice ('bind', 1, 'backend'): "
         "'eu/a' of the same region is routed too: its gateway could not tell them apart"),
        (eip(target("eu/a", ports=(PORT,))), "ports_need_translation ('bind', 0, 'ports'): "
         "ports cannot be changed in mode routed, which leaves packets as they are"),
        (eip(target("us/a", ports=(PORT, PortMap(Transport.TCP, 80, 81)))),
         "port_twice ('bind', 0, 'ports', 1): tcp/80 is mapped twice"),
        (eip(target("us/a", ports=(PortMap(Transport.TCP, 80, 65536),))),
         "port_out_of_range ('bind', 0, 'ports', 0): 65536 is not between 1 and 65535"),
        (eip(target("us/a"), target("eu/a", mode=Mode.DNAT), tracking=Tracking.STATELESS),
         "stateless_needs_routed ('tracking',): "
         "stateless needs mode routed, 'us/a' has masquerade: a translation needs the state"),
        (eip(target("us/a"), bandwidth=Bandwidth(out_bps=0)),
         "rate_out_of_range ('bandwidth', 'out'): 0 bit/s is not between 64kbit and 400gbit"),
        (eip(target("us/a"), bandwidth=Bandwidth(out_bps=10**6, shaping=Shaping.HTB)),
         "htb_needs_uplinks ('bandwidth', 'shaping'): "
         "htb shapes on the devices to the clients: eip.uplinks must name them"),
    ],
)  # fmt: skip
def test_each_rule(bad: Eip, said: str) -> None:
    assert told(bad) == [said]


def test_each_rule_has_a_test() -> None:
    marks: list[Any] = next(mark.args[1] for mark in test_each_rule.pytestmark)  # type: ignore[attr-defined]
    assert {said.partition(" ")[0] for _, said in marks} == {rule.value for rule in EipRule}


def test_every_breach_is_told_at_once() -> None:
    many = eip(target("eu/a", weight=256), target("eu/six", priority=0), address="198.51.100.1")
    assert {broken.rule for broken in problems_of(many, FACTS)} == {
        EipRule.OUTSIDE_PREFIXES,
        EipRule.WEIGHT_OUT_OF_RANGE,
        EipRule.OTHER_FAMILY,
        EipRule.PRIORITY_OUT_OF_RANGE,
        EipRule.ROUTED_TWICE,
    }


def test_prefixes_that_are_not_known_or_not_there() -> None:
    far = eip(target("eu/a"), address="192.0.2.1")
    assert told(far, replace(FACTS, prefixes=None)) == []
    assert told(far, replace(FACTS, prefixes=PrefixSet([ip_network("2001:db8::/48")]))) == [
        "outside_prefixes (): lies in no prefix: there is none of IPv4"
    ]


def test_facts_of_a_configuration(tmp_path: Path) -> None:
    facts = facts_of(load_text(SMALLEST, tmp_path))
    (backend,) = facts.backends
    assert facts.modes == {RegionName(backend.partition("/")[0]): Mode.MASQUERADE}
    assert set(facts.ours) >= {ip_address("198.51.100.2")}
    assert problems_of(eip(Target(backend=backend)), facts) == []
    assert problems_of(eip(Target(backend=backend), address="198.51.100.2"), facts) != []


networks = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(1, 32)), st.tuples(st.ip_addresses(v=6), st.integers(1, 128))
).map(lambda pair: ip_network((pair[0], pair[1]), strict=False))


@given(st.lists(networks, max_size=6), st.ip_addresses())
def test_an_address_is_in_the_set_when_it_is_in_a_prefix(prefixes: list[Any], address: Any) -> None:
    edges = [edge for one in prefixes for edge in (one.network_address, one.broadcast_address)]
    for asked in (address, *edges):
        assert (asked in PrefixSet(prefixes)) is any(asked in one for one in prefixes)
