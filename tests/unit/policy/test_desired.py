"""What each neighbor is sent at each level, and back: which level a route that is found stands for."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from itertools import product

import pytest

from anycastd.model.address import RegionName, TunnelId
from anycastd.model.bgp import GRACEFUL_SHUTDOWN, Route
from anycastd.model.decision import Level, TunnelOrder
from anycastd.model.kernel import MAIN_TABLE, MarkRule, RouteKind, SourceRule
from anycastd.model.topology import Export, PrefixSpec
from anycastd.policy.desired import (
    level_of,
    region_routes,
    region_table,
    route_for,
    wanted_kernel_routes,
    wanted_kernel_rules,
    wanted_routes,
)
from tests.unit.policy.pops import UP, V4, V6, Place, neighbor, pop

ANNOUNCED = (Level.NORMAL, Level.DEPREF, Level.GSHUT)
SPEC = PrefixSpec(prefix=V4, neighbors=(UP,))


def exports() -> list[Export]:
    return [
        Export(prepend=prepend, med=med, communities=communities, depref_communities=depref)
        for prepend, med, communities, depref in product(
            range(4),
            (None, 0, 50),
            ((), ("64496:100",), (GRACEFUL_SHUTDOWN,)),
            ((), ("64496:90",), (GRACEFUL_SHUTDOWN,)),
        )
    ]


@pytest.mark.parametrize("ibgp", [False, True])
@pytest.mark.parametrize("depref_prepend", [1, 3])
def test_the_level_of_a_route_is_the_level_that_made_it(ibgp: bool, depref_prepend: int) -> None:
    spec = replace(SPEC, depref_prepend=depref_prepend)
    for export in exports():
        to = replace(neighbor(ibgp=ibgp), export=export)
        routes = [route_for(to, spec, level) for level in ANNOUNCED]
        for level, route in zip(ANNOUNCED, routes, strict=True):
            assert route is not None
            # where two levels look the same on the wire, the one that claims more is what is announced
            looks_like = ANNOUNCED[routes.index(route)]
            assert level_of(to, spec, route) is looks_like
            assert level is looks_like or (level, looks_like) == (Level.GSHUT, Level.DEPREF)


def test_levels_look_the_same_only_where_gshut_is_already_said() -> None:
    same = set()
    for export in exports():
        to = replace(neighbor(), export=export)
        if route_for(to, SPEC, Level.DEPREF) == route_for(to, SPEC, Level.GSHUT):
            same.add(GRACEFUL_SHUTDOWN in (*export.communities, *export.depref_communities))
        assert route_for(to, SPEC, Level.NORMAL) != route_for(to, SPEC, Level.DEPREF)
    assert same == {True}


@pytest.mark.parametrize(
    ("level", "path", "med", "communities"),
    [
        (Level.NORMAL, 2, 50, ("64496:100",)),
        (Level.DEPREF, 5, 150, ("64496:90", "64496:100")),
        (Level.GSHUT, 5, 150, ("64496:90", "64496:100", "65535:0")),
    ],
)
def test_ebgp_route(level: Level, path: int, med: int, communities: tuple[str, ...]) -> None:
    export = Export(prepend=1, med=50, communities=("64496:100",), depref_communities=("64496:90",))
    route = route_for(replace(neighbor(), export=export), SPEC, level)
    assert route == Route(V4, "192.0.2.2", (64500,) * path, med, None, communities, ())


def test_ibgp_route_has_a_local_preference_and_never_our_own_as() -> None:
    routes = [route_for(neighbor(ibgp=True), SPEC, level) for level in ANNOUNCED]
    assert [(route.as_path, route.local_preference) for route in routes if route] == [((), 100), ((), 50), ((), 0)]


def test_withdrawn_is_no_route() -> None:
    assert route_for(neighbor(), SPEC, Level.WITHDRAWN) is None


def test_next_hop_is_the_configured_one_of_the_family_else_our_end_of_the_session() -> None:
    export = Export(next_hop_ipv4=IPv4Address("192.0.2.9"), next_hop_ipv6=IPv6Address("2001:db8::9"))
    to = replace(neighbor(), export=export)
    v6 = replace(SPEC, prefix=V6)
    found = [route_for(one, spec, Level.NORMAL) for one in (to, neighbor()) for spec in (SPEC, v6)]
    assert [route.next_hop for route in found if route] == ["192.0.2.9", "2001:db8::9", "192.0.2.2", "192.0.2.2"]


def test_communities_are_in_the_order_of_their_numbers() -> None:
    export = Export(communities=("64496:100", "9:1", "64496:20"), large_communities=("64500:10:1", "64500:9:1"))
    route = route_for(replace(neighbor(), export=export), SPEC, Level.NORMAL)
    assert route is not None
    assert route.communities == ("9:1", "64496:20", "64496:100")
    assert route.large_communities == ("64500:9:1", "64500:10:1")


@pytest.mark.parametrize(
    ("path_length", "communities", "expected"),
    [(1, (), Level.NORMAL), (2, (), Level.DEPREF), (4, ("64496:7",), Level.DEPREF), (4, ("65535:0",), Level.GSHUT)],
)
def test_a_route_of_another_version_is_judged_by_its_path(
    path_length: int, communities: tuple[str, ...], expected: Level
) -> None:
    found = Route(V4, "192.0.2.99", (64500,) * path_length, 7, None, communities)
    assert level_of(neighbor(), SPEC, found) is expected


@pytest.mark.parametrize(("preference", "expected"), [(100, Level.NORMAL), (200, Level.NORMAL), (70, Level.DEPREF)])
def test_a_route_of_another_version_inside_our_as_is_judged_by_its_preference(preference: int, expected: Level) -> None:
    found = Route(V4, "192.0.2.99", (), None, preference)
    assert level_of(neighbor(ibgp=True), SPEC, found) is expected


def test_wanted_routes_name_every_neighbor_and_only_announced_prefixes() -> None:
    config = pop({"eu": Place({"a": "46"}, {"w": 4})})
    wanted = wanted_routes(config, {V4: Level.DEPREF, V6: Level.WITHDRAWN}, config.prefixes)
    assert {name: list(routes) for name, routes in wanted.items()} == {UP: [V4]}
    assert wanted_routes(config, {}, config.prefixes) == {UP: {}}


def test_each_region_has_a_table_of_its_tunnels_best_first_with_a_blackhole_below() -> None:
    config = pop({"eu": Place({"a": "46", "b": "4"}, {"w": 4})})
    eu = RegionName("eu")
    order4 = TunnelOrder(eu, 4, (TunnelId("eu/b"), TunnelId("eu/a")), "")
    order6 = TunnelOrder(eu, 6, (TunnelId("eu/a"),), "")
    routes = wanted_kernel_routes(config, [order4, order6])
    table = sorted((r.prefix.version, r.metric, r.device) for r in routes if r.table == region_table(config, eu))
    last = config.kernel.blackhole_metric
    assert table == [(4, 100, "eu-b"), (4, 200, "eu-a"), (4, last, None), (6, 100, "eu-a"), (6, last, None)]
    assert {r.prefix for r in routes if r.table == MAIN_TABLE and r.kind is RouteKind.BLACKHOLE} == {V4, V6}
    # each tunnel's own table: a way out and a catch-all for each family that it carries
    assert sorted(route.table for route in routes if route.table >= 1300) == [1311] * 4 + [1312] * 2
    assert len({route.key for route in routes}) == len(routes)


def test_an_order_with_a_tunnel_that_is_gone_or_of_another_family_keeps_its_blackhole() -> None:
    config = pop({"eu": Place({"a": "4"}, {"w": 4})})
    for order in (
        TunnelOrder(RegionName("eu"), 4, (), ""),
        TunnelOrder(RegionName("eu"), 4, (TunnelId("gone/x"),), ""),
        TunnelOrder(RegionName("eu"), 6, (TunnelId("eu/a"),), ""),
    ):
        assert [route.kind for route in region_routes(config, order)] == [RouteKind.BLACKHOLE]


def test_packets_with_a_regions_mark_look_up_its_table_in_each_family_it_carries() -> None:
    config = pop({"eu": Place({"a": "46"}, {"w": 4}), "us": Place({"a": "4"}, {"w": 4})})
    marks = {rule for rule in wanted_kernel_rules(config) if isinstance(rule, MarkRule)}
    assert marks == {
        MarkRule(0x01000000, 0xFF000000, 4, 1001, 1001),
        MarkRule(0x01000000, 0xFF000000, 6, 1001, 1001),
        MarkRule(0x02000000, 0xFF000000, 4, 1002, 1002),
    }


def test_rules_send_what_comes_from_a_tunnels_address_through_it() -> None:
    config = pop({"eu": Place({"a": "46", "b": "4"}, {"w": 4})})
    rules = [rule for rule in wanted_kernel_rules(config) if isinstance(rule, SourceRule)]
    assert sorted((rule.table, rule.preference, rule.source.version) for rule in rules) == [
        (1311, 1311, 4),
        (1311, 1311, 6),
        (1312, 1312, 4),
    ]
