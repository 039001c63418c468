"""What a rule is given and hands on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from anycastd.model.absorb import AbsorbHolds
from anycastd.model.address import NeighborName
from anycastd.model.decision import Level, Memory, NeighborLevel, Reason, Step, Truth
from anycastd.model.fleet import Others
from anycastd.model.spread import Extra
from anycastd.model.topology import PrefixSpec, WhenDegraded


@dataclass(frozen=True, slots=True)
class Order:
    """What an operator ordered for a prefix: the level, whether past the guard, and the words that explain it."""

    level: Level
    forced: bool
    detail: str


@dataclass(frozen=True, slots=True)
class NeighborDrain:
    """A drain of one neighbor that carries the prefix.

    `level` is what the phase of the drain allows, `standing` what the neighbor is sent now. `others`: whether another
    established neighbor, not drained, is sent the prefix; `settled_at_s` is when one of them will have been
    established long enough.
    """

    neighbor: NeighborName
    level: Level
    forced: bool
    detail: str
    standing: Level
    others: Truth
    settled_at_s: float | None = None
    reason: Reason = Reason.DRAINING
    """STANDBY: it is silent because nobody calls on it; SPREADING: a step of a playbook."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that a decision on one prefix may know.

    `condition` is announce_when's value, `well` its value without what is degraded; `first_checks`: verdicts are
    awaited for the first time; `data_plane_ready`: its routes were read back from the kernel (I5); `blackhole_ready`:
    the blackhole at least; `bgp_observed`: we know what ExaBGP holds. `override`, `drain`, `neighbor_drains` and
    `frozen` (why; empty = not) are operators' orders. `withdrawals_left`: how many prefixes the circuit breaker still
    lets go (None: any number), with `breaker_detail` in words. `fleet`: what is seen of the other POPs
    (`fleet.standing.View.others`); None: there is neither observer nor store, and nobody can be asked. `attack`: why an
    attack is on, of the POP or within the prefix; empty = none. `absorb`: what is held then; None = nothing. `room`:
    whether the other POPs can carry what health would move to them, as far as that is known.
    `token_missing`: why this POP has no leave of the fleet's store to withdraw it for its health (S3); empty = it has,
    or needs none.
    """

    now_s: float
    spec: PrefixSpec
    condition: Truth
    well: Truth = Truth.TRUE
    detail: str = ""
    first_checks: bool = False
    data_plane_ready: bool = True
    blackhole_ready: bool = True
    bgp_observed: bool = True
    checker_suspect: bool = False
    suspect_detail: str = ""
    stopping: bool = False
    override: Order | None = None
    drain: Order | None = None
    neighbor_drains: tuple[NeighborDrain, ...] = ()
    frozen: str = ""
    withdrawals_left: int | None = None
    breaker_detail: str = ""
    fleet: Others | None = None
    attack: str = ""
    absorb: AbsorbHolds | None = field(default_factory=AbsorbHolds)
    room: Truth = Truth.UNKNOWN
    room_detail: str = ""
    standby: Order | None = None
    """This POP is a standby for the prefix: the level up to which it is called on. None: it is none."""
    extras: tuple[Extra, ...] = ()
    """What playbooks' steps add to routes."""
    spread_detail: str = ""
    token_missing: str = ""

    @property
    def is_poor(self) -> bool:
        """Return whether only what is degraded keeps the condition true, and the prefix is to be depreferenced then."""
        return (
            self.condition is Truth.TRUE and self.well is Truth.FALSE and self.spec.when_degraded is WhenDegraded.DEPREF
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The decision so far. A rule leaves a Step only when it has something to say.

    `waits_at` is the level at which what wants to be withdrawn waits; down to `forced_to` the guard lets everything
    through, because an operator forced it. `return_step`: the step of the return that is to be taken, or kept.
    """

    level: Level
    wanted: Level
    reason: Reason
    hold: Reason | None = None
    detail: str = ""
    trail: tuple[Step, ...] = ()
    wake_at_s: float | None = None
    would_change: tuple[str, ...] = ()
    waits_at: Level = Level.DEPREF
    forced_to: Level = Level.NORMAL
    drained: tuple[NeighborLevel, ...] = ()
    return_step: int | None = None
    intends: bool = False
    extras: tuple[Extra, ...] = ()

    def say(self, rule: str, reason: Reason, level: Level, evidence: str = "") -> Draft:
        """Return the draft at `level` for `reason`, with the step recorded; a reason that holds becomes the hold."""
        step = Step(rule, reason, self.level, level, evidence)
        hold = reason if reason.holds else self.hold
        return replace(self, level=level, hold=hold, trail=(*self.trail, step))

    def wake(self, at_s: float) -> Draft:
        """Return the draft, to be looked at again no later than `at_s`."""
        return replace(self, wake_at_s=at_s if self.wake_at_s is None else min(self.wake_at_s, at_s))

    def hint(self, sentence: str) -> Draft:
        """Return the draft with one more sentence on what would change it."""
        return replace(self, would_change=(*self.would_change, sentence))


Rule = Callable[[Facts, Memory, Draft], Draft]
