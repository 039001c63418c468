"""`announce_when`: is enough usable? Three-valued, because what we cannot see is neither up nor down."""

from __future__ import annotations

from collections.abc import Mapping

from anycastd.model.address import Family, Prefix, RegionName, family_of
from anycastd.model.decision import Truth
from anycastd.model.health import Health, HealthView
from anycastd.model.topology import Condition, Config, Scope, Tunnel


def carries(tunnel: Tunnel, family: Family) -> bool:
    """Return whether the tunnel has the pair of addresses that a route of this family needs."""
    pair = (
        (tunnel.local_ipv4, tunnel.far_end_ipv4)
        if family is Family.IPV4_UNICAST
        else (tunnel.local_ipv6, tunnel.far_end_ipv6)
    )
    return None not in pair


def counted(config: Config, condition: Condition, family: Family) -> tuple[RegionName, ...]:
    """Return the regions a condition counts: those named (or all) that a tunnel of the family reaches."""
    names = condition.regions or tuple(config.regions)
    return tuple(
        name for name in names if any(carries(config.tunnels[id_], family) for id_ in config.regions[name].tunnels)
    )


def _states(config: Config, condition: Condition, family: Family, health: HealthView) -> Mapping[str, Health]:
    regions = counted(config, condition, family)
    if condition.scope is Scope.REGIONS:
        return {name: health.regions[name].health for name in regions}
    if condition.scope is Scope.TUNNELS:
        return {
            id_: health.tunnels[id_].health
            for name in regions
            for id_ in config.regions[name].tunnels
            if carries(config.tunnels[id_], family)
        }
    return {id_: health.backends[id_].health for name in regions for id_ in config.regions[name].backends}


def evaluate(config: Config, prefix: Prefix, condition: Condition, health: HealthView) -> tuple[Truth, str, bool]:
    """Return the condition's value, a sentence saying what it was made from, and whether first verdicts are awaited.

    A backend that no healthy tunnel reaches is UNKNOWN, so a condition over backends would never become false when
    all tunnels die; with all tunnels of its region UNHEALTHY the backend counts as not usable here.
    """
    states = dict(_states(config, condition, family_of(prefix), health))
    if condition.scope is Scope.BACKENDS:
        for id_, state in states.items():
            region = health.backends[next(b for b in config.backends if b == id_)].region
            if state is Health.UNKNOWN and health.regions[region].health is Health.UNHEALTHY:
                states[id_] = Health.UNHEALTHY
    usable = [name for name, state in states.items() if state is Health.HEALTHY]
    unusable = [name for name, state in states.items() if state is Health.UNHEALTHY]
    need = condition.need.of(len(states))
    first = any(state is Health.INITIAL for state in states.values())
    what = condition.scope.value
    if len(usable) >= need:
        return Truth.TRUE, f"{what} usable: {', '.join(usable)}", first
    if len(states) - len(unusable) < need:
        wanted = f"{len(usable)} of {len(states)} {what} usable, {condition.need} wanted"
        return Truth.FALSE, f"{wanted}; not usable: {', '.join(unusable)}" if unusable else wanted, first
    unclear = [name for name, state in states.items() if not state.is_verdict]
    return Truth.UNKNOWN, f"cannot tell yet of {what}: {', '.join(unclear)}", first
