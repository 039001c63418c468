"""What was decided for each prefix, the rules that spoke, and the memory that the next decision needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from anycastd.model.address import NeighborName, Prefix, RegionName, TunnelId
from anycastd.model.spread import Extra


class Level(IntEnum):
    """How much a prefix is announced, least first, so that `min` is the milder claim."""

    WITHDRAWN = 0
    GSHUT = 1
    DEPREF = 2
    NORMAL = 3


class PrefixState(StrEnum):
    """The state of a prefix as the API names it."""

    PENDING = "PENDING"
    ANNOUNCED = "ANNOUNCED"
    WITHDRAWING = "WITHDRAWING"
    WITHDRAWN = "WITHDRAWN"
    FAILED = "FAILED"


class Truth(StrEnum):
    """The value of a condition when some of what it counts is unknown."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"


class Reason(StrEnum):
    """Why a prefix is announced as it is, and why a wanted change is held. The log field, metric label and heading."""

    # what health says
    SERVING = "serving"
    UNABLE_TO_SERVE = "unable_to_serve"
    DEGRADED = "degraded"
    HEALTH_UNKNOWN = "health_unknown"
    FIRST_CHECKS = "first_checks"
    # what holds a change back
    DATA_PLANE_NOT_READY = "data_plane_not_ready"
    OBSERVATION_MISSING = "observation_missing"
    SLOW_START = "slow_start"
    CHANGE_BUDGET = "change_budget"
    SETTLING = "settling"
    CHECKER_SUSPECT = "checker_suspect"
    STATIC_GUARD = "static_guard"
    NOT_ENOUGH_ANNOUNCERS = "not_enough_announcers"
    OBSERVERS_BLIND = "observers_blind"
    DRAIN_QUEUED = "drain_queued"
    GSHUT_WAIT = "gshut_wait"
    BOOT_FAIL_OPEN = "boot_fail_open"
    CIRCUIT_BREAKER = "circuit_breaker"
    UNDER_ATTACK = "under_attack"
    FLEET_TOKEN = "fleet_token"
    ONLY_NEIGHBOR = "only_neighbor"
    FROZEN = "frozen"
    # what spreads load
    STANDBY = "standby"
    CALLED_ON = "called_on"
    SPREADING = "spreading"
    # what an operator ordered
    DRAINING = "draining"
    OVERRIDDEN = "overridden"
    # what lets a withdrawal through
    OTHERS_CONFIRMED = "others_confirmed"
    LAST_RESORT_WITHDRAW = "last_resort_withdraw"
    STOPPING = "stopping"
    FORCED = "forced"

    @property
    def holds(self) -> bool:
        """Return whether this reason keeps a wanted change from being made."""
        return self in _HOLDS

    @property
    def is_guard(self) -> bool:
        """Return whether it keeps a prefix on the air because nobody else is known to announce it (I1)."""
        return self in _GUARDS

    @property
    def is_ordered(self) -> bool:
        """Return whether somebody asked for it: it says nothing against the prefix, and is no passing fault."""
        return self in (Reason.DRAINING, Reason.OVERRIDDEN, Reason.STOPPING, Reason.STANDBY)


_HOLDS = frozenset(
    {
        Reason.HEALTH_UNKNOWN,
        Reason.FIRST_CHECKS,
        Reason.DATA_PLANE_NOT_READY,
        Reason.OBSERVATION_MISSING,
        Reason.SLOW_START,
        Reason.CHANGE_BUDGET,
        Reason.SETTLING,
        Reason.CHECKER_SUSPECT,
        Reason.STATIC_GUARD,
        Reason.NOT_ENOUGH_ANNOUNCERS,
        Reason.OBSERVERS_BLIND,
        Reason.DRAIN_QUEUED,
        Reason.GSHUT_WAIT,
        Reason.BOOT_FAIL_OPEN,
        Reason.CIRCUIT_BREAKER,
        Reason.UNDER_ATTACK,
        Reason.FLEET_TOKEN,
        Reason.ONLY_NEIGHBOR,
        Reason.FROZEN,
    }
)

_GUARDS = frozenset(
    {
        Reason.STATIC_GUARD,
        Reason.NOT_ENOUGH_ANNOUNCERS,
        Reason.OBSERVERS_BLIND,
        Reason.DRAIN_QUEUED,
        Reason.BOOT_FAIL_OPEN,
    }
)


