"""`may_withdraw()`: the only way by which health, a drain, an override or a stop takes a prefix off the air (I1).

With other POPs in view (`Facts.fleet`) a prefix leaves only while enough of them say NORMAL and have seen its present
entry into DEPREF. A POP that is counted so is at NORMAL after we left it, so it cannot have counted us: the last two
never leave by each other's word. Without anybody to ask the guard is static: health depreferences and stays, unless the
operator wrote `last_resort: withdraw` for the prefix.
"""

from __future__ import annotations

from dataclasses import dataclass

from anycastd.model.decision import Level, Memory, Reason
from anycastd.model.fleet import Others
from anycastd.model.topology import LastResort, PrefixSpec
from anycastd.policy.draft import Facts

LARGE_FLEET = 4
"""From so many POPs on, two others are wanted: then no single death makes a prefix dark."""
NAMED = 4


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the prefix may go, the reason, and the sentence that explains it."""

    allowed: bool
    reason: Reason
    detail: str


def wanted(spec: PrefixSpec, pops: int) -> int:
    """Return how many other POPs are wanted in a fleet of `pops` before this one leaves."""
    if spec.min_announcers is not None:
        return spec.min_announcers
    return 2 if pops >= LARGE_FLEET else 1


def entry_of(memory: Memory) -> int | None:
    """Return the entry into DEPREF that others must have seen; None: there is none, it must be entered first."""
    return memory.epoch if memory.level in (Level.DEPREF, Level.GSHUT) else None


def is_confirmed(facts: Facts, memory: Memory) -> bool:
    """Return whether enough others confirm the present entry into DEPREF."""
    others = facts.fleet
    if others is None or entry_of(memory) != others.entry:
        return False
    return len(others.counted) >= wanted(facts.spec, others.pops)


def may_withdraw(
    spec: PrefixSpec,
    *,
    stopping: bool,
    forced: bool = False,
    others: Others | None = None,
    entry: int | None = None,
    attack: str = "",
) -> Verdict:
    """Return whether this POP may withdraw the prefix (or say GSHUT, by which it is as good as left).

    `forced`: an operator ordered it with --force and a reason. `entry` is `entry_of(memory)`: what `others` confirm of
    another one is worth nothing. A stop leaves unasked only where nobody can be asked. `attack`: why health's word does
    not count, also where it would be the last resort (I6); empty when somebody ordered it.
    """
    if stopping and others is None:
        return Verdict(True, Reason.STOPPING, "the daemon was told to leave (SIGTERM)")
    if forced:
        return Verdict(True, Reason.FORCED, "an operator forced it")
    if attack:
        return Verdict(False, Reason.UNDER_ATTACK, attack)
    if spec.last_resort is LastResort.WITHDRAW:
        return Verdict(True, Reason.LAST_RESORT_WITHDRAW, "the configuration says last_resort: withdraw")
    if others is None:
        number = wanted(spec, 1)
        detail = f"nobody to ask whether others announce it ({number} wanted): it stays, depreferenced"
        return Verdict(False, Reason.STATIC_GUARD, detail)
    number = wanted(spec, others.pops)
    counted = others.counted if entry == others.entry else ()
    if len(counted) >= number:
        who = _listed(counted)
        return Verdict(True, Reason.OTHERS_CONFIRMED, f"{number} wanted; {who}: NORMAL, and saw us depreferenced")
    return refusal(others, number, len(counted) if entry is not None else None)


def refusal(others: Others, number: int, counted: int | None) -> Verdict:
    """Return why it may not go. `counted` None: it was not depreferenced yet, so that nobody can have seen it."""
    if others.blind_since_s is not None:
        return Verdict(
            False, Reason.OBSERVERS_BLIND, f"no observer is there, nor the store; nobody can be seen ({number} wanted)"
        )
    if counted is None:
        detail = f"the others must see it depreferenced first ({number} wanted)"
        return Verdict(False, Reason.NOT_ENOUGH_ANNOUNCERS, detail)
    why = _listed([f"{one.pop} {one.why.value}" for one in others.uncounted])
    detail = f"{counted} of {number} wanted are confirmed ({why or 'there are no other POPs'}): it stays"
    return Verdict(False, Reason.NOT_ENOUGH_ANNOUNCERS, detail)


def _listed(words: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(words) - NAMED} more" if len(words) > NAMED else ""
    return ", ".join(words[:NAMED]) + more
