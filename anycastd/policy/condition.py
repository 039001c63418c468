"""`announce_when`: is enough usable? Three-valued, because what we cannot see is neither up nor down."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from anycastd.health.assess import is_cut_off
from anycastd.model.address import Family, Prefix, RegionName, family_of
from anycastd.model.decision import Truth
from anycastd.model.health import Health, HealthView
from anycastd.model.topology import Condition, Config, Scope, Tunnel

_BEST_FIRST = (Health.HEALTHY, Health.DEGRADED, Health.INITIAL, Health.UNKNOWN, Health.UNHEALTHY)


class Value(NamedTuple):
    """What a condition comes to.

    `detail` is a sentence saying what it was made from; `first`: first verdicts are awaited; `well`: its value if
    what is DEGRADED did not count.
    """

    truth: Truth
    detail: str = ""
    first: bool = False
    well: Truth = Truth.UNKNOWN


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
    if not whole.is_usable or not ways:
        return whole
    best = next(state for state in _BEST_FIRST if state in ways)
    return whole if best is Health.HEALTHY else best


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


def evaluate(config: Config, prefix: Prefix, condition: Condition, health: HealthView) -> Value:
    """Return what the condition comes to. What is DEGRADED is usable.

    A backend that no healthy tunnel reaches is UNKNOWN, so a condition over backends would never become false when
    all tunnels die; with every tunnel that leads to it UNHEALTHY the backend counts as not usable here.
    """
    states = _states(config, condition, family_of(prefix), health)
    need = condition.need.of(len(states))
    first = any(state is Health.INITIAL for state in states.values())
    strict = [Health.UNHEALTHY if state is Health.DEGRADED else state for state in states.values()]
    truth, well = _enough(states.values(), need), _enough(strict, need)
    return Value(truth, _sentence(states, condition, truth), first, well)


def _enough(states: Collection[Health], need: int) -> Truth:
    if sum(state.is_usable for state in states) >= need:
        return Truth.TRUE
    possible = sum(state is not Health.UNHEALTHY for state in states)
    return Truth.FALSE if possible < need else Truth.UNKNOWN


def _sentence(states: Mapping[str, Health], condition: Condition, truth: Truth) -> str:
    what = condition.scope.value
    usable = [name for name, state in states.items() if state.is_usable]
    if truth is Truth.TRUE:
        named = (f"{name} (degraded)" if states[name] is Health.DEGRADED else name for name in usable)
        return f"{what} usable: {', '.join(named)}"
    if truth is Truth.FALSE:
        unusable = [name for name, state in states.items() if state is Health.UNHEALTHY]
        wanted = f"{len(usable)} of {len(states)} {what} usable, {condition.need} wanted"
        return f"{wanted}; not usable: {', '.join(unusable)}" if unusable else wanted
    unclear = [name for name, state in states.items() if not state.is_verdict]
    return f"cannot tell yet of {what}: {', '.join(unclear)}"
