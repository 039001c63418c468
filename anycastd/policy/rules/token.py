"""S3: of one prefix only one POP leaves at a time because of health, in the whole fleet."""

from __future__ import annotations

from anycastd.model.decision import Level, Memory, Reason
from anycastd.policy.draft import Draft, Facts


def fleet_token(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """Hold at DEPREF what has no token of the fleet's store.

    It is asked for because of this hold, so it comes after all that holds a withdrawal for another reason: a token that
    is not used would keep another POP. What an operator ordered passes, down to the level of the order.
    """
    floor = Level.DEPREF if facts.drain is None else min(Level.DEPREF, facts.drain.level)
    if not facts.token_missing or draft.reason.is_ordered or facts.stopping:
        return draft
    if memory.level < Level.DEPREF or draft.level >= floor:
        return draft
    return draft.say("fleet_token", Reason.FLEET_TOKEN, floor, facts.token_missing)
