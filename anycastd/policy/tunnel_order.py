"""REROUTE, the mildest step: in which order a region's tunnels carry its packets. Pure; touches no announcement."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from anycastd.model.address import Address, Family, RegionName, TunnelId
from anycastd.model.decision import TunnelOrder
from anycastd.model.health import Health, HealthView
from anycastd.model.kernel import KernelRoute, RouteKind
from anycastd.model.topology import Config
from anycastd.policy.condition import carries
from anycastd.policy.preference import settle

_RANK = {Health.HEALTHY: 0, Health.DEGRADED: 2, Health.UNKNOWN: 8, Health.INITIAL: 12, Health.UNHEALTHY: 16}
"""Even: a drained tunnel has its place between those that are as good and those that are worse."""
_SEES_NOTHING = 4
_DRAINED = 3
"""Behind every tunnel that is not drained and works, also a DEGRADED one; before what is not known to work."""
_NO_TUNNELS: frozenset[TunnelId] = frozenset()
_FAIL_OPEN = "nothing usable: the order stands as it is"
Rank = tuple[int, int]


def order(
    config: Config,
    region: RegionName,
    version: int,
    health: HealthView,
    before: TunnelOrder | None,
    now_s: float,
    drained: frozenset[TunnelId] = _NO_TUNNELS,
) -> TunnelOrder:
    """Return the region's tunnels of a family, best first; `before` itself if nothing changes.

    By health, then the tunnel's priority, then latency, which must be better by `kernel.switch_hysteresis_ms`: a
    DEGRADED tunnel carries packets only where no HEALTHY one can, whatever their priorities; a drained one comes behind
    every usable one that is not, and before what is not known to work. The present first one stays while its first
    verdict is awaited. With nothing usable the last order stands (fail open): packets on a bad path beat packets
    nowhere.
    """
    family = Family.IPV4_UNICAST if version == 4 else Family.IPV6_UNICAST
    candidates = [id_ for id_ in config.regions[region].tunnels if carries(config.tunnels[id_], family)]
    known = [id_ for id_ in before.tunnels if id_ in candidates] if before else []
    ranks = {id_: _rank(config, version, health, id_, drained) for id_ in candidates}
    usable = [id_ for id_ in candidates if health.tunnels[id_].health.is_usable]
    tunnels: tuple[TunnelId, ...]
    if not candidates:
        tunnels, reason = (), "no tunnel of this family"
    elif not usable and known:
        tunnels = (*known, *_settled(config, health, ranks, set(candidates) - set(known), ()))
        reason = _FAIL_OPEN
    elif known and _awaits_first_verdict(config, version, health, known[0]):
        rest = _settled(config, health, ranks, set(candidates) - {known[0]}, known[1:])
        tunnels, reason = (known[0], *rest), "the first verdict is awaited: the last choice stands"
    else:
        tunnels = _settled(config, health, ranks, candidates, known)
        reason = f"best of {len(candidates)} tunnels" if usable else _FAIL_OPEN
        if usable and health.tunnels[tunnels[0]].health is Health.DEGRADED:
            reason += ", degraded"
    since_s = before.since_s if before and before.tunnels[:1] == tunnels[:1] else now_s
    avoided = tuple(id_ for id_ in tunnels if id_ in drained)
    if avoided:
        reason = f"{reason}; drained: {', '.join(avoided)}"
    after = TunnelOrder(region, version, tunnels, reason, since_s, avoided)
    return before if before == after else after


def order_in_kernel(
    config: Config, region: RegionName, version: int, routes: Collection[KernelRoute], now_s: float
) -> TunnelOrder | None:
    """Return the order that the routes of the region's table stand for: what a restarted daemon takes over."""
    table = config.kernel.region_table_base + config.regions[region].number
    ways: dict[tuple[Address | None, str | None], TunnelId] = {}
    for id_ in config.regions[region].tunnels:
        tunnel = config.tunnels[id_]
        ways[tunnel.far_end_ipv4 if version == 4 else tunnel.far_end_ipv6, tunnel.device] = id_
    mine = (
        route
        for route in routes
        if route.table == table and route.kind is RouteKind.UNICAST and route.prefix.version == version
    )
    found = [ways.get((route.via, route.device)) for route in sorted(mine, key=lambda route: route.metric)]
    tunnels = tuple(dict.fromkeys(id_ for id_ in found if id_ is not None))
    return TunnelOrder(region, version, tunnels, "taken over from the kernel", now_s) if tunnels else None


def _settled(
    config: Config,
    health: HealthView,
    ranks: dict[TunnelId, Rank],
    candidates: Iterable[TunnelId],
    known: Collection[TunnelId],
) -> tuple[TunnelId, ...]:
    def beats(other: TunnelId, present: TunnelId) -> bool:
        if ranks[other] != ranks[present]:
            return ranks[other] < ranks[present]
        gain_ms = _latency_ms(health, present) - _latency_ms(health, other)
        return gain_ms > config.kernel.switch_hysteresis_ms

    return settle(candidates, tuple(known), lambda id_: (ranks[id_], _latency_ms(health, id_), id_), beats)


def _seen_through(config: Config, version: int, health: HealthView, id_: TunnelId) -> list[Health]:
    """Return what the checks of the region's backends of the family say through one tunnel."""
    backends = config.regions[config.tunnels[id_].region].backends
    views = (health.backends[backend] for backend in backends if config.backends[backend].address.version == version)
    return [view.paths[id_] for view in views if id_ in view.paths]


def _rank(config: Config, version: int, health: HealthView, id_: TunnelId, drained: Collection[TunnelId]) -> Rank:
    seen = _seen_through(config, version, health, id_)
    # a tunnel that passes its own checks but through which no backend answers is as good as down, if another does
    sees_nothing = _SEES_NOTHING * (bool(seen) and not any(state.is_usable for state in seen))
    drained_too = _DRAINED * (id_ in drained)
    return (_RANK[health.tunnels[id_].health] + sees_nothing + drained_too, config.tunnels[id_].priority)


def _awaits_first_verdict(config: Config, version: int, health: HealthView, id_: TunnelId) -> bool:
    """Return whether nothing is known yet of the present path: after a restart, packets stay where they are."""
    if not health.tunnels[id_].health.is_usable:
        return health.tunnels[id_].health is Health.INITIAL
    seen = _seen_through(config, version, health, id_)
    return Health.INITIAL in seen and not any(state.is_usable for state in seen)


def _latency_ms(health: HealthView, id_: TunnelId) -> float:
    latency_ms = health.tunnels[id_].latency_ms
    return latency_ms if latency_ms is not None else float("inf")
