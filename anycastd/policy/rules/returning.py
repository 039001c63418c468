"""The way up: slow, and within the budget (I7)."""

from __future__ import annotations

from anycastd.model.decision import Level, Memory, Reason
from anycastd.model.topology import PrefixTimers
from anycastd.policy.budget import return_fits_in_s
from anycastd.policy.draft import Draft, Facts

MAX_DOUBLINGS = 40


def return_hold_s(timers: PrefixTimers, memory: Memory) -> float:
    """Return how long a prefix must be fine before it is NORMAL again; doubles with each relapse."""
    # capped, because 2.0 ** 1024 is an OverflowError and a line that flaps for a month gets there
    doublings = min(max(memory.relapses - 1, 0), MAX_DOUBLINGS)
    doubled: float = timers.return_after_s * 2.0**doublings
    return min(doubled, max(timers.return_max_s, timers.return_after_s))


def slow_start(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """A prefix that was announced before comes back depreferenced, and NORMAL after it has been fine long enough."""
    if draft.level is not Level.NORMAL or memory.level is Level.NORMAL or not memory.was_announced:
        return draft
    if draft.reason is Reason.OVERRIDDEN:
        return draft
    fine_since_s = memory.fine_since_s if memory.fine_since_s is not None else facts.now_s
    # a return from WITHDRAWN spends its whole time at DEPREF: routers must have seen it before it moves again
    begun_s = facts.now_s if memory.level is Level.WITHDRAWN else max(fine_since_s, memory.level_since_s)
    ready_s = begun_s + return_hold_s(facts.spec.timers, memory)
    if facts.now_s >= ready_s:
        return draft
    left = f"{ready_s - facts.now_s:.0f} s"
    draft = draft.wake(ready_s).hint(f"fine for another {left} -> NORMAL")
    return draft.say("slow_start", Reason.SLOW_START, Level.DEPREF, f"fine for {left} more before NORMAL")


def return_budget(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """DEPREF -> NORMAL waits until it, and a depreference after it, cannot make a neighbor suppress the prefix."""
    if draft.level is not Level.NORMAL or memory.level not in (Level.DEPREF, Level.GSHUT):
        return draft
    wait_s = return_fits_in_s(memory.penalty, facts.now_s, facts.spec.timers.half_life_s)
    if wait_s <= 0:
        return draft
    draft = draft.wake(facts.now_s + wait_s).hint(f"{wait_s:.0f} s without a change -> NORMAL")
    return draft.say("return_budget", Reason.CHANGE_BUDGET, Level.DEPREF, f"flap penalty; fits in {wait_s:.0f} s")