@dataclass(frozen=True, slots=True)
class Step:
    """What one rule said: the level it was given, the level it passed on, and why."""

    rule: str
    reason: Reason
    before: Level
    after: Level
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Penalty:
    """RFC 2439 figure of merit of one prefix at one neighbor, at `at_s`, in the two readings that routers use.

    `plain` counts a re-advertisement 0 (FRR, Cisco), `strict` counts it 1000 (some others).
    """

    plain: float = 0.0
    strict: float = 0.0
    at_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Memory:
    """What a prefix's next decision must know of the past. Times are monotonic seconds.

    `level` is what was last decided; `level_since_s` when. `bad_since_s` / `fine_since_s` are set while the condition
    is steadily false / true. `relapses` counts failures within the back-off window; `penalty` is the I7 budget.
    `was_lost`: it was announced and vanished with ExaBGP or the machine, by nobody's decision. `held_by_breaker`: the
    circuit breaker kept it on the air, so that a restart does not let it go. `epoch` counts entries into DEPREF, and
    intents to drain (`intends`): what others confirm is of one of them. `confirmed_since_s`: since when enough of them
    confirm the present one. `return_step`: how many steps of the return between DEPREF and NORMAL were taken, the last
    at `step_since_s`. `attacked_since_s`: an attack is on since then, or was and ended at `calm_since_s`: then health's
    word does not count yet.
    """

    level: Level = Level.WITHDRAWN
    level_since_s: float = 0.0
    was_announced: bool = False
    was_lost: bool = False
    bad_since_s: float | None = None
    fine_since_s: float | None = None
    relapses: int = 0
    last_relapse_s: float | None = None
    epoch: int = 0
    penalty: Penalty = field(default_factory=Penalty)
    held_by_breaker: bool = False
    intends: bool = False
    confirmed_since_s: float | None = None
    return_step: int = 0
    step_since_s: float = 0.0
    attacked_since_s: float | None = None
    calm_since_s: float | None = None
    spread: str = ""
    """What of playbooks' steps is in force at NORMAL, in words that differ when it does: a change costs (I7)."""


@dataclass(frozen=True, slots=True)
class NeighborLevel:
    """A neighbor that is told less of a prefix than the others: at most `level`; `hold` is why it is not less yet."""

    neighbor: NeighborName
    level: Level
    hold: Reason | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict for one prefix: `wanted` is what health alone would do, `level` what is done, `hold` what parts them.

    `wake_at_s` is when to decide again even if nothing happens. `would_change` are sentences for people.
    """

    prefix: Prefix
    level: Level
    wanted: Level
    reason: Reason
    hold: Reason | None
    since_s: float
    trail: tuple[Step, ...]
    wake_at_s: float | None = None
    condition: Truth = Truth.UNKNOWN
    detail: str = ""
    would_change: tuple[str, ...] = ()
    drained: tuple[NeighborLevel, ...] = ()
    """Neighbors that are told less."""
    intends: bool = False
    """It is to be drained, and this is said to the other POPs before anything is done."""
    prepend: int | None = None
    """At DEPREF, how often our AS is added in a step of the return; None: as `depref_prepend` says."""
    extras: tuple[Extra, ...] = ()
    """What neighbors are sent besides, while playbooks' steps are in force."""

    @property
    def gist(self) -> tuple[object, ...]:
        """Return what makes a decision another one, and not the same in other words."""
        return self.level, self.reason, self.hold, self.drained, self.intends, self.prepend, self.extras

    def level_at(self, neighbor: NeighborName) -> Level:
        """Return the level at which a neighbor is told of the prefix."""
        return min((self.level, *(one.level for one in self.drained if one.neighbor == neighbor)))


@dataclass(frozen=True, slots=True)
class PathChoice:
    """Which tunnel carries a prefix's packets, and why this one."""

    prefix: Prefix
    tunnel: TunnelId | None
    reason: str
    since_s: float = 0.0


@dataclass(frozen=True, slots=True)
class TunnelOrder:
    """The tunnels of a region that carry a family (`version` 4 or 6), best first: the region's routing table.

    Usable ones first, the others behind them (fail open). `since_s` is when the first one became the first.
    """

    region: RegionName
    version: int
    tunnels: tuple[TunnelId, ...]
    reason: str
    since_s: float = 0.0
    drained: tuple[TunnelId, ...] = ()
    """Those that an operator drained."""

    @property
    def best(self) -> TunnelId | None:
        """Return the tunnel that carries packets now."""
        return self.tunnels[0] if self.tunnels else None


@dataclass(frozen=True, slots=True)
class NeighborFacts:
    """What policy may know of a session: whether it is established."""

    name: NeighborName
    established: bool
