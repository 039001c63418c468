"""S11: the export allow-list, a look at each route at the last step before ExaBGP. Pure.

It does not ask what was decided, nor build the route again as policy does: it knows only the configuration, so that a
mistake anywhere before it ends here.
"""

from __future__ import annotations

from anycastd.model.address import Prefix, family_of
from anycastd.model.bgp import NO_EXPORT, Announce, AnnounceFlow, Route
from anycastd.model.export import ExportRefusal
from anycastd.model.filters import lies_in
from anycastd.model.topology import Config, Neighbor
from anycastd.policy.export import is_own_beacon


def refusal(config: Config, action: Announce, announced: int) -> ExportRefusal | None:
    """Return the rule that the route breaks, or None: it may leave.

    Upstreams get prefixes of the file, observers our own beacon, and neither anything of the other's. `announced` is
    how many others of its kind, prefixes or blackholes, the neighbor was told.
    """
    neighbor, route = config.neighbors.get(action.neighbor), action.route
    if neighbor is None:
        return ExportRefusal.NEIGHBOR_UNKNOWN
    if route.is_blackhole:
        return _blackhole_refusal(config, neighbor, route, announced)
    # by the exact prefix: a more or less specific one is another
    spec = config.prefixes.get(route.prefix)
    if spec is None and not (neighbor.is_observer and _is_beacon(config, route)):
        return ExportRefusal.PREFIX_NOT_CONFIGURED
    if family_of(route.prefix) not in neighbor.families or (spec is not None and neighbor.name not in spec.neighbors):
        return ExportRefusal.PREFIX_NOT_FOR_NEIGHBOR
    if not _is_ours(neighbor, route):
        return ExportRefusal.FOREIGN_ORIGIN
    if route.next_hop not in _next_hops(neighbor):
        return ExportRefusal.FOREIGN_NEXT_HOP
    return ExportRefusal.TOO_MANY_PREFIXES if announced >= neighbor.max_prefixes else None


def _blackhole_refusal(config: Config, neighbor: Neighbor, route: Route, told: int) -> ExportRefusal | None:
    """Return the rule that a blackhole breaks: a single address within a prefix of the file, for those who take it."""
    if not neighbor.blackhole or family_of(route.prefix) not in neighbor.families or NO_EXPORT not in route.communities:
        return ExportRefusal.FILTER_NOT_TAKEN
    if route.prefix in config.prefixes or not _is_own(config, route.prefix):
        return ExportRefusal.NOT_OUR_ADDRESS
    if not _is_ours(neighbor, route):
        return ExportRefusal.FOREIGN_ORIGIN
    if route.next_hop not in _next_hops(neighbor):
        return ExportRefusal.FOREIGN_NEXT_HOP
    return ExportRefusal.TOO_MANY_FILTERS if told >= config.attack.filter.max_blackholes else None


def flow_refusal(config: Config, action: AnnounceFlow, told: int) -> ExportRefusal | None:
    """Return the rule that a flow rule breaks, or None: it may leave. `told`: how many others the neighbor was."""
    neighbor, destination = config.neighbors.get(action.neighbor), action.flow.destination
    if neighbor is None:
        return ExportRefusal.NEIGHBOR_UNKNOWN
    if not neighbor.flowspec or family_of(destination) not in neighbor.families:
        return ExportRefusal.FILTER_NOT_TAKEN
    if not _is_own(config, destination):
        return ExportRefusal.NOT_OUR_ADDRESS
    return ExportRefusal.TOO_MANY_FILTERS if told >= config.attack.filter.max_flow_rules else None


def _is_own(config: Config, prefix: Prefix) -> bool:
    return any(lies_in(prefix, one) for one in config.prefixes)


def _is_beacon(config: Config, route: Route) -> bool:
    """Return whether it is our own word to the other POPs, that goes no further than who gets it."""
    return config.fleet is not None and is_own_beacon(config.fleet, route.prefix) and NO_EXPORT in route.communities


def _is_ours(neighbor: Neighbor, route: Route) -> bool:
    """Return whether only our AS is in the path: at least once outside our AS, not at all inside."""
    return set(route.as_path) == ({neighbor.local_asn} if neighbor.is_ebgp else set())


def _next_hops(neighbor: Neighbor) -> set[str]:
    own = (neighbor.local_address, neighbor.export.next_hop_ipv4, neighbor.export.next_hop_ipv6)
    return {str(address) for address in own if address is not None}
