"""From check verdicts to tunnels, backends and regions, telling one's fault from the other's (I2).

A backend is checked through every tunnel of its region, so that three cases part: it fails through all healthy
tunnels (the backend), through one only (that path), or no tunnel is healthy (nothing is known of the backend).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from anycastd.health.rules import Leaf, Value, value_of
from anycastd.model.address import BackendId, CheckId, RegionName, TunnelId
from anycastd.model.decision import Truth
from anycastd.model.health import (
    BackendView,
    CheckState,
    FaultScope,
    Health,
    HealthReason,
    HealthView,
    RegionView,
    SelfTestView,
    TunnelView,
)
from anycastd.model.operator import Believed, Forced
from anycastd.model.topology import Condition, Config, Group, Member, MemberKind, Need, Region, Scope

_WORST_FIRST = (Health.UNHEALTHY, Health.UNKNOWN, Health.INITIAL, Health.DEGRADED)
_NOTHING = Forced()
_REASON_OF = {
    Health.DEGRADED: HealthReason.CHECK_DEGRADED,
    Health.UNHEALTHY: HealthReason.CHECK_FAILED,
    Health.UNKNOWN: HealthReason.CHECK_BROKEN,
    Health.INITIAL: HealthReason.CHECKS_PENDING,
    Health.HEALTHY: HealthReason.CHECKS_PASS,
}


@dataclass(frozen=True, slots=True)
class Index:
    """Which checks feed whom; built once for a configuration."""

    tunnel_checks: Mapping[TunnelId, tuple[CheckId, ...]] = field(default_factory=dict)
    path_checks: Mapping[BackendId, Mapping[TunnelId, tuple[CheckId, ...]]] = field(default_factory=dict)


def index_of(config: Config) -> Index:
    """Return the index of a configuration's checks."""
    tunnels: dict[TunnelId, tuple[CheckId, ...]] = dict.fromkeys(config.tunnels, ())
    paths: dict[BackendId, dict[TunnelId, tuple[CheckId, ...]]] = {backend: {} for backend in config.backends}
    for spec in config.probes:
        if spec.tunnel is None:
            continue
        if spec.backend is None:
            tunnels[spec.tunnel] = (*tunnels[spec.tunnel], spec.id)
        else:
            path = paths[spec.backend]
            path[spec.tunnel] = (*path.get(spec.tunnel, ()), spec.id)
    return Index(tunnels, paths)


@dataclass(frozen=True, slots=True)
class _Combined:
    health: Health
    evidence: tuple[CheckId, ...]
    latency_ms: float | None
    reason: HealthReason


def _combine(ids: Iterable[CheckId], checks: Mapping[CheckId, CheckState]) -> _Combined:
    states = [checks[id_] for id_ in ids if id_ in checks]
    known = [state.latency_ms for state in states if state.latency_ms is not None]
    latency_ms = max(known) if known else None
    for health in _WORST_FIRST:
        guilty = [state for state in states if state.health is health]
        if guilty:
            reason = _REASON_OF[health]
            if health is Health.UNHEALTHY and all(state.fails_too_often for state in guilty):
                reason = HealthReason.TOO_MANY_FAILURES
            return _Combined(health, tuple(state.id for state in guilty), latency_ms, reason)
    if not states:
        return _Combined(Health.UNKNOWN, (), None, HealthReason.NO_CHECKS)
    return _Combined(Health.HEALTHY, tuple(state.id for state in states), latency_ms, HealthReason.CHECKS_PASS)


