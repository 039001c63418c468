"""From decisions to what each neighbor should be sent, and what the kernel should hold. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_network

from anycastd.model.address import Address, NeighborName, Prefix, RegionName
from anycastd.model.bgp import GRACEFUL_SHUTDOWN, Route
from anycastd.model.decision import Level, NeighborLevel, TunnelOrder
from anycastd.model.kernel import KernelRoute, KernelRule, MarkRule, RouteKind, SourceRule
from anycastd.model.nft import REGION_MASK, LocalFilter, NftSettings
from anycastd.model.spread import Extra
from anycastd.model.topology import Config, Neighbor, PrefixSpec, Tunnel
from anycastd.model.tunnel_device import Geneve, Vxlan
from anycastd.policy.condition import reaches
from anycastd.policy.mss import mss

IBGP_PREFERENCE = {Level.NORMAL: 100, Level.DEPREF: 50, Level.GSHUT: 0}
"""Inside our own AS a longer path with our own ASN in it would be dropped as a loop (RFC 4271 section 9.1.2)."""
IBGP_STEP = 10
"""Taken off for each prepend of a playbook: three of them stay above DEPREF."""
EVERYTHING: Mapping[int, Prefix] = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}
MED_STEP = 100
"""Added to a configured MED while depreferenced, for neighbors that compare it before the path."""


def next_hop_of(neighbor: Neighbor, prefix: Prefix) -> str:
    """Return the next hop for a prefix: the configured one of its family, else our address of the session."""
    export = neighbor.export
    configured = export.next_hop_ipv4 if prefix.version == 4 else export.next_hop_ipv6
    return str(configured if configured is not None else neighbor.local_address)


def route_for(
    neighbor: Neighbor, spec: PrefixSpec, level: Level, eased: int | None = None, extra: Extra | None = None
) -> Route | None:
    """Return the route that `neighbor` should be sent at `level`, every attribute explicit; None when withdrawn.

    `eased`: at DEPREF, how often our AS is added in a step of the return; None: `depref_prepend` times. `extra`: what a
    playbook adds at NORMAL; at any lower level that says enough.
    """
    if level is Level.WITHDRAWN:
        return None
    export = neighbor.export
    communities = set(export.communities)
    prepend, med = export.prepend, export.med
    if level is not Level.NORMAL:
        prepend += spec.depref_prepend if eased is None or level is not Level.DEPREF else eased
        communities |= set(export.depref_communities)
        med = None if med is None else med + MED_STEP
    if level is Level.GSHUT:
        communities.add(GRACEFUL_SHUTDOWN)
    added = extra.prepend if extra is not None and level is Level.NORMAL else 0
    if extra is not None and level is Level.NORMAL:
        communities |= set(extra.communities)
    ebgp = neighbor.is_ebgp
    return Route(
        prefix=spec.prefix,
        next_hop=next_hop_of(neighbor, spec.prefix),
        as_path=(neighbor.local_asn,) * (1 + prepend + added) if ebgp else (),
        med=med,
        local_preference=None if ebgp else IBGP_PREFERENCE[level] - IBGP_STEP * added,
        communities=tuple(sorted(communities, key=_numbers)),
        large_communities=tuple(sorted(set(export.large_communities), key=_numbers)),
    )


def _numbers(community: str) -> tuple[int, ...]:
    return tuple(int(part) for part in community.split(":"))


def level_of(neighbor: Neighbor, spec: PrefixSpec, route: Route, extra: Extra | None = None) -> Level:
    """Return the level an observed route stands for: what a restarted daemon takes over.

    `extra`: what a playbook was known to add, so that its prepends are not taken for DEPREF. Who is not told of it
    takes such a route for less than NORMAL, which is safe to say of oneself.

    A route that matches no level exactly (exported differently before an upgrade) is judged by its path length, or
    its local preference inside the AS: longer than NORMAL means DEPREF.
    """
    for level in (Level.NORMAL, Level.DEPREF, Level.GSHUT):
        if route in (route_for(neighbor, spec, level), route_for(neighbor, spec, level, extra=extra)):
            return level
    if GRACEFUL_SHUTDOWN in route.communities:
        return Level.GSHUT
    if not neighbor.is_ebgp:
        return Level.NORMAL if (route.local_preference or 0) >= IBGP_PREFERENCE[Level.NORMAL] else Level.DEPREF
    return Level.DEPREF if len(route.as_path) > 1 + neighbor.export.prepend else Level.NORMAL


def wanted_routes(
    config: Config,
    levels: Mapping[Prefix, Level],
    prefixes: Iterable[Prefix],
    drained: Mapping[Prefix, Iterable[NeighborLevel]] | None = None,
    eased: Mapping[Prefix, int | None] | None = None,
    extras: Mapping[Prefix, Iterable[Extra]] | None = None,
) -> dict[NeighborName, dict[Prefix, Route]]:
    """Return the routes of `prefixes` that every neighbor should be sent; `drained` ones are told less.

    `eased`: the prepends of those that return in steps. `extras`: what playbooks add.
    """
    wanted: dict[NeighborName, dict[Prefix, Route]] = {name: {} for name in config.neighbors}
    for prefix in prefixes:
        spec = config.prefixes[prefix]
        level = levels.get(prefix, Level.WITHDRAWN)
        less = {one.neighbor: one.level for one in (drained or {}).get(prefix, ())}
        more = {one.neighbor: one for one in (extras or {}).get(prefix, ())}
        for name in spec.neighbors:
            lengths = (eased or {}).get(prefix)
            route = route_for(config.neighbors[name], spec, min(level, less.get(name, level)), lengths, more.get(name))
            if route is not None:
                wanted[name][prefix] = route
    return wanted


def blackhole(config: Config, prefix: Prefix) -> KernelRoute:
    """Return the route that catches what no tunnel route takes: without it the packet loops with the upstream (I5)."""
    return KernelRoute(prefix=prefix, kind=RouteKind.BLACKHOLE, metric=config.kernel.blackhole_metric)


def region_table(config: Config, region: RegionName) -> int:
    """Return the routing table, and rule preference, of a region."""
    return config.kernel.region_table_base + config.regions[region].number


def wanted_kernel_routes(config: Config, orders: Iterable[TunnelOrder]) -> frozenset[KernelRoute]:
    """Return every route of ours: each prefix's blackhole, each region's table, and each tunnel's table for checks."""
    routes = {blackhole(config, prefix) for prefix in config.prefixes}
    for order in orders:
        routes |= set(region_routes(config, order))
    for tunnel in config.tunnels.values():
        routes |= set(_check_routes(config, tunnel))
    return frozenset(routes)


