"""What spreads load: a standby announces only while it is called on, and steps of playbooks add to routes."""

from __future__ import annotations

from dataclasses import replace

from anycastd.model.decision import Level, Memory, Reason
from anycastd.policy.budget import ATTRIBUTE_CHANGE, decayed
from anycastd.policy.draft import Draft, Facts


def standby(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """A standby announces no more than it is called on, and never more than health does.

    Its leaving is a withdrawal like any other: it asks the guard, and others must confirm. Away, it counts for nobody.
    """
    call = facts.standby
    if call is None:
        return draft
    if call.level is Level.NORMAL:
        return draft.say("standby", Reason.CALLED_ON, draft.level, call.detail)
    if draft.level <= call.level:
        return draft
    draft = replace(draft, wanted=call.level, reason=Reason.STANDBY, hold=None, detail=call.detail)
    draft = draft.hint("a POP that calls on standbys -> announced")
    return draft.say("standby", Reason.STANDBY, call.level, call.detail)


def spread(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """Routes get what playbooks' steps add, at NORMAL; a lower level says more than any step."""
    if not facts.extras or draft.level is not Level.NORMAL:
        return draft
    kept = draft.hold
    draft = draft.say("spread", Reason.SPREADING, draft.level, facts.spread_detail)
    return replace(draft, extras=facts.extras, hold=kept)


def in_force_of(facts: Facts, draft: Draft) -> str:
    """Return what of steps is in force, in words that differ when it does."""
    if draft.level is not Level.NORMAL:
        return ""
    extras = [f"{one.neighbor} +{one.prepend} {' '.join(one.communities)}".rstrip() for one in draft.extras]
    down = [f"{one.neighbor} {one.level.name}" for one in facts.neighbor_drains if one.reason is Reason.SPREADING]
    return "; ".join((*extras, *down))


def respread(facts: Facts, memory: Memory, in_force: str, *, changed: bool) -> Memory:
    """Note what is in force now; at the same level it costs what a change of levels does (I7)."""
    penalty = memory.penalty
    if changed:
        penalty = decayed(penalty, facts.now_s, facts.spec.timers.half_life_s)
        plain, strict = penalty.plain + ATTRIBUTE_CHANGE, penalty.strict + ATTRIBUTE_CHANGE
        penalty = replace(penalty, plain=plain, strict=strict)
    return replace(memory, spread=in_force, penalty=penalty)
