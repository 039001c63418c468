"""The routes by which observers are told our beacon. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from anycastd.model.address import NeighborName, Prefix
from anycastd.model.bgp import NO_EXPORT, Route
from anycastd.model.decision import Level
from anycastd.model.fleet_config import FleetConfig
from anycastd.model.topology import Config, Neighbor
from anycastd.policy.desired import IBGP_PREFERENCE, next_hop_of

PLACES = 256
"""A POP's beacon is at its number in each 256 addresses of a beacon network."""


def is_own_beacon(fleet: FleetConfig, prefix: Prefix) -> bool:
    """Return whether a prefix is an address of this POP's beacon."""
    if prefix.prefixlen != prefix.max_prefixlen:
        return False
    number = int(prefix.network_address) % PLACES
    return number == fleet.own.number and any(
        prefix.version == network.version and prefix.network_address in network for network in fleet.beacon_networks
    )


def beacon_route(neighbor: Neighbor, prefix: Prefix, large_communities: Iterable[str]) -> Route:
    """Return the route by which an observer is told a part of our beacon; it must not leave the observers (RFC 1997).

    The communities are sorted, as ExaBGP prints them, so that what is wanted and observed compare equal.
    """
    ebgp = neighbor.is_ebgp
    return Route(
        prefix=prefix,
        next_hop=next_hop_of(neighbor, prefix),
        as_path=(neighbor.local_asn,) if ebgp else (),
        local_preference=None if ebgp else IBGP_PREFERENCE[Level.NORMAL],
        communities=(NO_EXPORT,),
        large_communities=tuple(sorted(set(large_communities), key=_numbers)),
    )


def beacon_routes(
    config: Config, said: Iterable[tuple[Prefix, tuple[str, ...]]]
) -> Mapping[NeighborName, dict[Prefix, Route]]:
    """Return the routes of every observer for what is said: those of the families that it carries."""
    parts = tuple(said)
    return {
        name: {
            prefix: beacon_route(neighbor, prefix, communities)
            for prefix, communities in parts
            if any(family.version == prefix.version for family in neighbor.families)
        }
        for name, neighbor in config.neighbors.items()
        if neighbor.is_observer
    }


def _numbers(community: str) -> tuple[int, ...]:
    return tuple(int(part) for part in community.split(":"))
