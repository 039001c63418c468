"""What health alone would do, and what the end of the daemon asks."""

from __future__ import annotations

from dataclasses import replace

from anycastd.model.decision import Level, Memory, Reason, Truth
from anycastd.model.topology import WhenDegraded
from anycastd.policy.draft import Draft, Facts


def health(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """Serve if enough is usable, leave if not; unknown keeps what is: absent stays absent, announced announced."""
    if facts.condition is Truth.TRUE:
        draft = replace(draft, wanted=Level.NORMAL, reason=Reason.SERVING, detail=facts.detail)
        return draft.say("health", Reason.SERVING, Level.NORMAL, facts.detail)
    if facts.condition is Truth.FALSE:
        draft = replace(draft, wanted=Level.WITHDRAWN, reason=Reason.UNABLE_TO_SERVE, detail=facts.detail)
        draft = draft.hint("enough usable again -> announced, first depreferenced")
        return draft.say("health", Reason.UNABLE_TO_SERVE, Level.WITHDRAWN, facts.detail)
    reason = Reason.FIRST_CHECKS if facts.first_checks else Reason.HEALTH_UNKNOWN
    draft = replace(draft, wanted=memory.level, reason=reason, detail=facts.detail)
    draft = draft.hint("verdicts on what is unknown")
    return draft.say("health", reason, memory.level, facts.detail)


def degraded(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """Depreference a prefix that only degraded regions serve, if it is to be; that alone never goes any further."""
    if facts.condition is not Truth.TRUE or facts.spec.when_degraded is not WhenDegraded.DEPREF:
        return draft
    # whether it can be served well is not known yet: what was said of that last stands
    if not facts.is_poor and not (facts.well is Truth.UNKNOWN and memory.level is Level.DEPREF):
        return draft
    draft = replace(draft, wanted=Level.DEPREF, reason=Reason.DEGRADED).hint("enough that is not degraded -> NORMAL")
    return draft.say("degraded", Reason.DEGRADED, Level.DEPREF, "only with the help of what is degraded")


def stopping(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """A stop that was asked for outranks health: the prefix leaves."""
    if not facts.stopping:
        return draft
    draft = replace(draft, wanted=Level.WITHDRAWN, reason=Reason.STOPPING, hold=None)
    return draft.say("stopping", Reason.STOPPING, Level.WITHDRAWN, "the daemon was told to leave")
