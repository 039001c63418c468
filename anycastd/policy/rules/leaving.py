"""The way down: DEPREF at once and without asking; any further only past every guard."""

from __future__ import annotations

from anycastd.model.decision import Level, Memory, Reason, Truth
from anycastd.policy.budget import withdrawal_fits_in_s
from anycastd.policy.draft import Draft, Facts
from anycastd.policy.guard import may_withdraw


def _leaves(facts: Facts, memory: Memory, draft: Draft) -> bool:
    return draft.level is Level.WITHDRAWN and memory.level is not Level.WITHDRAWN and not facts.stopping


def settle(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """Wait at DEPREF for `settle_s`: a fault that passes by costs one attribute change, not a withdrawal."""
    if not _leaves(facts, memory, draft):
        return draft
    bad_since_s = memory.bad_since_s if memory.bad_since_s is not None else facts.now_s
    ready_s = bad_since_s + facts.spec.timers.settle_s
    if facts.now_s >= ready_s:
        return draft
    return draft.wake(ready_s).say("settle", Reason.SETTLING, Level.DEPREF, "a passing fault needs no withdrawal")


def checker_suspect(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """While many failures at once may be our own, the ladder stops at DEPREF (I2)."""
    if not facts.checker_suspect or not _leaves(facts, memory, draft):
        return draft
    draft = draft.hint("self-test targets answering again")
    return draft.say("checker_suspect", Reason.CHECKER_SUSPECT, Level.DEPREF, facts.suspect_detail)


def withdraw_guard(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """Ask `may_withdraw()`; without its leave the prefix stays at DEPREF (I1).

    One that was lost with ExaBGP or the machine is on its way out only if it may be: else it comes back, depreferenced.
    """
    comes_back = memory.was_lost and facts.condition is Truth.FALSE
    if draft.level is not Level.WITHDRAWN or (memory.level is Level.WITHDRAWN and not comes_back):
        return draft
    verdict = may_withdraw(facts.spec, stopping=facts.stopping)
    if verdict.allowed:
        return draft.say("withdraw_guard", verdict.reason, Level.WITHDRAWN, verdict.detail)
    return draft.say("withdraw_guard", verdict.reason, Level.DEPREF, verdict.detail)


def withdraw_budget(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """A withdrawal waits at DEPREF until it and its return cannot make a neighbor suppress the prefix (I7)."""
    if not _leaves(facts, memory, draft):
        return draft
    # the step to DEPREF that came, or comes, before it is part of the price; what was charged is in the penalty
    wait_s = withdrawal_fits_in_s(memory.penalty, facts.now_s, facts.spec.timers.half_life_s)
    if wait_s <= 0:
        return draft
    draft = draft.wake(facts.now_s + wait_s).hint(f"{wait_s:.0f} s without a change -> WITHDRAWN")
    return draft.say("withdraw_budget", Reason.CHANGE_BUDGET, Level.DEPREF, f"flap penalty; fits in {wait_s:.0f} s")