def assess_region(
    region: Region,
    config: Config,
    index: Index,
    checks: Mapping[CheckId, CheckState],
    now_s: float,
    before: HealthView | None = None,
    touched: Collection[BackendId] | None = None,
    forced: Forced = _NOTHING,
) -> tuple[dict[TunnelId, TunnelView], dict[BackendId, BackendView], RegionView]:
    """Return what is believed of one region and all in it; `before` lends the `since_s` of what did not change.

    `touched` are the backends of which a check has another verdict than in `before`, None = it may be any; the others
    are what they were, unless a tunnel is not. What an operator `forced` is believed whatever the checks say.
    """
    tunnel_health = {
        id_: _as_forced(_combine(index.tunnel_checks[id_], checks), forced.tunnels.get(id_)) for id_ in region.tunnels
    }
    ways = {id_: combined.health for id_, combined in tunnel_health.items()}
    backends = _kept(region, ways, before) if before is not None and touched is not None else {}
    for backend in region.backends if not backends else touched or ():
        believed = forced.backends.get(backend)
        backends[backend] = _backend(backend, region, index, checks, ways, now_s, before, believed)
    tunnels: dict[TunnelId, TunnelView] = {}
    for id_, combined in tunnel_health.items():
        old = before.tunnels.get(id_) if before else None
        tunnels[id_] = TunnelView(
            id=id_,
            region=region.name,
            device=config.tunnels[id_].device,
            health=combined.health,
            reason=combined.reason,
            since_s=old.since_s if old and old.health is combined.health else now_s,
            evidence=combined.evidence,
            latency_ms=combined.latency_ms,
            healthy_backends=sum(view.paths.get(id_, Health.UNKNOWN).is_usable for view in backends.values()),
        )
    believed = forced.regions.get(region.name)
    return tunnels, backends, _region(region, tunnels, backends, checks, now_s, before, believed)


def _as_forced(found: _Combined, believed: Believed | None) -> _Combined:
    return found if believed is None else replace(found, health=believed[0], reason=believed[1])


def _kept(region: Region, ways: Mapping[TunnelId, Health], before: HealthView) -> dict[BackendId, BackendView]:
    """Return the backends as they were, if every tunnel is what it was; else none."""
    if any(id_ not in before.tunnels or before.tunnels[id_].health is not health for id_, health in ways.items()):
        return {}
    return {id_: before.backends[id_] for id_ in region.backends}


def _backend(
    id_: BackendId,
    region: Region,
    index: Index,
    checks: Mapping[CheckId, CheckState],
    tunnels: Mapping[TunnelId, Health],
    now_s: float,
    before: HealthView | None,
    believed: Believed | None,
) -> BackendView:
    combined = {tunnel: _combine(ids, checks) for tunnel, ids in index.path_checks[id_].items()}
    through = {tunnel: path for tunnel, path in combined.items() if tunnels.get(tunnel, Health.UNKNOWN).is_usable}
    answering = [path for path in through.values() if path.health.is_usable]
    if answering:
        best = min(answering, key=_as_a_way)
        health, reason, evidence, latency_ms = best.health, best.reason, best.evidence, best.latency_ms
    elif through:
        found = {path.health for path in through.values()}
        # a path that is not decided yet may still turn out well: only when all are bad is it the backend
        health = next(state for state in (Health.INITIAL, Health.UNKNOWN, Health.UNHEALTHY) if state in found)
        bad = [path for path in through.values() if path.health is health]
        reason, latency_ms = bad[0].reason, None
        evidence = tuple(check for path in bad for check in path.evidence)
    else:
        ways = [tunnels[tunnel] for tunnel in combined if tunnel in tunnels]
        health = Health.INITIAL if Health.INITIAL in ways else Health.UNKNOWN
        reason = _reason_without_ways(ways)
        evidence, latency_ms = (), None
    paths = {tunnel: path.health for tunnel, path in combined.items()}
    if believed is not None:
        health, reason = believed
        paths = {tunnel: health if ways_up else paths[tunnel] for tunnel, ways_up in _up(paths, tunnels).items()}
    old = before.backends.get(id_) if before else None
    return BackendView(
        id=id_,
        region=region.name,
        health=health,
        reason=reason,
        since_s=old.since_s if old and old.health is health else now_s,
        evidence=evidence,
        paths=paths,
        latency_ms=latency_ms,
    )


def _as_a_way(path: _Combined) -> tuple[bool, float]:
    return path.health is Health.DEGRADED, path.latency_ms if path.latency_ms is not None else float("inf")


def _up(paths: Iterable[TunnelId], tunnels: Mapping[TunnelId, Health]) -> dict[TunnelId, bool]:
    """Return of each tunnel whether it is usable: what is forced of a backend holds for no way that is down."""
    return {tunnel: tunnel in tunnels and tunnels[tunnel].is_usable for tunnel in paths}


