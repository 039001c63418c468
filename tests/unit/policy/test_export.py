"""The routes of our beacon. Who may be sent what, whatever is wanted: tests/unit/runtime/test_export_gate.py."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, ip_address, ip_network

from anycastd.model.address import Family, NeighborName
from anycastd.model.bgp import NO_EXPORT
from anycastd.model.topology import Export
from anycastd.policy.export import beacon_routes, is_own_beacon
from tests.unit.runtime.fleet_world import RR, config

OWN = ip_network("10.255.255.1/32")


def test_every_part_of_our_beacon_is_ours() -> None:
    fleet = config("sin").fleet
    assert fleet is not None
    large = replace(fleet, beacon_networks=(ip_network("10.255.252.0/22"), ip_network("fd00:255::/112")))
    for text in ("10.255.252.2/32", "10.255.255.2/32", "fd00:255::2/128", "fd00:255::302/128"):
        assert is_own_beacon(large, ip_network(text)), text
    assert not is_own_beacon(large, ip_network("10.255.252.3/32"))


def test_a_beacon_route_says_all_it_is_and_stays_among_observers() -> None:
    mine = config("fra")
    rs = replace(
        mine.neighbors[RR],
        name=NeighborName("rs2"),
        address=ip_address("192.0.2.251"),
        asn=64510,
        families=(Family.IPV4_UNICAST, Family.IPV6_UNICAST),
        export=Export(next_hop_ipv6=IPv6Address("2001:db8::2")),
    )
    both = replace(mine, neighbors={**mine.neighbors, rs.name: rs})
    six = ip_network("fd00:255::1/128")
    routes = beacon_routes(both, [(OWN, ("64500:9:1", "64500:10:1")), (six, ("64500:1:1",))])
    assert set(routes) == {RR, rs.name}
    assert set(routes[RR]) == {OWN}, "it carries IPv4 only"
    inside, outside = routes[RR][OWN], routes[rs.name][OWN]
    assert (inside.as_path, inside.local_preference) == ((), 100)
    assert (outside.as_path, outside.local_preference) == ((64500,), None)
    assert inside.large_communities == ("64500:9:1", "64500:10:1")
    assert inside.communities == outside.communities == (NO_EXPORT,)
    assert routes[rs.name][six].next_hop == "2001:db8::2"
