"""The phases of a drain, one step at a time. Pure; a phase never goes back but for a setback of a neighbor's drain.

A POP or neighbor: DEPREF -> GSHUT -> (quiet, or the time limit) -> WITHDRAW -> LINGER -> DRAINED. A region, tunnel or
backend: DRAINING -> (quiet, or the time limit) -> DRAINED. How far a prefix follows is for the rules to say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from anycastd.model.decision import Level
from anycastd.model.operator import Drain, DrainPhase, DrainScope
from anycastd.model.topology import OperatorConfig

LEVELS = {DrainPhase.DEPREF: Level.DEPREF, DrainPhase.GSHUT: Level.GSHUT}
MAX_DOUBLINGS = 6


def level_of_phase(phase: DrainPhase) -> Level:
    """Return what may be announced at most in a phase of a POP's or neighbor's drain."""
    return LEVELS.get(phase, Level.WITHDRAWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is seen of one drain. `carried` is traffic or connections, None = not measured.

    `may_leave`: a prefix may go further than DEPREF; `followed`: what may go has gone as far as the phase says, and
    it was acknowledged; `set_back`: a prefix that had left had to come back; `linger_s` of the slowest prefix.
    """

    is_quiet: bool | None = None
    may_leave: bool = True
    followed: bool = True
    set_back: bool = False
    linger_s: float = 0.0


def is_quiet(rate_bps: float | None, baseline_bps: float | None, pace: OperatorConfig) -> bool | None:
    """Return whether traffic has gone; None = it is not measured."""
    if rate_bps is None:
        return None
    return rate_bps <= max((baseline_bps or 0.0) * pace.quiet_percent / 100.0, float(pace.quiet_bps))


def advance(drain: Drain, seen: Seen, quiet_since_s: float | None, pace: OperatorConfig, now_s: float) -> Drain:
    """Return the drain in its next phase, or itself. `quiet_since_s`: since when it is quiet without a break."""
    phase = drain.phase
    in_phase_s = now_s - drain.phase_since_s
    quiet = quiet_since_s is not None and now_s - quiet_since_s >= pace.quiet_for_s
    if phase is DrainPhase.DRAINED and not drain.scope.is_announced:
        return drain
    if seen.set_back and phase is not DrainPhase.DEPREF:
        return _to(replace(drain, setbacks=drain.setbacks + 1), DrainPhase.DEPREF, now_s)
    if phase is DrainPhase.DEPREF:
        goes = seen.may_leave and seen.followed and in_phase_s >= depref_s(drain, pace)
        return _to(drain, DrainPhase.GSHUT, now_s) if goes else drain
    if phase is DrainPhase.GSHUT:
        goes = seen.followed and (quiet or in_phase_s >= pace.wait_at_most_s)
        return _to(drain, DrainPhase.WITHDRAW, now_s) if goes else drain
    if phase is DrainPhase.WITHDRAW:
        return _to(drain, DrainPhase.LINGER, now_s) if seen.followed else drain
    if phase is DrainPhase.LINGER:
        # another neighbor's packets go on anyway: only a POP that left has to carry the last ones
        over = drain.scope is DrainScope.NEIGHBOR or in_phase_s >= seen.linger_s
        return _to(drain, DrainPhase.DRAINED, now_s) if over else drain
    if phase is DrainPhase.DRAINING:
        return _to(drain, DrainPhase.DRAINED, now_s) if quiet or in_phase_s >= pace.wait_at_most_s else drain
    return drain


def depref_s(drain: Drain, pace: OperatorConfig) -> float:
    """Return how long the drain stays at DEPREF: twice as long after each setback, against flapping."""
    doubled: float = pace.depref_s * 2.0 ** min(drain.setbacks, MAX_DOUBLINGS)
    return doubled


def next_step_s(drain: Drain, pace: OperatorConfig) -> float | None:
    """Return when the phase ends at the latest, as far as time decides it."""
    if drain.phase is DrainPhase.DEPREF:
        return drain.phase_since_s + depref_s(drain, pace)
    if drain.phase in (DrainPhase.GSHUT, DrainPhase.DRAINING):
        return drain.phase_since_s + pace.wait_at_most_s
    return None


def _to(drain: Drain, phase: DrainPhase, now_s: float) -> Drain:
    return replace(drain, phase=phase, phase_since_s=now_s)
