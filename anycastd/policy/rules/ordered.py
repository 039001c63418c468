"""What an operator ordered: overrides, drains and the freeze. They outrank health, but not `may_withdraw()`.

A neighbor that a playbook, or its being a standby, keeps from a prefix is told less by the same rule as a drained one.
"""

from __future__ import annotations

from dataclasses import replace

from anycastd.model.decision import Level, Memory, NeighborLevel, Reason, Truth
from anycastd.policy.draft import Draft, Facts, NeighborDrain, Order
from anycastd.policy.guard import refusal, wanted


def override(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """A level set by hand takes the place of what health says; below DEPREF only past the guard."""
    order = facts.override
    if order is None:
        return draft
    draft = replace(draft, wanted=order.level, reason=Reason.OVERRIDDEN, hold=None, detail=order.detail)
    draft = draft.say("override", Reason.OVERRIDDEN, order.level, order.detail)
    # what health hinted at before has no say
    draft = replace(draft, would_change=(f"anycastd override clear {facts.spec.prefix} -> as health says",))
    return replace(draft, forced_to=_forced_to(order), waits_at=_waiting(order.level))


def drain(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """A drained POP announces at most what the phase of the drain allows, and never more than health does."""
    order = facts.drain
    if order is None:
        return draft
    waits_at, forced_to = _waiting(order.level), _forced_to(order)
    draft = replace(draft, waits_at=min(draft.waits_at, waits_at), forced_to=min(draft.forced_to, forced_to))
    if draft.level <= order.level:
        return draft.say("drain", Reason.DRAINING, draft.level, order.detail)
    draft = replace(draft, wanted=Level.WITHDRAWN, reason=Reason.DRAINING, hold=None, detail=order.detail)
    draft = draft.hint("anycastd undrain -> returns by slow start")
    return draft.say("drain", Reason.DRAINING, order.level, order.detail)


def intent(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """Tell the others that it is to be drained, and stay NORMAL until enough of them saw it and do not go first.

    So of several POPs that are drained at the same moment, only as many begin as may go.
    """
    others = facts.fleet
    fine = memory.level is Level.NORMAL and draft.level < Level.NORMAL
    if others is None or not fine or draft.reason is not Reason.DRAINING or draft.level >= draft.forced_to:
        return draft
    draft = replace(draft, intends=True)
    number = wanted(facts.spec, others.pops)
    counted = others.counted if memory.intends and others.entry == memory.epoch else ()
    staying = [pop for pop in counted if pop not in others.goes_first]
    if len(staying) >= number:
        return draft
    if len(counted) >= number:
        queue = f"behind {', '.join(others.goes_first)}, which is drained too; {len(staying)} of {number} wanted stay"
        return draft.say("intent", Reason.DRAIN_QUEUED, Level.NORMAL, queue)
    if not memory.intends and others.blind_since_s is None:
        return draft.say("intent", Reason.DRAIN_QUEUED, Level.NORMAL, "the others are told first")
    verdict = refusal(others, number, len(counted))
    draft = draft.hint("--force with a reason -> drained all the same")
    return draft.say("intent", verdict.reason, Level.NORMAL, verdict.detail)


def _forced_to(order: Order) -> Level:
    return order.level if order.forced else Level.NORMAL


def _waiting(level: Level) -> Level:
    """Return where what is on its way out waits: who has left DEPREF does not go back to it for a wait."""
    return Level.GSHUT if level < Level.DEPREF else Level.DEPREF


def neighbor_drain(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """A drained neighbor is told less, as far as another established one still has the prefix (I1)."""
    for order in facts.neighbor_drains:
        level, hold, why = _level_at(order, facts.now_s)
        if hold is not None and order.settled_at_s is not None and order.settled_at_s > facts.now_s:
            draft = draft.wake(order.settled_at_s)
        detail = f"{order.neighbor} gets {level.name} at most: {order.detail}{why}"
        step_reason = hold or order.reason
        # the level of the prefix itself stays, and so does what holds it
        kept = draft.hold
        draft = replace(draft.say("neighbor_drain", step_reason, draft.level, detail), hold=kept)
        draft = replace(draft, drained=(*draft.drained, NeighborLevel(order.neighbor, level, hold)))
    return draft


def _level_at(order: NeighborDrain, now_s: float) -> tuple[Level, Reason | None, str]:
    if order.forced:
        return order.level, None, ""
    if order.level >= Level.DEPREF:
        # said beforehand, so that nobody waits for a phase that cannot come
        only = order.others is Truth.FALSE
        return order.level, Reason.ONLY_NEIGHBOR if only else None, "; no other established one has it" if only else ""
    if order.others is Truth.UNKNOWN:
        # what cannot be told keeps what is (after a restart sessions are not known at once)
        return min(order.standing, Level.DEPREF), Reason.OBSERVATION_MISSING, "; what others have is not known"
    settled = order.settled_at_s is not None and order.settled_at_s <= now_s
    if order.others is Truth.TRUE and (settled or order.standing < Level.DEPREF):
        return order.level, None, ""
    return Level.DEPREF, Reason.ONLY_NEIGHBOR, "; no other established neighbor has had it long enough"


def freeze(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """While frozen nothing that is announced changes; what was lost with ExaBGP or the machine is put back."""
    if not facts.frozen:
        return draft
    if draft.level is memory.level:
        return replace(draft, would_change=("anycastd unfreeze",))
    if memory.was_lost and memory.level is Level.WITHDRAWN:
        return draft.say("freeze", draft.reason, draft.level, "lost, not withdrawn: to put it back is no change")
    if any(step.rule == "come_back" for step in draft.trail):
        return draft  # a freeze keeps announcements as they are, and does not make the last one's end dark
    evidence = f"it would be {draft.level.name}; frozen: {facts.frozen}"
    draft = replace(draft, would_change=("anycastd unfreeze",))
    return draft.say("freeze", Reason.FROZEN, memory.level, evidence)
