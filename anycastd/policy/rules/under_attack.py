"""I6: while an attack is on, health alone takes nothing off the air, and depreferences only where others have room."""

from __future__ import annotations

from dataclasses import replace

from anycastd.model.absorb import AbsorbHolds, HoldDepref
from anycastd.model.decision import Level, Memory, Reason, Truth
from anycastd.policy.draft import Draft, Facts


def followed(facts: Facts, memory: Memory) -> Memory:
    """Note since when an attack is on, or over; after `calm_s` it is forgotten (S29)."""
    known = memory.attacked_since_s is not None
    if facts.absorb is None or not (facts.attack or known):
        return _over(facts, memory) if known else memory
    if facts.attack:
        if known and memory.calm_since_s is None:
            return memory  # the same object, so that what has not changed is seen at a glance
        since_s = memory.attacked_since_s if known else facts.now_s
        return replace(memory, attacked_since_s=since_s, calm_since_s=None)
    if memory.calm_since_s is None:
        return replace(memory, calm_since_s=facts.now_s)
    if facts.now_s < memory.calm_since_s + facts.absorb.calm_s:
        return memory
    return _over(facts, memory)


def _over(facts: Facts, memory: Memory) -> Memory:
    # what is bad begins to be so now: the ladder is gone down step by step, with its waits
    bad_since_s = None if memory.bad_since_s is None else facts.now_s
    return replace(memory, attacked_since_s=None, calm_since_s=None, bad_since_s=bad_since_s)


def why_held(facts: Facts, memory: Memory) -> str:
    """Return why health may not withdraw; empty = no attack holds it."""
    holds = facts.absorb
    if holds is None or memory.attacked_since_s is None or not holds.hold_withdrawal:
        return ""
    return _words(facts, holds, memory)


def _words(facts: Facts, holds: AbsorbHolds, memory: Memory) -> str:
    if facts.attack or memory.calm_since_s is None:
        return facts.attack
    left_s = memory.calm_since_s + holds.calm_s - facts.now_s
    return f"an attack ended; health's word counts again in {left_s:.0f} s"


def under_attack(facts: Facts, memory: Memory, draft: Draft) -> Draft:
    """Hold what health would lower. It comes before what operators order, which so goes on from what stands.

    Checks that share the fate of an attack say that this POP cannot serve, and what it left would take the next one
    down. What is absent stays absent.
    """
    holds = facts.absorb
    if holds is None or memory.attacked_since_s is None or memory.level is Level.WITHDRAWN:
        return draft
    floor, more = Level.DEPREF if holds.hold_withdrawal else Level.WITHDRAWN, ""
    if holds.hold_depref is HoldDepref.ALWAYS or (
        holds.hold_depref is HoldDepref.WITHOUT_ROOM and facts.room is not Truth.TRUE
    ):
        floor = max(floor, memory.level)
        if holds.hold_depref is HoldDepref.WITHOUT_ROOM:
            more = f"; room elsewhere: {facts.room_detail or 'nothing is known of it'}"
        if fell_by_attack(facts, memory):
            floor, more = Level.NORMAL, "; depreferenced just before it was seen, which is taken back"
    if draft.level >= floor:
        return draft
    if memory.calm_since_s is not None:
        draft = draft.wake(memory.calm_since_s + holds.calm_s)
    draft = draft.hint("the attack ends, and stays away for attack.absorb.calm -> as health says")
    return draft.say("under_attack", Reason.UNDER_ATTACK, floor, f"{_words(facts, holds, memory)}{more}")


def fell_by_attack(facts: Facts, memory: Memory) -> bool:
    """Return whether health took the prefix from NORMAL to DEPREF just before the attack was seen that is on now.

    Then that is taken back at once: failing checks were the first thing that showed of the attack.
    """
    holds, since_s, fell_s = facts.absorb, memory.attacked_since_s, memory.level_since_s
    if holds is None or since_s is None or not facts.attack or facts.condition is Truth.UNKNOWN:
        return False
    if holds.hold_depref is HoldDepref.NEVER or memory.level is not Level.DEPREF or memory.last_relapse_s != fell_s:
        return False
    return 0.0 <= since_s - fell_s <= holds.look_back_s