def _reason_without_ways(ways: list[Health]) -> HealthReason:
    if not ways:
        return HealthReason.NO_CHECKS
    return HealthReason.CHECKS_PENDING if Health.INITIAL in ways else HealthReason.NO_USABLE_TUNNEL


def is_cut_off(view: BackendView, tunnels: Mapping[TunnelId, TunnelView]) -> bool:
    """Return whether every tunnel that leads to the backend is down: nothing is known of it, and it is no use here."""
    return bool(view.paths) and all(tunnels[id_].health is Health.UNHEALTHY for id_ in view.paths)


def _region(
    region: Region,
    tunnels: Mapping[TunnelId, TunnelView],
    backends: Mapping[BackendId, BackendView],
    checks: Mapping[CheckId, CheckState],
    now_s: float,
    before: HealthView | None,
    believed: Believed | None = None,
) -> RegionView:
    states = [view.health for view in tunnels.values()]
    detail = ""
    if any(state.is_usable for state in states):
        value = _usable_when(region, tunnels, backends, checks)
        health, reason = _by_rule(region, value)
        detail = "" if isinstance(region.usable_when, Need) else value.detail
        if health is Health.HEALTHY and Health.HEALTHY not in states:
            health, reason = Health.DEGRADED, HealthReason.TUNNELS_DEGRADED
    else:
        health, reason = _without_tunnels(states)
    health, reason = believed or (health, reason)
    old = before.regions.get(region.name) if before else None
    return RegionView(
        name=region.name,
        health=health,
        reason=reason,
        since_s=old.since_s if old and old.health is health else now_s,
        healthy_tunnels=states.count(Health.HEALTHY),
        healthy_backends=sum(view.health is Health.HEALTHY for view in backends.values()),
        total_tunnels=len(region.tunnels),
        total_backends=len(region.backends),
        degraded_tunnels=states.count(Health.DEGRADED),
        degraded_backends=sum(view.health is Health.DEGRADED for view in backends.values()),
        detail=detail,
    )


def _without_tunnels(states: list[Health]) -> tuple[Health, HealthReason]:
    if Health.INITIAL in states:
        return Health.INITIAL, HealthReason.CHECKS_PENDING
    if Health.UNKNOWN in states:
        return Health.UNKNOWN, HealthReason.TUNNELS_UNKNOWN
    return Health.UNHEALTHY, HealthReason.NO_USABLE_TUNNEL


def _usable_when(
    region: Region,
    tunnels: Mapping[TunnelId, TunnelView],
    backends: Mapping[BackendId, BackendView],
    checks: Mapping[CheckId, CheckState],
) -> Value:
    def look(leaf: Leaf) -> Mapping[str, Health]:
        if isinstance(leaf, Condition):
            return _all(leaf.scope, tunnels, backends)
        members = leaf.members if isinstance(leaf, Group) else (leaf,)
        return {member.id: member_health(member, tunnels, backends, checks) for member in members}

    rule = region.usable_when
    return value_of(Condition(Scope.BACKENDS, rule) if isinstance(rule, Need) else rule, look)


def _by_rule(region: Region, value: Value) -> tuple[Health, HealthReason]:
    """Return what `usable_when` makes of a region, a tunnel of which is usable."""
    is_rule = not isinstance(region.usable_when, Need)
    if value.truth is Truth.TRUE and value.well is Truth.TRUE:
        return Health.HEALTHY, HealthReason.RULE_HOLDS if is_rule else HealthReason.ENOUGH_BACKENDS
    if value.truth is Truth.TRUE:
        return Health.DEGRADED, HealthReason.RULE_HOLDS_DEGRADED if is_rule else HealthReason.BACKENDS_DEGRADED
    if value.truth is Truth.FALSE:
        return Health.UNHEALTHY, HealthReason.RULE_FAILS if is_rule else HealthReason.TOO_FEW_BACKENDS
    if value.first:
        return Health.INITIAL, HealthReason.CHECKS_PENDING
    return Health.UNKNOWN, HealthReason.CHECK_BROKEN


