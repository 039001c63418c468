"""Blackholes and flow rules as commands make them: what is taken, and which rule refuses the rest (S25)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.model.address import NeighborName
from anycastd.model.filter_config import FilterConfig
from anycastd.model.filters import Blackhole, Filter, FilterKind, Filters, FlowRule
from anycastd.model.flow import FlowMatch
from anycastd.model.topology import Config
from anycastd.policy.filters import takers
from anycastd.resources.filters import (
    FilterCommand,
    PlannedFilter,
    Release,
    ends_of,
    plan_filter,
    without_strangers,
)
from anycastd.resources.refusal import Code, Refused
from tests.unit.runtime.world import UP, A, config

PACE = FilterConfig(max_blackholes=3, max_flow_rules=4)
NOW_S = 1000.0
NONE = Filters()
EIP, OTHER = ip_address("203.0.113.10"), ip_address("203.0.113.11")
UDP = FlowMatch(destination=ip_network("203.0.113.10"), protocols=(17,), destination_ports=((53, 53),))


def taking(**flags: Any) -> Config:
    """Return a POP whose neighbor takes what the flags say."""
    base = config()
    return replace(base, neighbors={UP: replace(base.neighbors[UP], **flags)})


BOTH = taking(blackhole=True, flowspec=True)


def hole(**more: Any) -> FilterCommand:
    return FilterCommand(**{"owner": "ann", "reason": "flood", "address": EIP, **more})


def flow(match: FlowMatch = UDP, **more: Any) -> FilterCommand:
    return FilterCommand(**{"owner": "ann", "reason": "flood", "match": match, **more})


def plan(command: FilterCommand | Release, filters: Filters = NONE, its: Config = BOTH) -> PlannedFilter | Refused:
    return plan_filter(command, filters, its, PACE, NOW_S, "new-1")


def planned(command: FilterCommand | Release, filters: Filters = NONE, its: Config = BOTH) -> PlannedFilter:
    found = plan(command, filters, its)
    assert isinstance(found, PlannedFilter), found
    return found


def codes(command: FilterCommand | Release, filters: Filters = NONE, its: Config = BOTH) -> list[tuple[Code, str]]:
    found = plan(command, filters, its)
    assert isinstance(found, Refused), found
    return [(one.code, one.field) for one in found.refusals]


def test_a_blackhole_is_of_one_address_and_ends_by_itself() -> None:
    found = planned(hole())
    assert found.order == Blackhole(
        id="new-1", address=EIP, owner="ann", reason="flood", began_s=NOW_S, expires_s=NOW_S + 3600
    )
    assert found.changes == ("blackhole of 203.0.113.10 is set, for 1h, here and at transit-a",)
    assert takers(BOTH, found.order) == (BOTH.neighbors[UP],)


def test_a_second_order_for_the_same_renews_the_first() -> None:
    first = planned(hole(ttl_s=60.0)).after
    again = plan_filter(hole(ttl_s=600.0, owner="bob"), first, BOTH, PACE, NOW_S + 30, "new-2")
    assert isinstance(again, PlannedFilter)
    (one,) = again.after.standing
    assert (one.id, one.owner, one.began_s, one.expires_s) == ("new-1", "bob", NOW_S, NOW_S + 630)
    assert "is renewed" in again.changes[0]
    full = again.after
    for number in (1, 2):
        full = planned(hole(address=EIP + number), full).after
    assert isinstance(plan(hole(), full), PlannedFilter), "of as many as may be, each can be extended"


def test_without_a_neighbor_that_takes_it_a_filter_acts_here() -> None:
    for command in (hole(), flow()):
        (words,) = planned(command, its=config()).changes
        assert words.endswith("here only: no neighbor takes it")
    only = planned(hole(neighbors=(UP,))).order
    assert only is not None
    assert only.neighbors == (UP,)


def test_what_is_released_is_gone_and_nothing_else() -> None:
    both = planned(flow(), planned(hole()).after).after
    assert [one.id for one in both.standing] == ["new-1", "new-1"]
    after = planned(Release(id="new-1", kind=FilterKind.FLOW, owner="ann"), both).after
    assert [type(one) for one in after.standing] == [Blackhole]
    assert codes(Release(id="other", kind=FilterKind.FLOW, owner="ann"), both) == [(Code.ORDER_NOT_FOUND, "")]
    assert codes(Release(id="new-1", kind=FilterKind.BLACKHOLE, owner="ann"), Filters()) == [(Code.ORDER_NOT_FOUND, "")]


@pytest.mark.parametrize(
    ("command", "its", "expected"),
    [
        (hole(address=ip_address("192.0.2.1")), BOTH, [(Code.OUTSIDE_PREFIXES, "address")]),
        (hole(address=ip_address("2001:db8::1")), BOTH, [(Code.OUTSIDE_PREFIXES, "address")]),
        (hole(reason=" "), BOTH, [(Code.VALUE, "reason")]),
        (hole(ttl_s=3601.0), BOTH, [(Code.VALUE, "ttl_s")]),
        (hole(ttl_s=0.0), BOTH, [(Code.VALUE, "ttl_s")]),
        (hole(neighbors=("transit-b",)), BOTH, [(Code.ORDER_TARGET, "neighbors[0]")]),
        (hole(neighbors=(UP,)), taking(flowspec=True), [(Code.FILTER_NEIGHBOR, "neighbors[0]")]),
        (flow(neighbors=(UP,)), taking(blackhole=True), [(Code.FILTER_NEIGHBOR, "neighbors[0]")]),
        (flow(replace(UDP, destination=ip_network("203.0.112.0/23"))), BOTH, [(Code.OUTSIDE_PREFIXES, "destination")]),
        (flow(FlowMatch(destination=A)), BOTH, [(Code.FLOW_WIDE, "destination")]),
        (flow(FlowMatch(destination=ip_network("203.0.113.1/32"))), BOTH, [(Code.FLOW_WIDE, "destination")]),
        (flow(replace(UDP, protocols=())), BOTH, [(Code.VALUE, "destination_ports")]),
        (flow(replace(UDP, protocols=(17, 1))), BOTH, [(Code.VALUE, "destination_ports")]),
        (flow(replace(UDP, destination_ports=((2, 1),))), BOTH, [(Code.VALUE, "destination_ports")]),
        (flow(replace(UDP, source_ports=((0, 65536),))), BOTH, [(Code.VALUE, "source_ports")]),
        (flow(replace(UDP, lengths=tuple((n, n) for n in range(9)))), BOTH, [(Code.VALUE, "lengths")]),
        (flow(replace(UDP, source=ip_network("2001:db8::/32"))), BOTH, [(Code.VALUE, "source")]),
        (flow(replace(UDP, protocols=(256,), destination_ports=())), BOTH, [(Code.VALUE, "protocols")]),
        (flow(replace(UDP, tcp_set=2)), BOTH, [(Code.VALUE, "tcp_flags")]),
        (flow(rate_bytes_s=9599), BOTH, [(Code.VALUE, "rate_bps")]),
        (hole(reason="", ttl_s=9e9), BOTH, [(Code.VALUE, "reason"), (Code.VALUE, "ttl_s")]),
    ],
)
def test_what_breaks_a_rule_is_refused_by_its_name(command: FilterCommand, its: Config, expected: list[Any]) -> None:
    assert codes(command, its=its) == expected


def test_only_so_many_may_stand_at_once() -> None:
    filters = Filters()
    for number in range(3):
        filters = planned(hole(address=EIP + number), filters).after
    assert codes(hole(address=EIP + 9), filters) == [(Code.BLACKHOLE_QUOTA, "")]
    assert isinstance(plan(flow(), filters), PlannedFilter), "flow rules are counted for themselves"
    for number in range(4):
        match = replace(UDP, destination_ports=((number, number),))
        filters = planned(flow(match), filters).after
    assert codes(flow(), filters) == [(Code.FLOW_QUOTA, "")]


def test_an_address_that_is_a_prefix_of_its_own_is_not_sacrificed_by_mistake() -> None:
    alone = ip_network("203.0.113.10/32")
    its = replace(BOTH, prefixes={**BOTH.prefixes, alone: replace(BOTH.prefixes[A], prefix=alone)})
    assert codes(hole(), its=its) == [(Code.ANNOUNCED, "address")]
    stands = planned(hole()).after
    kept, gone = without_strangers(stands, its)
    assert (kept.standing, gone) == ((), stands.standing)
    assert without_strangers(stands, BOTH) == (stands, ())
    smaller = replace(BOTH, prefixes={p: spec for p, spec in BOTH.prefixes.items() if p != A})
    assert without_strangers(stands, smaller)[1] == stands.standing


def rule(number: int, expires_s: float) -> Filter:
    return FlowRule(id=str(number), match=UDP, owner="", reason="", began_s=0.0, expires_s=expires_s)


@settings(max_examples=60)
@given(
    st.lists(st.floats(0, 1e6), max_size=12),
    st.floats(0, 100),
    st.one_of(st.just(float("-inf")), st.floats(0, 1e6)),
)
def test_those_that_end_at_once_end_one_by_one(at: list[float], each_s: float, last_s: float) -> None:
    ends = ends_of([rule(number, one) for number, one in enumerate(at)], each_s, last_s)
    times = [end_s for end_s, _ in ends]
    assert len(ends) == len(at)
    assert all(end_s >= one.expires_s for end_s, one in ends), "never before its time"
    assert all(later - before >= each_s * 0.999 - 1e-6 for before, later in pairwise(times))
    # and not later than the others make it
    assert all(end_s <= max(one.expires_s, *at, last_s) + each_s * len(at) + 1e-6 for end_s, one in ends)


NAMES = st.sampled_from([(), (UP,), (NeighborName("transit-b"),)])
MATCHES = st.builds(
    FlowMatch,
    destination=st.sampled_from([ip_network("203.0.113.10"), A, ip_network("192.0.2.0/24"), ip_network("2001:db8::1")]),
    source=st.sampled_from([None, ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")]),
    protocols=st.lists(st.sampled_from([1, 6, 17, 300]), max_size=2, unique=True).map(tuple),
    destination_ports=st.sampled_from([(), ((53, 53),), ((9, 1),)]),
    tcp_set=st.sampled_from([0, 2, 64]),
)


@settings(max_examples=80)
@given(
    st.lists(
        st.one_of(
            st.builds(hole, address=st.sampled_from([EIP, OTHER, EIP + 2, EIP + 3, EIP + 4]), neighbors=NAMES),
            st.builds(flow, MATCHES, rate_bytes_s=st.sampled_from([0, 1, 9600]), neighbors=NAMES),
        ),
        max_size=12,
    )
)
def test_whatever_is_ordered_nothing_stands_that_breaks_a_rule(commands: list[FilterCommand]) -> None:
    filters = Filters()
    for number, command in enumerate(commands):
        found = plan_filter(command, filters, BOTH, PACE, NOW_S, str(number))
        if isinstance(found, PlannedFilter):
            filters = found.after
    assert len(filters.blackholes) <= PACE.max_blackholes
    assert len(filters.rules) <= PACE.max_flow_rules
    assert len({one.id for one in filters.standing}) == len(filters.standing)
    assert without_strangers(filters, BOTH)[1] == ()
    assert not any(one.match.is_plain and not one.rate_bytes_s for one in filters.rules)
    assert all(one.expires_s <= NOW_S + PACE.blackhole_ttl_s for one in filters.standing)
