"""The way down: DEPREF at once and without asking; any further only past every guard."""

from __future__ import annotations

from anycastd.model.decision import Level, Memory, Reason, Truth
from anycastd.policy.budget import return_fits_in_s, withdrawal_fits_in_s
from anycastd.policy.draft import Draft, Facts
from anycastd.policy.guard import entry_of, may_withdraw
from anycastd.policy.rules.under_attack import why_held


def _leaves(facts: Facts, memory: Memory, draft: Draft) -> bool:
    return draft.level is Level.WITHDRAWN and memory.level is not Level.WITHDRAWN and not facts.stopping


def settle(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """Wait at DEPREF for `settle_s`: a fault that passes by costs one attribute change, not a withdrawal.

    So long others must also have confirmed without a break, where there are any.
    """
    if draft.reason.is_ordered or not _leaves(facts, memory, draft):
        return draft
    bad_since_s = memory.bad_since_s if memory.bad_since_s is not None else facts.now_s
    confirmed_since_s = memory.confirmed_since_s if memory.confirmed_since_s is not None else bad_since_s
    ready_s = max(bad_since_s, confirmed_since_s) + facts.spec.timers.settle_s
    if facts.now_s >= ready_s:
        return draft
    return draft.wake(ready_s).say("settle", Reason.SETTLING, draft.waits_at, "a passing fault needs no withdrawal")


def checker_suspect(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """While many failures at once may be our own, the ladder stops at DEPREF (I2)."""
    if draft.reason.is_ordered or not facts.checker_suspect or not _leaves(facts, memory, draft):
        return draft
    draft = draft.hint("self-test targets answering again")
    return draft.say("checker_suspect", Reason.CHECKER_SUSPECT, draft.waits_at, facts.suspect_detail)


def withdraw_guard(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """Ask `may_withdraw()`; without its leave the prefix stays at DEPREF (I1).

    One that was lost with ExaBGP or the machine is on its way out only if it may be: else it comes back, depreferenced.
    GSHUT asks too: when every POP says it, all traffic falls on one of them. A drain asks before its first step, so
    that it says at once how far it may go.
    """
    by_hand = draft.reason in (Reason.DRAINING, Reason.OVERRIDDEN)
    comes_back = memory.was_lost and facts.condition is Truth.FALSE
    absent = draft.level is Level.WITHDRAWN and memory.level is Level.WITHDRAWN and not comes_back
    by_rule = facts.fleet is not None  # whether what is absent comes back is for `come_back` to say
    will_leave = draft.level < Level.DEPREF or (draft.reason is Reason.DRAINING and draft.level is Level.DEPREF)
    if not will_leave or (absent and (by_rule or not by_hand)):
        return draft
    verdict = may_withdraw(
        facts.spec,
        stopping=facts.stopping,
        forced=draft.level >= draft.forced_to,
        others=facts.fleet,
        entry=entry_of(memory),
        attack="" if draft.reason.is_ordered else why_held(facts, memory),
    )
    if verdict.allowed:
        return draft.say("withdraw_guard", verdict.reason, draft.level, verdict.detail)
    if by_hand:
        draft = draft.hint("--force with a reason -> further than DEPREF")
    return draft.say("withdraw_guard", verdict.reason, min(Level.DEPREF, draft.forced_to), verdict.detail)


def withdraw_budget(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """A withdrawal waits at DEPREF until it and its return cannot make a neighbor suppress the prefix (I7)."""
    if not _leaves(facts, memory, draft):
        return draft
    # the step to DEPREF that came, or comes, before it is part of the price; what was charged is in the penalty
    wait_s = withdrawal_fits_in_s(memory.penalty, facts.now_s, facts.spec.timers.half_life_s)
    if wait_s <= 0:
        return draft
    draft = draft.wake(facts.now_s + wait_s).hint(f"{wait_s:.0f} s without a change -> WITHDRAWN")
    # who said GSHUT, with others confirmed, would pay for the way back to DEPREF as well
    waits_at = Level.GSHUT if _is_shut(facts, memory) else draft.waits_at
    return draft.say("withdraw_budget", Reason.CHANGE_BUDGET, waits_at, f"flap penalty; fits in {wait_s:.0f} s")


def _is_shut(facts: Facts, memory: Memory) -> bool:
    return facts.fleet is not None and memory.level is Level.GSHUT


def gshut_wait(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """Say GSHUT for `gshut_wait_s` before health withdraws what others are confirmed to announce (RFC 8326)."""
    wait_s = facts.spec.timers.gshut_wait_s
    leaves = draft.level is Level.WITHDRAWN and memory.level in (Level.DEPREF, Level.GSHUT)
    if facts.fleet is None or wait_s <= 0 or draft.reason.is_ordered or not leaves:
        return draft
    begun_s = memory.level_since_s if memory.level is Level.GSHUT else facts.now_s
    if facts.now_s >= begun_s + wait_s:
        return draft
    draft = draft.wake(begun_s + wait_s)
    return draft.say(
        "gshut_wait", Reason.GSHUT_WAIT, Level.GSHUT, f"traffic leaves for {wait_s:.0f} s, then look again"
    )


def gshut_budget(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """GSHUT waits at DEPREF until it, and the step back, cannot make a neighbor suppress the prefix (I7).

    So does what was withdrawn and comes in at GSHUT: a drain that is undone then would pay for the step to DEPREF.
    """
    if draft.level is not Level.GSHUT or memory.level is Level.GSHUT:
        return draft
    wait_s = return_fits_in_s(memory.penalty, facts.now_s, facts.spec.timers.half_life_s)
    if wait_s <= 0:
        return draft
    draft = draft.wake(facts.now_s + wait_s).hint(f"{wait_s:.0f} s without a change -> GSHUT")
    return draft.say("gshut_budget", Reason.CHANGE_BUDGET, Level.DEPREF, f"flap penalty; fits in {wait_s:.0f} s")