def region_routes(config: Config, order: TunnelOrder) -> Iterable[KernelRoute]:
    """Yield the default routes of a region's table, best tunnel first, with a blackhole below the last.

    The other tunnels stand ready at higher metrics: when a device goes down the kernel takes its route away, and
    packets go on over the next before we have heard of it.
    """
    table = region_table(config, order.region)
    step, everything = config.kernel.forward_metric, EVERYTHING[order.version]
    for position, id_ in enumerate(order.tunnels, start=1):
        if (tunnel := config.tunnels.get(id_)) is None:
            continue
        via = tunnel.far_end_ipv4 if order.version == 4 else tunnel.far_end_ipv6
        if via is not None:
            yield KernelRoute(everything, RouteKind.UNICAST, step * position, table, via, tunnel.device)
    yield KernelRoute(everything, RouteKind.BLACKHOLE, config.kernel.blackhole_metric, table)


def _check_routes(config: Config, tunnel: Tunnel) -> Iterable[KernelRoute]:
    for version, far_end in ((4, tunnel.far_end_ipv4), (6, tunnel.far_end_ipv6)):
        if far_end is not None:
            yield KernelRoute(
                prefix=EVERYTHING[version],
                kind=RouteKind.UNICAST,
                metric=config.kernel.forward_metric,
                table=tunnel.table,
                via=far_end,
                device=tunnel.device,
            )
            # without it a check would fall through to the main table and pass over another path
            yield KernelRoute(
                prefix=EVERYTHING[version],
                kind=RouteKind.BLACKHOLE,
                metric=config.kernel.blackhole_metric,
                table=tunnel.table,
            )


def wanted_kernel_rules(config: Config) -> frozenset[KernelRule]:
    """Return the rules of ours.

    Packets from a tunnel's own address go through that tunnel, whatever rp_filter says; packets with a region's mark
    look up the region's table.
    """
    sources = {
        SourceRule(source=local, table=tunnel.table, preference=tunnel.table)
        for tunnel in config.tunnels.values()
        for local in (tunnel.local_ipv4, tunnel.local_ipv6)
        if local is not None
    }
    marks = {
        MarkRule(region.number << 24, REGION_MASK, version, region_table(config, name), region_table(config, name))
        for name, region in config.regions.items()
        for version in (4, 6)
        if reaches(config, name, version)
    }
    return frozenset(sources | marks)


def nft_settings(config: Config, mtus: Mapping[str, int], filters: tuple[LocalFilter, ...] = ()) -> NftSettings:
    """Return what the packet filter's rules depend on; `mtus` are those of the devices, by name."""
    mss4, mss6 = mss(config.tunnels.values(), mtus)
    shapes = (tunnel.shape for tunnel in config.tunnels.values())
    ports = {shape.port for shape in shapes if isinstance(shape, Vxlan | Geneve)}
    absorb = config.attack.absorb
    return NftSettings(
        mss4=mss4,
        mss6=mss6,
        seed=config.eip.seed,
        outer_udp_ports=tuple(sorted({4789, *ports})),
        own_first=absorb.enabled,
        own_sources=_own_sources(config) if absorb.enabled else (),
        dscp=absorb.dscp,
        filters=filters,
    )


def _own_sources(config: Config) -> tuple[Address, ...]:
    """Return the addresses from which checks leave."""
    found = {spec.source for spec in (*config.probes, *config.self_test.probes) if spec.source is not None}
    return tuple(sorted(found, key=lambda one: (one.version, int(one))))
