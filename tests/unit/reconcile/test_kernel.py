"""The kernel diff: it converges from anywhere, in any interruption, without a gap, and touches only what is ours."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.model.kernel import (
    MAIN_TABLE,
    DeleteRoute,
    DeleteRule,
    KernelAction,
    KernelObserved,
    KernelRoute,
    KernelRule,
    LinkView,
    PutRoute,
    PutRule,
    RouteKind,
    SourceRule,
)
from anycastd.reconcile.kernel import HeldBack, diff, held

PREFIXES = [ip_network(text) for text in ("203.0.113.0/24", "198.51.100.7/32", "0.0.0.0/0", "2001:db8::/48", "::/0")]
DEVICES = ("t1", "t2")
LINKS = {name: LinkView(name, index, True, True, "up") for index, name in enumerate(DEVICES, start=2)}


def over(prefix: str, device: str, metric: int = 100, table: int = MAIN_TABLE) -> KernelRoute:
    network = ip_network(prefix)
    via = ip_address("10.0.0.2" if network.version == 4 else "fd00::2")
    return KernelRoute(network, RouteKind.UNICAST, metric, table, via, device)


def hole(prefix: str, table: int = MAIN_TABLE) -> KernelRoute:
    return KernelRoute(ip_network(prefix), RouteKind.BLACKHOLE, 9999, table)


def rule(source: str, table: int) -> KernelRule:
    return SourceRule(ip_address(source), table, table)


def after(observed: KernelObserved, actions: tuple[KernelAction, ...]) -> KernelObserved:
    """What a kernel makes of the actions: one route for each key."""
    routes, rules = {route.key: route for route in observed.routes or ()}, set(observed.rules)
    for action in actions:
        match action:
            case PutRoute(route):
                routes[route.key] = route
            case DeleteRoute(route):
                assert routes.pop(route.key) == route
            case PutRule(one):
                rules.add(one)
            case DeleteRule(one):
                rules.remove(one)
    return replace(observed, routes=frozenset(routes.values()), rules=frozenset(rules))


unicasts = st.builds(
    over,
    st.sampled_from([str(prefix) for prefix in PREFIXES]),
    st.sampled_from(DEVICES),
    st.sampled_from((100, 200)),
    st.sampled_from((MAIN_TABLE, 1300)),
)
holes = st.builds(hole, st.sampled_from([str(prefix) for prefix in PREFIXES]), st.sampled_from((MAIN_TABLE, 1300)))
tables = st.lists(st.one_of(unicasts, holes), max_size=12).map(
    lambda routes: frozenset({route.key: route for route in routes}.values())
)
rule_sets = st.frozensets(
    st.builds(rule, st.sampled_from(("10.0.0.1", "10.0.0.5", "fd00::1")), st.sampled_from((1300, 1301))), max_size=4
)
states = st.builds(KernelObserved, tables, rule_sets, st.just(LINKS))


@given(tables, rule_sets, states)
def test_converges_and_then_rests(
    routes: frozenset[KernelRoute], rules: frozenset[KernelRule], observed: KernelObserved
) -> None:
    end = after(observed, diff(routes, rules, observed))
    assert (end.routes, end.rules) == (routes, rules)
    assert diff(routes, rules, end) == ()


@settings(max_examples=60)
@given(tables, rule_sets, states, st.data())
def test_converges_from_every_point_at_which_it_is_interrupted(
    routes: frozenset[KernelRoute], rules: frozenset[KernelRule], observed: KernelObserved, data: st.DataObject
) -> None:
    plan = diff(routes, rules, observed)
    half = after(observed, plan[: data.draw(st.integers(0, len(plan)))])
    end = after(half, diff(routes, rules, half))
    assert (end.routes, end.rules) == (routes, rules)


@given(tables, rule_sets, states)
def test_a_prefix_that_has_a_way_before_and_after_has_one_at_every_step(
    routes: frozenset[KernelRoute], rules: frozenset[KernelRule], observed: KernelObserved
) -> None:
    def ways(state: KernelObserved) -> set[tuple[object, int]]:
        return {(r.prefix, r.table) for r in state.routes or () if r.kind is RouteKind.UNICAST}

    def caught(state: KernelObserved) -> set[tuple[object, int]]:
        return {(r.prefix, r.table) for r in state.routes or ()}

    plan = diff(routes, rules, observed)
    end = after(observed, plan)
    for count in range(len(plan)):
        now = after(observed, plan[:count])
        assert ways(observed) & ways(end) <= ways(now)
        assert caught(observed) & caught(end) <= caught(now)


@given(tables, rule_sets, states)
def test_names_only_what_is_wanted_or_observed(
    routes: frozenset[KernelRoute], rules: frozenset[KernelRule], observed: KernelObserved
) -> None:
    for action in diff(routes, rules, observed):
        match action:
            case PutRoute(route):
                assert route in routes
            case DeleteRoute(route):
                assert route in (observed.routes or ())
            case PutRule(one):
                assert one in rules
            case DeleteRule(one):
                assert one in observed.rules


def test_order() -> None:
    observed = KernelObserved(
        frozenset({over("203.0.113.0/24", "t1"), over("192.0.2.0/24", "t1"), hole("192.0.2.0/24")}),
        frozenset({rule("10.0.0.9", 1399)}),
        LINKS,
    )
    wanted = frozenset(
        {
            over("203.0.113.0/24", "t2"),
            over("198.51.100.0/24", "t1"),
            hole("203.0.113.0/24"),
            hole("198.51.100.0/24"),
            over("0.0.0.0/0", "t1", table=1300),
            hole("0.0.0.0/0", table=1300),
        }
    )
    assert diff(wanted, frozenset({rule("10.0.0.1", 1300)}), observed) == (
        PutRoute(over("203.0.113.0/24", "t2")),
        PutRoute(hole("0.0.0.0/0", table=1300)),
        PutRoute(over("0.0.0.0/0", "t1", table=1300)),
        PutRule(rule("10.0.0.1", 1300)),
        PutRoute(hole("198.51.100.0/24")),
        PutRoute(hole("203.0.113.0/24")),
        PutRoute(over("198.51.100.0/24", "t1")),
        DeleteRule(rule("10.0.0.9", 1399)),
        DeleteRoute(over("192.0.2.0/24", "t1")),
        DeleteRoute(hole("192.0.2.0/24")),
    )


def test_does_nothing_before_the_first_read() -> None:
    wanted = frozenset({hole("203.0.113.0/24"), over("203.0.113.0/24", "t1")})
    assert diff(wanted, frozenset({rule("10.0.0.1", 1300)}), KernelObserved(None)) == ()
    assert held(wanted, KernelObserved(None)) == ()


@pytest.mark.parametrize(
    ("link", "why"),
    [
        (None, HeldBack.NO_DEVICE),
        (LinkView("t2", 3, False, False, "down"), HeldBack.DEVICE_DOWN),
        (LinkView("t2", 3, True, False, "lowerlayerdown"), None),
    ],
)
def test_a_route_the_kernel_would_refuse_is_held_and_the_old_one_stays(
    link: LinkView | None, why: HeldBack | None
) -> None:
    links = {"t1": LINKS["t1"]} | ({} if link is None else {"t2": link})
    before, route = over("203.0.113.0/24", "t1"), over("203.0.113.0/24", "t2")
    elsewhere = over("203.0.113.0/24", "t1", metric=50)
    observed = KernelObserved(frozenset({before, elsewhere}), frozenset(), links)
    wanted = frozenset({route})
    waiting = held(wanted, observed)
    assert [(one.route, one.reason) for one in waiting] == ([] if why is None else [(route, why)])
    assert diff(wanted, frozenset(), observed) == (() if why is not None else (PutRoute(route), DeleteRoute(elsewhere)))


def test_a_second_route_in_the_same_place_goes() -> None:
    wanted, other = over("203.0.113.0/24", "t1"), over("203.0.113.0/24", "t2")
    assert diff(frozenset({wanted}), frozenset(), KernelObserved(frozenset({wanted, other}), frozenset(), LINKS)) == (
        DeleteRoute(other),
    )