def _all(
    scope: Scope, tunnels: Mapping[TunnelId, TunnelView], backends: Mapping[BackendId, BackendView]
) -> Mapping[str, Health]:
    if scope is Scope.TUNNELS:
        return {id_: view.health for id_, view in tunnels.items()}
    if all(view.health is not Health.UNHEALTHY for view in tunnels.values()):
        # none is cut off: a thousand backends are not asked each
        return {id_: view.health for id_, view in backends.items()}
    return {id_: Health.UNHEALTHY if is_cut_off(view, tunnels) else view.health for id_, view in backends.items()}


def member_health(
    member: Member,
    tunnels: Mapping[TunnelId, TunnelView],
    backends: Mapping[BackendId, BackendView],
    checks: Mapping[CheckId, CheckState],
) -> Health:
    """Return what is believed of a tunnel, backend or check that a rule names; a backend that is cut off is no use."""
    if member.kind is MemberKind.TUNNEL:
        return tunnels[TunnelId(member.id)].health
    if member.kind is MemberKind.BACKEND:
        view = backends[BackendId(member.id)]
        return Health.UNHEALTHY if is_cut_off(view, tunnels) else view.health
    state = checks.get(CheckId(member.id))
    return Health.UNKNOWN if state is None else state.health


def assess(
    config: Config,
    index: Index,
    checks: Mapping[CheckId, CheckState],
    now_s: float,
    before: HealthView | None = None,
    self_test: SelfTestView | None = None,
    only: frozenset[RegionName] | None = None,
    touched: Collection[BackendId] | None = None,
    forced: Forced = _NOTHING,
) -> HealthView:
    """Return the whole view; with `only`, just these regions are assessed anew and the rest is taken from `before`.

    `touched`: of all backends in them, only these may be another than in `before` as long as their tunnels are not.
    """
    tunnels: dict[TunnelId, TunnelView] = {}
    backends: dict[BackendId, BackendView] = {}
    regions: dict[RegionName, RegionView] = {}
    if only is not None and before is not None:
        tunnels.update(before.tunnels)
        backends.update(before.backends)
        regions.update(before.regions)
    for name, region in config.regions.items():
        if only is None or before is None or name in only:
            its_touched = None if touched is None else [id_ for id_ in touched if config.backends[id_].region == name]
            its_tunnels, its_backends, regions[name] = assess_region(
                region, config, index, checks, now_s, before, its_touched, forced
            )
            tunnels.update(its_tunnels)
            backends.update(its_backends)
    self_test = self_test or (before.self_test if before else SelfTestView())
    scope, detail = fault_of(tunnels, backends, regions, self_test)
    return HealthView(tunnels, backends, regions, self_test, scope, detail)


def fault_of(
    tunnels: Mapping[TunnelId, TunnelView],
    backends: Mapping[BackendId, BackendView],
    regions: Mapping[RegionName, RegionView],
    self_test: SelfTestView,
) -> tuple[FaultScope, str]:
    """Return the widest fault there is, and a sentence about it."""
    if self_test.suspect_until_s is not None:
        return FaultScope.SELF, self_test.detail
    bad_tunnels = [view.id for view in tunnels.values() if view.health is Health.UNHEALTHY]
    if tunnels and len(bad_tunnels) == len(tunnels):
        return FaultScope.POP, f"0 of {len(tunnels)} tunnels usable"
    bad_regions = [view.name for view in regions.values() if view.health is Health.UNHEALTHY]
    if bad_regions:
        return FaultScope.REGION, "not usable: " + ", ".join(bad_regions)
    if bad_tunnels:
        return FaultScope.TUNNEL, "down: " + ", ".join(bad_tunnels)
    bad_backends = [view.id for view in backends.values() if view.health is Health.UNHEALTHY]
    if bad_backends:
        return FaultScope.BACKEND, "down: " + ", ".join(bad_backends)
    blind = [view.id for view in tunnels.values() if view.health is Health.UNKNOWN]
    if blind:
        return FaultScope.SELF, "cannot check: " + ", ".join(blind)
    poor = [view.id for view in tunnels.values() if view.health is Health.DEGRADED]
    if poor:
        return FaultScope.TUNNEL, "degraded: " + ", ".join(poor)
    return FaultScope.NONE, ""
