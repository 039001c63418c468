"""S28: whatever the cause, health does not take many prefixes off the air within a short time."""

from __future__ import annotations

from anycastd.model.decision import Level, Memory, Reason
from anycastd.policy.draft import Draft, Facts


def circuit_breaker(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """Hold at DEPREF what health would take off the air, once as many went within the window as may.

    It comes last of what holds a withdrawal, so that only what nothing else holds trips it. What an operator ordered
    passes, down to the level of the order.
    """
    if facts.withdrawals_left is None or facts.withdrawals_left > 0 or draft.reason.is_ordered or facts.stopping:
        return draft
    floor = Level.DEPREF if facts.drain is None else min(Level.DEPREF, facts.drain.level)
    if memory.level < Level.DEPREF or draft.level >= floor:
        return draft
    draft = draft.hint("anycastd breaker reset -> as many more may go")
    return draft.say("circuit_breaker", Reason.CIRCUIT_BREAKER, floor, facts.breaker_detail)
