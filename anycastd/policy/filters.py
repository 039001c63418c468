"""Which blackholes and flow rules each neighbor should be sent, and the packet filter hold. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_network

from anycastd.model.address import NeighborName, family_of
from anycastd.model.bgp import BLACKHOLE, NO_EXPORT, FilterKey, FlowRoute, Route
from anycastd.model.decision import Level
from anycastd.model.filters import Blackhole, Filter, FlowRule
from anycastd.model.flow import FlowMatch, key_of_tag, tag_of
from anycastd.model.nft import LocalFilter
from anycastd.model.topology import Config, Neighbor
from anycastd.policy.desired import IBGP_PREFERENCE, next_hop_of


def takers(config: Config, one: Filter) -> tuple[Neighbor, ...]:
    """Return the neighbors that should be sent a filter: those that take its kind and family, and are named or none."""
    what = one.address if isinstance(one, Blackhole) else one.match.destination
    family = family_of(what)
    return tuple(
        neighbor
        for name, neighbor in config.neighbors.items()
        if (neighbor.blackhole if isinstance(one, Blackhole) else neighbor.flowspec)
        and family in neighbor.families
        and (not one.neighbors or name in one.neighbors)
    )


def blackhole_route(neighbor: Neighbor, one: Blackhole) -> Route:
    """Return a blackhole (RFC 7999); NO_EXPORT, for it is between us and the neighbor."""
    prefix = ip_network(one.address)
    communities = {BLACKHOLE, NO_EXPORT, *neighbor.export.blackhole_communities}
    return Route(
        prefix=prefix,
        next_hop=next_hop_of(neighbor, prefix),
        as_path=(neighbor.local_asn,) if neighbor.is_ebgp else (),
        local_preference=None if neighbor.is_ebgp else IBGP_PREFERENCE[Level.NORMAL],
        communities=tuple(sorted(communities, key=lambda text: tuple(map(int, text.split(":"))))),
    )


def flow_route(neighbor: Neighbor, rule: FlowRule) -> FlowRoute:
    """Return a flow rule with the tag by which it is known again."""
    tag = tag_of(neighbor.local_asn, rule.match, rule.rate_bytes_s)
    return FlowRoute(key_of_tag(tag), rule.match.destination, rule.match, rule.rate_bytes_s, tag)


def wanted_filters(
    config: Config, standing: Iterable[Filter]
) -> dict[NeighborName, dict[FilterKey, Route | FlowRoute]]:
    """Return what every neighbor should be sent besides prefixes."""
    wanted: dict[NeighborName, dict[FilterKey, Route | FlowRoute]] = {name: {} for name in config.neighbors}
    for one in standing:
        for neighbor in takers(config, one):
            if isinstance(one, FlowRule):
                flow = flow_route(neighbor, one)
                wanted[neighbor.name][flow.key] = flow
            elif ip_network(one.address) not in config.prefixes:
                wanted[neighbor.name][ip_network(one.address)] = blackhole_route(neighbor, one)
    return wanted


def local_filters(standing: Iterable[Filter], until_unix_s: Callable[[Filter], int]) -> tuple[LocalFilter, ...]:
    """Return what the packet filter should hold: blackholes first, then rules, oldest first."""
    every = sorted(standing, key=lambda one: isinstance(one, FlowRule))
    return tuple(
        LocalFilter(one.id, FlowMatch(destination=ip_network(one.address)), until_unix_s=until_unix_s(one))
        if isinstance(one, Blackhole)
        else LocalFilter(one.id, one.match, one.rate_bytes_s, until_unix_s(one))
        for one in every
    )
