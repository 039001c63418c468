"""decide(): facts and memory in, a decision with its reasons and the next memory out. No clock, no I/O, no state."""

from __future__ import annotations

from dataclasses import replace

from anycastd.model.decision import Decision, Level, Memory, Reason, Truth
from anycastd.policy.budget import ATTRIBUTE_CHANGE, charged, decayed
from anycastd.policy.draft import Draft, Facts, Rule
from anycastd.policy.guard import is_confirmed
from anycastd.policy.rules.breaker import circuit_breaker
from anycastd.policy.rules.health import degraded, health, stopping
from anycastd.policy.rules.leaving import (
    checker_suspect,
    gshut_budget,
    gshut_wait,
    settle,
    withdraw_budget,
    withdraw_guard,
)
from anycastd.policy.rules.ordered import drain, freeze, intent, neighbor_drain, override
from anycastd.policy.rules.readiness import data_plane, observation
from anycastd.policy.rules.returning import come_back, return_budget, return_steps, slow_start, step_of
from anycastd.policy.rules.spread import in_force_of, respread, spread, standby
from anycastd.policy.rules.token import fleet_token
from anycastd.policy.rules.under_attack import followed, under_attack

RULES: tuple[Rule, ...] = (
    health, degraded, under_attack, standby, override, stopping, drain, intent, slow_start, return_steps, return_budget,
    settle,
    checker_suspect, withdraw_guard, withdraw_budget, gshut_wait, gshut_budget, circuit_breaker, fleet_token,
    data_plane, come_back, neighbor_drain, spread, freeze, observation,
)  # fmt: skip
"""The whole order of policy. A later rule sees what the earlier ones made of it."""


def decide(facts: Facts, memory: Memory) -> tuple[Decision, Memory]:
    """Return the decision on one prefix and what must be remembered for the next."""
    memory = followed(facts, _timed(facts, memory))
    draft = Draft(level=memory.level, wanted=memory.level, reason=Reason.HEALTH_UNKNOWN)
    for rule in RULES:
        draft = rule(facts, memory, draft)
    after = _remember(facts, memory, draft.level, draft.reason)
    if after.intends is not draft.intends:
        # an intent is to be seen by the others before it is acted on, as an entry into DEPREF is
        after = replace(after, intends=draft.intends, epoch=after.epoch + draft.intends)
    if after.return_step != (step := step_of(facts, memory, draft)):
        after = _stepped(facts, after, step, changed=draft.level is memory.level)
    if after.spread != (in_force := in_force_of(facts, draft)):
        after = respread(facts, after, in_force, changed=draft.level is memory.level)
    if after.held_by_breaker is not (held := draft.hold is Reason.CIRCUIT_BREAKER):
        after = replace(after, held_by_breaker=held)
    decision = Decision(
        prefix=facts.spec.prefix,
        level=draft.level,
        wanted=draft.wanted,
        reason=draft.reason,
        hold=draft.hold if draft.level is not draft.wanted or draft.reason.holds else None,
        since_s=after.level_since_s,
        trail=draft.trail,
        wake_at_s=draft.wake_at_s,
        condition=facts.condition,
        detail=draft.detail,
        would_change=draft.would_change,
        drained=draft.drained,
        intends=draft.intends,
        prepend=facts.spec.return_prepends[step - 1] if step else None,
        extras=draft.extras,
    )
    return decision, after


def _stepped(facts: Facts, memory: Memory, step: int, *, changed: bool) -> Memory:
    """Note a step of the return, or that it was broken off; at the same level it costs what a change of levels does."""
    penalty = memory.penalty
    if changed:
        penalty = decayed(penalty, facts.now_s, facts.spec.timers.half_life_s)
        plain, strict = penalty.plain + ATTRIBUTE_CHANGE, penalty.strict + ATTRIBUTE_CHANGE
        penalty = replace(penalty, plain=plain, strict=strict)
    return replace(memory, return_step=step, step_since_s=facts.now_s, penalty=penalty)


def _timed(facts: Facts, memory: Memory) -> Memory:
    """Note since when the condition is steadily true or false (what is unknown is neither), and others confirm."""
    bad_since_s = _first(memory.bad_since_s, facts.now_s) if facts.condition is Truth.FALSE else None
    is_fine = facts.condition is Truth.TRUE and not facts.is_poor
    fine_since_s = _first(memory.fine_since_s, facts.now_s) if is_fine else None
    confirmed_since_s = _first(memory.confirmed_since_s, facts.now_s) if is_confirmed(facts, memory) else None
    after = bad_since_s, fine_since_s, confirmed_since_s
    if after == (memory.bad_since_s, memory.fine_since_s, memory.confirmed_since_s):
        return memory  # the same object, so that what has not changed is seen at a glance
    return replace(memory, bad_since_s=bad_since_s, fine_since_s=fine_since_s, confirmed_since_s=confirmed_since_s)


def _first(since_s: float | None, now_s: float) -> float:
    return now_s if since_s is None else since_s


def _remember(facts: Facts, memory: Memory, level: Level, reason: Reason) -> Memory:
    if level is memory.level:
        return memory
    timers = facts.spec.timers
    penalty = charged(
        memory.penalty,
        memory.level,
        level,
        was_announced=memory.was_announced,
        now_s=facts.now_s,
        half_life_s=timers.half_life_s,
    )
    relapses, last_relapse_s = memory.relapses, memory.last_relapse_s
    if memory.level is Level.NORMAL and not reason.is_ordered:
        recent = last_relapse_s is not None and facts.now_s - last_relapse_s <= timers.backoff_reset_s
        relapses, last_relapse_s = (relapses + 1 if recent else 1), facts.now_s
    return replace(
        memory,
        level=level,
        level_since_s=facts.now_s,
        # a stop that was asked for says nothing against the prefix: the next start is a first one
        was_announced=not facts.stopping and (memory.was_announced or level is not Level.WITHDRAWN),
        was_lost=False,
        relapses=relapses,
        last_relapse_s=last_relapse_s,
        epoch=memory.epoch + (level is Level.DEPREF),
        penalty=penalty,
    )
