"""Wanted against observed: it converges from anywhere, and says each thing once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.model.address import Family, NeighborName, Prefix
from anycastd.model.bgp import Announce, BgpAction, BgpObserved, EndOfRib, Priority, Route, Routes, Withdraw
from anycastd.reconcile.bgp import BULK_ABOVE, Key, diff, ends_of_rib, unwanted

A, B = NeighborName("transit-a"), NeighborName("transit-b")
P, Q, V6 = ip_network("198.51.100.0/24"), ip_network("203.0.113.0/24"), ip_network("2001:db8:113::/48")
HOPS: Mapping[NeighborName, Mapping[int, str]] = {name: {4: "192.0.2.2", 6: "2001:db8::2"} for name in (A, B)}


def route(prefix: Prefix, prepend: int = 0) -> Route:
    return Route(prefix, HOPS[A][prefix.version], (64500,) * (1 + prepend))


def said(
    wanted: Routes,
    have: Routes | None,
    submitted: Mapping[Key, Route | None] | None = None,
    in_flight: frozenset[Key] = frozenset(),
    held: frozenset[Key] = frozenset(),
) -> tuple[BgpAction, ...]:
    return diff(wanted, BgpObserved(routes=have, in_flight=in_flight), submitted or {}, held)


def test_nothing_is_said_before_the_first_dump() -> None:
    assert said({A: {P: route(P)}}, None) == ()


def test_nothing_is_said_when_nothing_differs() -> None:
    assert said({A: {P: route(P)}}, {A: {P: route(P)}}) == ()


def test_what_is_missing_is_announced_and_what_nobody_wants_withdrawn() -> None:
    actions = said({A: {P: route(P)}}, {A: {Q: route(Q)}, B: {P: route(P)}})
    assert actions == (
        Withdraw(A, Q, "192.0.2.2"),
        Withdraw(B, P, "192.0.2.2"),
        Announce(A, route(P)),
    )


def test_a_longer_path_goes_before_a_shorter_one_and_after_withdrawals() -> None:
    wanted = {A: {P: route(P), Q: route(Q, 3)}}
    have = {A: {P: route(P, 3), Q: route(Q), V6: route(V6)}}
    assert [action.priority for action in said(wanted, have) if not isinstance(action, EndOfRib)] == [
        Priority.WITHDRAW,
        Priority.FAILOVER,
        Priority.NORMAL,
    ]


def test_many_new_routes_travel_as_bulk_behind_a_failover() -> None:
    many = {ip_network(f"10.0.{number}.0/24"): None for number in range(BULK_ABOVE + 1)}
    wanted = {A: {prefix: route(prefix) for prefix in many} | {P: route(P, 3)}}
    actions = said(wanted, {A: {P: route(P)}})
    assert actions[0] == Announce(A, route(P, 3), Priority.FAILOVER)
    assert {action.priority for action in actions[1:] if isinstance(action, Announce)} == {Priority.BULK}


def test_what_is_in_flight_is_not_said_again() -> None:
    key = (A, P)
    assert said({A: {P: route(P)}}, {A: {}}, {key: route(P)}, frozenset({key})) == ()
    assert said({A: {}}, {A: {P: route(P)}}, {key: None}, frozenset({key})) == ()


def test_a_change_of_mind_overtakes_what_is_in_flight() -> None:
    key = (A, P)
    assert said({A: {P: route(P, 3)}}, {A: {}}, {key: route(P)}, frozenset({key})) == (
        Announce(A, route(P, 3), Priority.FAILOVER),
    )


def test_what_was_lost_is_said_again() -> None:
    assert said({A: {P: route(P)}}, {A: {}}, {(A, P): route(P)}) == (Announce(A, route(P)),)


def test_what_was_refused_is_not_said_again_yet() -> None:
    held = frozenset({(A, P)})
    assert said({A: {P: route(P)}}, {A: {}}, {(A, P): route(P)}, held=held) == ()
    assert said({}, {A: {P: route(P)}}, {(A, P): None}, held=held) == ()


@pytest.mark.parametrize("wanted", [route(P, 3), None])
def test_a_refused_route_does_not_hold_back_what_is_wanted_instead(wanted: Route | None) -> None:
    """NORMAL was refused; the depreference or withdrawal that health asks for a second later must not wait for it."""
    actions = said(
        {A: {P: wanted}} if wanted else {}, {A: {P: route(P, 1)}}, {(A, P): route(P)}, held=frozenset({(A, P)})
    )
    assert len(actions) == 1


def test_other_prefixes_do_not_wait_for_a_refused_one() -> None:
    actions = said({A: {P: route(P), Q: route(Q)}}, {A: {}}, {(A, P): route(P)}, held=frozenset({(A, P)}))
    assert actions == (Announce(A, route(Q)),)


@dataclass
class Device:
    """What takes actions: it may lose, refuse or delay any of them."""

    routes: dict[NeighborName, dict[Prefix, Route]]
    submitted: dict[Key, Route | None] = field(default_factory=dict)
    queue: list[Announce | Withdraw] = field(default_factory=list)

    @property
    def observed(self) -> BgpObserved:
        return BgpObserved(
            routes={name: dict(have) for name, have in self.routes.items()},
            in_flight=frozenset(_key(action) for action in self.queue),
        )

    def take(self, actions: tuple[BgpAction, ...]) -> None:
        for action in actions:
            assert isinstance(action, Announce | Withdraw)
            self.submitted[_key(action)] = action.route if isinstance(action, Announce) else None
            self.queue.append(action)

    def finish(self, count: int, *, lose: bool = False) -> None:
        done, self.queue = self.queue[:count], self.queue[count:]
        for action in done:
            if lose:
                continue
            have = self.routes.setdefault(action.neighbor, {})
            if isinstance(action, Announce):
                have[action.route.prefix] = action.route
            else:
                have.pop(action.prefix, None)


def _key(action: Announce | Withdraw) -> Key:
    return (action.neighbor, action.route.prefix if isinstance(action, Announce) else action.prefix)


ROUTES = st.dictionaries(
    st.sampled_from((A, B)),
    st.dictionaries(st.sampled_from((P, Q, V6)), st.integers(0, 3)).map(
        lambda found: {prefix: route(prefix, prepend) for prefix, prepend in found.items()}
    ),
)
TURNS = st.lists(st.tuples(ROUTES, st.integers(0, 6), st.booleans()), max_size=6)


def plain(routes: Routes) -> dict[NeighborName, dict[Prefix, Route]]:
    return {name: dict(have) for name, have in routes.items() if have}


@given(ROUTES, ROUTES)
@settings(max_examples=150, deadline=None)
def test_one_round_makes_observed_into_wanted_and_the_next_says_nothing(wanted: Routes, have: Routes) -> None:
    device = Device({name: dict(routes) for name, routes in have.items()})
    device.take(diff(wanted, device.observed, device.submitted))
    assert diff(wanted, device.observed, device.submitted) == ()
    device.finish(len(device.queue))
    assert plain(device.routes) == plain(wanted)
    assert diff(wanted, device.observed, device.submitted) == ()


@given(ROUTES, TURNS, ROUTES)
@settings(max_examples=300, deadline=None)
def test_it_converges_whatever_was_lost_cut_short_or_reconsidered(
    have: Routes, turns: list[tuple[Routes, int, bool]], wanted: Routes
) -> None:
    device = Device({name: dict(routes) for name, routes in have.items()})
    for meanwhile, count, lose in turns:
        device.take(diff(meanwhile, device.observed, device.submitted))
        device.finish(count, lose=lose)
    for _ in range(3):
        device.take(diff(wanted, device.observed, device.submitted))
        device.finish(len(device.queue))
    assert plain(device.routes) == plain(wanted)
    assert diff(wanted, device.observed, device.submitted) == ()


@given(ROUTES, ROUTES)
@settings(max_examples=60, deadline=None)
def test_withdrawals_come_first_and_the_order_is_stable(wanted: Routes, have: Routes) -> None:
    actions = said(wanted, have)
    kinds = [isinstance(action, Withdraw) for action in actions]
    assert kinds == sorted(kinds, reverse=True)
    backwards = {name: dict(reversed(list(routes.items()))) for name, routes in reversed(list(wanted.items()))}
    assert actions == said(backwards, have)


OWED = frozenset({(A, Family.IPV4_UNICAST), (A, Family.IPV6_UNICAST), (B, Family.IPV4_UNICAST)})
V4_OF_A = EndOfRib(A, Family.IPV4_UNICAST)


def ends(
    observed: BgpObserved, wanted: Routes, undecided: frozenset[Family] = frozenset(), *, overdue: bool = False
) -> tuple[EndOfRib, ...]:
    return ends_of_rib(wanted, replace(observed, eor_owed=OWED), {A: undecided}, overdue=overdue)


def test_end_of_rib_when_all_is_as_wanted() -> None:
    have = {A: {P: route(P), V6: route(V6)}}
    assert set(ends(BgpObserved(routes=have), have)) == {EndOfRib(name, family) for name, family in OWED}


def test_no_end_of_rib_before_the_first_dump() -> None:
    assert ends(BgpObserved(), {}, overdue=True) == ()


def test_end_of_rib_waits_for_decisions_of_its_own_family_only() -> None:
    found = ends(BgpObserved(routes={A: {}}), {}, frozenset({Family.IPV4_UNICAST}))
    assert set(found) == {EndOfRib(A, Family.IPV6_UNICAST), EndOfRib(B, Family.IPV4_UNICAST)}


def test_end_of_rib_waits_for_what_is_in_flight_even_if_overdue() -> None:
    observed = BgpObserved(routes={A: {}}, in_flight=frozenset({(A, P)}))
    assert V4_OF_A not in ends(observed, {A: {P: route(P)}}, overdue=True)


def test_end_of_rib_waits_for_what_is_not_there_yet() -> None:
    assert V4_OF_A not in ends(BgpObserved(routes={A: {}}), {A: {P: route(P)}})
    assert V4_OF_A not in ends(BgpObserved(routes={A: {P: route(P)}}), {})


def test_an_overdue_end_of_rib_waits_neither_for_a_decision_nor_for_a_refused_route() -> None:
    observed = BgpObserved(routes={A: {}})
    assert V4_OF_A in ends(observed, {}, frozenset({Family.IPV4_UNICAST}), overdue=True)
    assert V4_OF_A in ends(observed, {A: {P: route(P)}}, overdue=True)


def test_unwanted_routes_are_named_unless_they_are_just_leaving() -> None:
    observed = BgpObserved(routes={A: {P: route(P), Q: route(Q)}, B: {P: route(P)}})
    assert unwanted({A: {P: route(P)}}, observed, {}) == ("203.0.113.0/24 to transit-a", "198.51.100.0/24 to transit-b")
    leaving = replace(observed, in_flight=frozenset({(A, Q)}))
    assert unwanted({A: {P: route(P)}}, leaving, {(A, Q): None}) == ("198.51.100.0/24 to transit-b",)
    arriving = unwanted({A: {P: route(P)}}, leaving, {(A, Q): route(Q)})
    assert "203.0.113.0/24 to transit-a" in arriving
    assert unwanted({}, BgpObserved(), {}) == ()
