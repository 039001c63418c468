"""The way up: slow, and within the budget (I7)."""

from __future__ import annotations

from dataclasses import replace

from anycastd.model.decision import Level, Memory, Reason
from anycastd.model.topology import LastResort, PrefixTimers
from anycastd.policy.budget import return_fits_in_s
from anycastd.policy.draft import Draft, Facts
from anycastd.policy.guard import refusal, wanted
from anycastd.policy.rules.under_attack import fell_by_attack

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
    if draft.reason is Reason.OVERRIDDEN or fell_by_attack(facts, memory):
        return draft
    fine_since_s = memory.fine_since_s if memory.fine_since_s is not None else facts.now_s
    # a return from WITHDRAWN spends its whole time at DEPREF: routers must have seen it before it moves again
    begun_s = facts.now_s if memory.level is Level.WITHDRAWN else max(fine_since_s, memory.level_since_s)
    if facts.standby is not None:
        # it was away because nobody called, and its health was watched all the time
        begun_s = fine_since_s
    ready_s = begun_s + return_hold_s(facts.spec.timers, memory)
    if facts.now_s >= ready_s:
        return draft
    if (hurry_s := _hurry_s(facts, memory)) is not None:
        if facts.now_s >= hurry_s:
            return draft
        ready_s = min(ready_s, hurry_s)
    left = f"{ready_s - facts.now_s:.0f} s"
    draft = draft.wake(ready_s).hint(f"fine for another {left} -> NORMAL")
    return draft.say("slow_start", Reason.SLOW_START, Level.DEPREF, f"fine for {left} more before NORMAL")


def _hurry_s(facts: Facts, memory: Memory) -> float | None:
    """Return when it may be NORMAL because no other POP is; None: one is, or it cannot be told."""
    others = facts.fleet
    if others is None or others.normal or others.blind_since_s is not None:
        return None
    begun_s = facts.now_s if memory.level is Level.WITHDRAWN else memory.level_since_s
    return max(begun_s + facts.spec.timers.settle_s, others.sure_from_s)


def return_steps(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """DEPREF -> NORMAL by way of shorter prepends, one after another, each for `return_step_s` (S14, off by default).

    Each step is a change of attributes, so each asks the budget: it, and a depreference after it, must fit (I7).
    """
    prepends, taken = facts.spec.return_prepends, memory.return_step
    if draft.level is not Level.NORMAL or memory.level is not Level.DEPREF or draft.reason is Reason.OVERRIDDEN:
        return draft
    if fell_by_attack(facts, memory):
        return draft  # a depreference is taken back, it is no return
    if (hurry_s := _hurry_s(facts, memory)) is not None and facts.now_s >= hurry_s:
        return draft  # no other POP is NORMAL
    ready_s = memory.step_since_s + facts.spec.timers.return_step_s
    if taken and facts.now_s < ready_s:
        words = f"step {taken} of {len(prepends)} of the return, {ready_s - facts.now_s:.0f} s more"
        return replace(draft.wake(ready_s), return_step=taken).say(
            "return_steps", Reason.SLOW_START, Level.DEPREF, words
        )
    if taken >= len(prepends):
        return replace(draft, return_step=taken)
    wait_s = return_fits_in_s(memory.penalty, facts.now_s, facts.spec.timers.half_life_s)
    if wait_s > 0:
        draft = replace(draft.wake(facts.now_s + wait_s), return_step=taken)
        words = f"flap penalty; the next step of the return fits in {wait_s:.0f} s"
        return draft.say("return_steps", Reason.CHANGE_BUDGET, Level.DEPREF, words)
    draft = replace(draft.wake(facts.now_s + facts.spec.timers.return_step_s), return_step=taken + 1)
    words = f"step {taken + 1} of {len(prepends)} of the return: prepend {prepends[taken]}"
    return draft.say("return_steps", Reason.SLOW_START, Level.DEPREF, words)


def step_of(facts: Facts, memory: Memory, draft: Draft) -> int:
    """Return which step of the return is announced: the one to be taken; the last one where nothing may change.

    Anything that wants less than NORMAL ends the return: the whole prepend at once.
    """
    if draft.level is not Level.DEPREF or memory.level is not Level.DEPREF:
        return 0
    most = len(facts.spec.return_prepends)
    if facts.frozen or not facts.bgp_observed:
        return min(memory.return_step, most)
    if draft.return_step is not None and draft.wanted is Level.NORMAL:
        return min(draft.return_step, most)
    # what is held at a step keeps that step: the whole prepend would be a fall by health
    unknown = draft.reason in (Reason.HEALTH_UNKNOWN, Reason.FIRST_CHECKS) or draft.hold is Reason.UNDER_ATTACK
    return min(memory.return_step, most) if unknown or draft.wanted is Level.NORMAL else 0


def return_budget(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """DEPREF -> NORMAL waits until it, and a depreference after it, cannot make a neighbor suppress the prefix."""
    if draft.level is not Level.NORMAL or memory.level not in (Level.DEPREF, Level.GSHUT):
        return draft
    wait_s = return_fits_in_s(memory.penalty, facts.now_s, facts.spec.timers.half_life_s)
    if wait_s <= 0:
        return draft
    draft = draft.wake(facts.now_s + wait_s).hint(f"{wait_s:.0f} s without a change -> NORMAL")
    return draft.say("return_budget", Reason.CHANGE_BUDGET, Level.DEPREF, f"flap penalty; fits in {wait_s:.0f} s")


def come_back(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """Announce what is withdrawn, depreferenced, while too few others are there: at once and under no budget (I1).

    They died, or nobody could be heard for long enough. What this daemon has not judged yet waits for `boot_at_s`, then
    comes up unproven. What an operator forced off, or may go dark by `last_resort: withdraw`, stays away.
    """
    others = facts.fleet
    if others is None or facts.stopping or draft.level is not Level.WITHDRAWN or memory.level is not Level.WITHDRAWN:
        return draft
    number = wanted(facts.spec, others.pops)
    may_be_dark = facts.spec.last_resort is LastResort.WITHDRAW or draft.level >= draft.forced_to
    if may_be_dark or len(others.present) >= number:
        return draft
    judged = memory.was_announced and not facts.first_checks
    from_s = others.sure_from_s if judged else max(others.sure_from_s, others.boot_at_s)
    if facts.now_s < from_s:
        return draft.wake(from_s)
    if not (facts.blackhole_ready and facts.bgp_observed):
        # it is wanted, so that it is looked at again as soon as that was observed
        missing = Reason.OBSERVATION_MISSING if facts.blackhole_ready else Reason.DATA_PLANE_NOT_READY
        evidence = "it is to come back; ExaBGP or its blackhole was not observed yet"
        return replace(draft, wanted=Level.DEPREF).say("come_back", missing, Level.WITHDRAWN, evidence)
    verdict = refusal(others, number, len(others.counted))
    reason = verdict.reason if judged else Reason.BOOT_FAIL_OPEN
    evidence = f"{len(others.present)} of {number} wanted announce it; {verdict.detail}"
    return draft.say("come_back", reason, Level.DEPREF, evidence)
