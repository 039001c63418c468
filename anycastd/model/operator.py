"""What an operator ordered by hand: drains, overrides and the freeze. They outrank health, and end by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from anycastd.model.address import BackendId, NeighborName, Prefix, RegionName, TunnelId
from anycastd.model.decision import Level
from anycastd.model.health import Health, HealthReason
from anycastd.model.topology import Config


class DrainScope(StrEnum):
    """What is drained."""

    POP = "pop"
    NEIGHBOR = "neighbor"
    REGION = "region"
    TUNNEL = "tunnel"
    BACKEND = "backend"

    @property
    def is_announced(self) -> bool:
        """Return whether the drain changes announcements; the others only send new connections elsewhere."""
        return self in (DrainScope.POP, DrainScope.NEIGHBOR)


class DrainPhase(StrEnum):
    """How far a drain is. DEPREF to LINGER are those of a POP or neighbor, DRAINING is that of everything else."""

    DEPREF = "DEPREF"
    GSHUT = "GSHUT"
    WITHDRAW = "WITHDRAW"
    LINGER = "LINGER"
    DRAINING = "DRAINING"
    DRAINED = "DRAINED"


class After(StrEnum):
    """What becomes of connections that are left when a region, tunnel or backend is drained."""

    KEEP = "keep"
    RESET = "reset"


class OverrideKind(StrEnum):
    """What is forced: the level of a prefix, or the health of a tunnel or backend."""

    PREFIX = "prefix"
    TUNNEL = "tunnel"
    BACKEND = "backend"


class State(StrEnum):
    """What an override says of a tunnel or backend."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """One drain. Times are monotonic seconds; `expires_s` None = it stays until it is undone.

    `name` is empty for the POP. `forced`: past the guards, as the operator asked. `baseline_bps` is the traffic when
    it began, None = not measured. `setbacks` counts how often the phases had to begin anew.
    """

    id: str
    scope: DrainScope
    name: str = ""
    owner: str
    reason: str
    forced: bool = False
    after: After = After.KEEP
    began_s: float
    expires_s: float | None = None
    phase: DrainPhase = DrainPhase.DEPREF
    phase_since_s: float
    baseline_bps: float | None = None
    setbacks: int = 0

    @property
    def what(self) -> str:
        """Return what is drained, in words."""
        return self.scope.value if self.scope is DrainScope.POP else f"{self.scope.value} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One thing forced by hand; `level` of a prefix, `state` of a tunnel or backend."""

    id: str
    kind: OverrideKind
    name: str
    level: Level | None = None
    state: State | None = None
    owner: str
    reason: str
    forced: bool = False
    began_s: float
    expires_s: float | None = None

    @property
    def what(self) -> str:
        """Return what is forced, in words."""
        to = self.level.name if self.level is not None else self.state.value if self.state else ""
        return f"{self.kind.value} {self.name} -> {to}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """Nothing that is announced changes; `eips`: nor do operators change EIPs, dials, drains and overrides."""

    owner: str = ""
    reason: str = ""
    since_s: float = 0.0
    expires_s: float | None = None
    eips: bool = False

    @property
    def words(self) -> str:
        """Return who froze and why."""
        return f"{self.reason or 'no reason given'} ({self.owner or 'nobody named'})"


@dataclass(frozen=True, slots=True)
class Interventions:
    """Everything that operators ordered, at one moment. `unread` says why the file of orders could not be read."""

    drains: tuple[Drain, ...] = ()
    overrides: tuple[Override, ...] = ()
    freeze: Freeze | None = None
    unread: str = ""

    @property
    def hold(self) -> str:
        """Return why no announcement may change, in words; empty = it may.

        Orders that cannot be read hold too: a drained POP must not come back because of a broken file.
        """
        if self.freeze is not None:
            return self.freeze.words
        return self.unread

    @property
    def eips_hold(self) -> str:
        """Return why the API may change nothing of EIPs, dials, drains and overrides; empty = it may."""
        frozen = self.freeze is not None and self.freeze.eips
        return f"frozen, EIPs too: {self.hold}; anycastd unfreeze first" if frozen else ""

    def of(self, scope: DrainScope) -> tuple[Drain, ...]:
        """Return the drains of a scope."""
        return tuple(drain for drain in self.drains if drain.scope is scope)

    @property
    def pop(self) -> Drain | None:
        """Return the drain of the POP."""
        return next(iter(self.of(DrainScope.POP)), None)

    @property
    def neighbors(self) -> Mapping[NeighborName, Drain]:
        """Return the drains of neighbors."""
        return {NeighborName(drain.name): drain for drain in self.of(DrainScope.NEIGHBOR)}

    def prefix(self, prefix: Prefix) -> Override | None:
        """Return the override of a prefix."""
        name = str(prefix)
        return next((o for o in self.overrides if o.kind is OverrideKind.PREFIX and o.name == name), None)

    @property
    def drained(self) -> Drained:
        """Return what new connections are to avoid."""
        return Drained(
            frozenset(RegionName(drain.name) for drain in self.of(DrainScope.REGION)),
            frozenset(TunnelId(drain.name) for drain in self.of(DrainScope.TUNNEL)),
            frozenset(BackendId(drain.name) for drain in self.of(DrainScope.BACKEND)),
        )

    @property
    def forced(self) -> Forced:
        """Return the health that is forced by hand."""
        return Forced(
            {TunnelId(o.name): _believed(o) for o in self.overrides if o.kind is OverrideKind.TUNNEL},
            {BackendId(o.name): _believed(o) for o in self.overrides if o.kind is OverrideKind.BACKEND},
        )


Believed = tuple[Health, HealthReason]


def _believed(override: Override) -> Believed:
    return (Health.HEALTHY if override.state is State.UP else Health.UNHEALTHY), HealthReason.OVERRIDDEN


@dataclass(frozen=True, slots=True)
class Drained:
    """The regions, tunnels and backends that are drained."""

    regions: frozenset[RegionName] = frozenset()
    tunnels: frozenset[TunnelId] = frozenset()
    backends: frozenset[BackendId] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.regions or self.tunnels or self.backends)

    def within(self, config: Config) -> Drained:
        """Return these with everything that is in drained regions."""
        regions = [config.regions[name] for name in self.regions if name in config.regions]
        return Drained(
            self.regions,
            self.tunnels.union(*(region.tunnels for region in regions)),
            self.backends.union(*(region.backends for region in regions)),
        )


@dataclass(frozen=True, slots=True)
class Forced:
    """What is believed whatever the checks say, with the reason."""

    tunnels: Mapping[TunnelId, Believed] = field(default_factory=dict)
    backends: Mapping[BackendId, Believed] = field(default_factory=dict)
    regions: Mapping[RegionName, Believed] = field(default_factory=dict)

    def with_drained(self, drained: Drained) -> Forced:
        """Return what conditions must believe: what is drained is no use, whatever its checks say."""
        no_use = (Health.UNHEALTHY, HealthReason.DRAINED)
        return Forced(
            {**self.tunnels, **dict.fromkeys(drained.tunnels, no_use)},
            {**self.backends, **dict.fromkeys(drained.backends, no_use)},
            {**self.regions, **dict.fromkeys(drained.regions, no_use)},
        )


@dataclass(frozen=True, slots=True)
class Carried:
    """What a drained thing still carries: bits a second and connections, None = not measured; `quiet_since_s`.

    `busier_bps`: of a POP, the rate of the busier direction: what others would have to carry.
    """

    rate_bps: float | None = None
    connections: int | None = None
    quiet_since_s: float | None = None
    busier_bps: float | None = None
