"""Blackholes and flow rules: whatever was lost, neighbors end with just what is wanted."""

from __future__ import annotations

from ipaddress import ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.model.address import NeighborName
from anycastd.model.bgp import (
    BLACKHOLE,
    NO_EXPORT,
    Announce,
    AnnounceFlow,
    BgpAction,
    BgpObserved,
    FilterKey,
    FlowRoute,
    Route,
    Withdraw,
    WithdrawFlow,
)
from anycastd.model.flow import FlowMatch, key_of_tag, tag_of
from anycastd.reconcile.filters import diff_filters, same, withdrawn

NAMES = [NeighborName("a"), NeighborName("b")]
Held = dict[NeighborName, dict[FilterKey, Route | FlowRoute]]


def hole(number: int, community: str) -> Route:
    return Route(
        ip_network(f"203.0.113.{number}"), "192.0.2.1", (64500,), communities=(community, BLACKHOLE, NO_EXPORT)
    )


def flow(number: int, rate: int) -> FlowRoute:
    match = FlowMatch(destination=ip_network(f"203.0.113.{number}"), protocols=(17,))
    tag = tag_of(64500, match, rate)
    return FlowRoute(key_of_tag(tag), match.destination, match, rate, tag)


ONE = st.one_of(
    st.builds(hole, st.integers(0, 4), st.sampled_from(["64500:1", "64500:2"])),
    st.builds(flow, st.integers(0, 4), st.sampled_from([0, 9600])),
)
HELD = st.fixed_dictionaries({name: st.lists(ONE, max_size=6) for name in NAMES})


def held(lists: dict[NeighborName, list[Route | FlowRoute]]) -> Held:
    return {
        name: {one.key if isinstance(one, FlowRoute) else one.prefix: one for one in every}
        for name, every in lists.items()
    }


def take(have: Held, action: BgpAction) -> None:
    match action:
        case Announce():
            have[action.neighbor][action.route.prefix] = action.route
        case AnnounceFlow():
            # as a dump tells it: by another text, and the same tag
            told = FlowRoute(
                action.flow.key, action.flow.destination, "printed", action.flow.rate_bytes_s, action.flow.tag
            )
            have[action.neighbor][action.flow.key] = told
        case Withdraw():
            have[action.neighbor].pop(action.prefix, None)
        case WithdrawFlow():
            have[action.neighbor].pop(action.flow.key, None)


def seen(have: Held) -> BgpObserved:
    return BgpObserved(routes={name: {} for name in NAMES}, filters={name: dict(one) for name, one in have.items()})


@settings(max_examples=80)
@given(HELD, HELD, st.lists(st.booleans(), max_size=20))
def test_neighbors_end_with_just_what_is_wanted(
    first: dict[NeighborName, list[Route | FlowRoute]],
    wanted_lists: dict[NeighborName, list[Route | FlowRoute]],
    lost: list[bool],
) -> None:
    have, wanted, losses = held(first), held(wanted_lists), iter(lost)
    for _ in range(2):
        for action in diff_filters(wanted, seen(have)):
            if not next(losses, False):
                take(have, action)
    for action in diff_filters(wanted, seen(have)):
        take(have, action)
    assert diff_filters(wanted, seen(have)) == ()
    for name in NAMES:
        assert wanted[name].keys() == have[name].keys()
        assert all(same(one, have[name][key]) for key, one in wanted[name].items())
    for action in withdrawn(have):
        take(have, action)
    assert have == {name: {} for name in NAMES}, "what the bridge is given takes all of it away"
