"""`announce_when`: is enough usable? Three-valued, because what we cannot see is neither up nor down."""

from __future__ import annotations

from collections.abc import Mapping

from anycastd.health.assess import is_cut_off
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


def reaches(config: Config, region: RegionName, version: int) -> bool:
    """Return whether a tunnel of the region carries an IP version."""
    family = Family.IPV4_UNICAST if version == 4 else Family.IPV6_UNICAST
    return any(carries(config.tunnels[id_], family) for id_ in config.regions[region].tunnels)


def counted(config: Config, condition: Condition, family: Family) -> tuple[RegionName, ...]:
    """Return the regions a condition counts: those named (or all) that a tunnel of the family reaches."""
    names = condition.regions or tuple(config.regions)
    return tuple(
        name for name in names if any(carries(config.tunnels[id_], family) for id_ in config.regions[name].tunnels)
    )


def region_health(config: Config, name: RegionName, family: Family, health: HealthView) -> Health:
    """Return whether a region is usable for a family: the region is, and a tunnel that carries the family is up."""
    whole = health.regions[name].health
    tunnels = config.regions[name].tunnels
    ways = [health.tunnels[id_].health for id_ in tunnels if carries(config.tunnels[id_], family)]
    if whole is not Health.HEALTHY or not ways:
        return whole
    return next(state for state in (Health.HEALTHY, Health.INITIAL, Health.UNKNOWN, Health.UNHEALTHY) if state in ways)


def _states(config: Config, condition: Condition, family: Family, health: HealthView) -> Mapping[str, Health]:
    regions = counted(config, condition, family)
    if condition.scope is Scope.REGIONS:
        return {name: region_health(config, name, family, health) for name in regions}
    if condition.scope is Scope.TUNNELS:
        return {
            id_: health.tunnels[id_].health
            for name in regions
            for id_ in config.regions[name].tunnels
            if carries(config.tunnels[id_], family)
        }
    return {
        id_: Health.UNHEALTHY if is_cut_off(health.backends[id_], health.tunnels) else health.backends[id_].health
        for name in regions
        for id_ in config.regions[name].backends
    }


def evaluate(config: Config, prefix: Prefix, condition: Condition, health: HealthView) -> tuple[Truth, str, bool]:
    """Return the condition's value, a sentence saying what it was made from, and whether first verdicts are awaited.

    A backend that no healthy tunnel reaches is UNKNOWN, so a condition over backends would never become false when
    all tunnels die; with every tunnel that leads to it UNHEALTHY the backend counts as not usable here.
    """
    states = _states(config, condition, family_of(prefix), health)
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
