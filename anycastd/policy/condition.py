"""`announce_when`: is enough usable? Three-valued, because what we cannot see is neither up nor down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from anycastd.health.assess import member_health
from anycastd.health.rules import Leaf, Value, value_of
from anycastd.model.address import CheckId, Family, Prefix, RegionName, TunnelId, family_of
from anycastd.model.decision import Truth
from anycastd.model.health import CheckState, Health, HealthReason, HealthView
from anycastd.model.topology import AtLeast, Condition, Config, Group, Member, MemberKind, Rule, Scope, Tunnel

_BEST_FIRST = (Health.HEALTHY, Health.DEGRADED, Health.INITIAL, Health.UNKNOWN, Health.UNHEALTHY)


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


def counted(config: Config, rule: Rule, family: Family) -> tuple[RegionName, ...]:
    """Return the regions a rule looks at: those named (or all) that a tunnel of the family reaches."""
    named = _regions(rule) or set(config.regions)
    # in the order in which a single condition names them, else in that of the file
    order = rule.regions if isinstance(rule, Condition) and rule.regions else tuple(config.regions)
    return tuple(
        name
        for name in order
        if name in named and any(carries(config.tunnels[id_], family) for id_ in config.regions[name].tunnels)
    )


def _regions(rule: Rule) -> set[RegionName]:
    """Return the regions that a rule names; none stands for all of them."""
    if isinstance(rule, AtLeast):
        parts = [_regions(part) for part in rule.parts]
        # one that looks at all of them makes it all of them
        return set().union(*parts) if all(parts) else set()
    if isinstance(rule, Condition):
        return set(rule.regions)
    return {name for member in rule.members if (name := region_of(member)) is not None}


def region_of(member: Member) -> RegionName | None:
    """Return the region of what a rule names; None for a check of the self-test."""
    if member.kind is MemberKind.CHECK:
        target, _, rest = member.id.partition("/")
        return None if target == "self" else RegionName(rest.partition("/")[0])
    return RegionName(member.id.partition("/")[0])


def region_health(config: Config, name: RegionName, family: Family, health: HealthView) -> Health:
    """Return whether a region is usable for a family: the region is, and a tunnel that carries the family is up."""
    whole = health.regions[name].health
    tunnels = config.regions[name].tunnels
    ways = [health.tunnels[id_].health for id_ in tunnels if carries(config.tunnels[id_], family)]
    if not whole.is_usable or not ways:
        return whole
    best = next(state for state in _BEST_FIRST if state in ways)
    return whole if best is Health.HEALTHY else best


def _counts(config: Config, member: Member, family: Family) -> bool:
    """Return whether a member of a group says anything of a family."""
    if member.kind is MemberKind.TUNNEL:
        return carries(config.tunnels[TunnelId(member.id)], family)
    if member.kind is MemberKind.REGION:
        return reaches(config, RegionName(member.id), 4 if family is Family.IPV4_UNICAST else 6)
    return True


def evaluate(
    config: Config, prefix: Prefix, rule: Rule, health: HealthView, checks: Mapping[CheckId, CheckState] | None = None
) -> Value:
    """Return what an `announce_when` comes to for a prefix.

    A backend that no healthy tunnel reaches is UNKNOWN, so a condition over backends would never become false when
    all tunnels die; with every tunnel that leads to it UNHEALTHY the backend counts as not usable here.
    """
    family = family_of(prefix)

    def state(member: Member) -> Health:
        if member.kind is MemberKind.REGION:
            return region_health(config, RegionName(member.id), family, health)
        return member_health(member, health.tunnels, health.backends, checks or {})

    def look(leaf: Leaf) -> Mapping[str, Health]:
        if isinstance(leaf, Condition):
            return {member.id: state(member) for member in _counted_members(config, leaf, family)}
        if isinstance(leaf, Group):
            return {member.id: state(member) for member in leaf.members if _counts(config, member, family)}
        return {leaf.id: state(leaf)}

    value = value_of(rule, look)
    drained = _drained(health) if value.truth is Truth.FALSE else ()
    return value._replace(detail=f"{value.detail} (drained: {', '.join(drained)})") if drained else value


def _drained(health: HealthView) -> list[str]:
    """Return what an operator drained: that is no fault, and must not be looked for as one."""
    regions = [str(view.name) for view in health.regions.values() if view.reason is HealthReason.DRAINED]
    tunnels = [
        str(t.id) for t in health.tunnels.values() if t.reason is HealthReason.DRAINED and t.region not in regions
    ]
    backends = [
        str(b.id) for b in health.backends.values() if b.reason is HealthReason.DRAINED and b.region not in regions
    ]
    return [*regions, *tunnels, *backends]


def _counted_members(config: Config, condition: Condition, family: Family) -> Iterator[Member]:
    for name in counted(config, condition, family):
        region = config.regions[name]
        if condition.scope is Scope.REGIONS:
            yield Member(MemberKind.REGION, name)
        elif condition.scope is Scope.TUNNELS:
            yield from (
                Member(MemberKind.TUNNEL, id_) for id_ in region.tunnels if carries(config.tunnels[id_], family)
            )
        else:
            yield from (Member(MemberKind.BACKEND, id_) for id_ in region.backends)
