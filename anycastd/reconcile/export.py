"""S11: the export allow-list, a look at each route at the last step before ExaBGP. Pure.

It does not ask what was decided, nor build the route again as policy does: it knows only the configuration, so that a
mistake anywhere before it ends here.
"""

from __future__ import annotations

from collections.abc import Container

from anycastd.model.address import NeighborName, family_of
from anycastd.model.bgp import Announce, Route
from anycastd.model.export import ExportRefusal
from anycastd.model.topology import Config, Neighbor

STAYS = "65535:65281"
"""NO_EXPORT (RFC 1997): who gets it keeps it to its own AS."""


def carriers(config: Config) -> frozenset[NeighborName]:
    """Return the neighbors that carry a prefix of the file."""
    return frozenset(name for spec in config.prefixes.values() for name in spec.neighbors)


def refusal(
    config: Config, upstreams: Container[NeighborName], action: Announce, announced: int
) -> ExportRefusal | None:
    """Return the rule that the route breaks, or None: it may leave.

    `upstreams` are `carriers(config)`; `announced` is how many other prefixes the neighbor was told.
    """
    neighbor, route = config.neighbors.get(action.neighbor), action.route
    if neighbor is None:
        return ExportRefusal.NEIGHBOR_UNKNOWN
    # by the exact prefix: a more or less specific one is another
    spec = config.prefixes.get(route.prefix)
    if spec is None and (neighbor.name in upstreams or not _stays_there(route)):
        return ExportRefusal.PREFIX_NOT_CONFIGURED
    if family_of(route.prefix) not in neighbor.families or (spec is not None and neighbor.name not in spec.neighbors):
        return ExportRefusal.PREFIX_NOT_FOR_NEIGHBOR
    if not _is_ours(neighbor, route):
        return ExportRefusal.FOREIGN_ORIGIN
    if route.next_hop not in _next_hops(neighbor):
        return ExportRefusal.FOREIGN_NEXT_HOP
    return ExportRefusal.TOO_MANY_PREFIXES if announced >= neighbor.max_prefixes else None


def _stays_there(route: Route) -> bool:
    """Return whether it is a word between our POPs: a single address that goes no further than who gets it.

    Only a neighbor that carries no prefix of the file gets such.
    """
    return route.prefix.prefixlen == route.prefix.max_prefixlen and STAYS in route.communities


def _is_ours(neighbor: Neighbor, route: Route) -> bool:
    """Return whether only our AS is in the path: at least once outside our AS, not at all inside."""
    return set(route.as_path) == ({neighbor.local_asn} if neighbor.is_ebgp else set())


def _next_hops(neighbor: Neighbor) -> set[str]:
    own = (neighbor.local_address, neighbor.export.next_hop_ipv4, neighbor.export.next_hop_ipv6)
    return {str(address) for address in own if address is not None}
