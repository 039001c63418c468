"""REROUTE, the mildest step: which tunnel carries a prefix's packets. Pure; nothing here touches an announcement."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from anycastd.model.address import Family, Prefix, TunnelId, family_of
from anycastd.model.decision import PathChoice
from anycastd.model.health import Health, HealthView
from anycastd.model.kernel import KernelRoute
from anycastd.model.topology import Condition, Config
from anycastd.policy.condition import carries, counted, region_health
from anycastd.policy.desired import forward

_RANK = {Health.HEALTHY: 0, Health.UNKNOWN: 1, Health.INITIAL: 2, Health.UNHEALTHY: 3}
Rank = tuple[int, int, int, int, int]


def _rank(config: Config, health: HealthView, family: Family, id_: TunnelId) -> Rank:
    """Order of tunnels: usable ones first, then usable regions, the region's priority, then the tunnel's."""
    tunnel = config.tunnels[id_]
    region = config.regions[tunnel.region]
    view = health.tunnels[id_]
    # a tunnel that passes its own checks but through which no backend answers is as good as down, if another does
    sees_nothing = int(view.healthy_backends == 0)
    return (
        _RANK[region_health(config, region.name, family, health)],
        _RANK[view.health] + sees_nothing,
        region.priority,
        tunnel.priority,
        sees_nothing,
    )


def choose(
    config: Config,
    prefix: Prefix,
    condition: Condition,
    health: HealthView,
    before: PathChoice | None,
    now_s: float,
) -> PathChoice:
    """Return the tunnel for a prefix: nearest usable region first; the present one stays unless another is better.

    Among equals the lower latency wins, by more than `switch_hysteresis_ms` over the present one. With nothing usable
    the present choice stands (fail open): packets on a bad path beat packets nowhere.
    """
    family = family_of(prefix)
    candidates = [
        id_
        for name in counted(config, condition, family)
        for id_ in config.regions[name].tunnels
        if carries(config.tunnels[id_], family)
    ]
    present = before.tunnel if before and before.tunnel in candidates else None
    if not candidates:
        return PathChoice(prefix, None, "no tunnel of this family", now_s)
    if present is not None and _awaits_first_verdict(config, health, present):
        return replace(before or PathChoice(prefix, present, ""), prefix=prefix)
    best = min(candidates, key=lambda id_: (_rank(config, health, family, id_), _latency_ms(health, id_), id_))
    view = health.tunnels[best]
    if present is not None and best != present and not _beats(config, health, family, best, present):
        best, view = present, health.tunnels[present]
    usable = view.health is Health.HEALTHY
    if not usable and present is not None:
        best, view = present, health.tunnels[present]
    if not usable and present is None and view.health is not Health.UNHEALTHY:
        return PathChoice(prefix, None, "no tunnel has passed its checks yet", now_s)
    reason = f"best of {len(candidates)} tunnels" if usable else "nothing usable: the last choice stands"
    same = before is not None and before.tunnel == best
    return PathChoice(prefix, best, reason, before.since_s if before and same else now_s)


def _awaits_first_verdict(config: Config, health: HealthView, id_: TunnelId) -> bool:
    """Return whether nothing is known yet of the present path: after a restart, packets stay where they are."""
    region = health.regions[config.tunnels[id_].region]
    return Health.INITIAL in (health.tunnels[id_].health, region.health)


def path_in_kernel(config: Config, prefix: Prefix, routes: Collection[KernelRoute], now_s: float) -> PathChoice | None:
    """Return the choice that the kernel's route of a prefix stands for: what a restarted daemon takes over."""
    for id_ in config.tunnels:
        choice = PathChoice(prefix, id_, "taken over from the kernel", now_s)
        if (route := forward(config, choice)) is not None and route in routes:
            return choice
    return None


def _latency_ms(health: HealthView, id_: TunnelId) -> float:
    latency_ms = health.tunnels[id_].latency_ms
    return latency_ms if latency_ms is not None else float("inf")


def _beats(config: Config, health: HealthView, family: Family, other: TunnelId, present: TunnelId) -> bool:
    mine, theirs = _rank(config, health, family, present), _rank(config, health, family, other)
    if theirs != mine:
        return theirs < mine
    gain_ms = _latency_ms(health, present) - _latency_ms(health, other)
    return gain_ms > config.kernel.switch_hysteresis_ms
