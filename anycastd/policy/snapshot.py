"""A decision with all that made it, so that it can be made again: by a test, or by another release's rules. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from anycastd.model.decision import Decision, Memory
from anycastd.model.plain import from_plain, to_plain
from anycastd.policy.draft import Facts
from anycastd.policy.engine import decide

FORMAT = 1
"""Of the texts that are kept. A field that is added with a default leaves it as it is; any other change raises it."""
_PARTS = ("facts", "memory", "decision")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a decision was made of, and the decision; `decide(facts, memory)` gives it again."""

    facts: Facts
    memory: Memory
    decision: Decision


def encode(snapshot: Snapshot) -> dict[str, Any]:
    """Return what JSON can hold of it; nothing is left out."""
    return {"format": FORMAT, **{part: to_plain(getattr(snapshot, part)) for part in _PARTS}}


def decode(value: object) -> Snapshot:
    """Return what `encode` wrote; ValueError says what is not as it must be. Other keys beside its own are let be."""
    if not isinstance(value, dict):
        message = "a decision's snapshot is an object"
        raise ValueError(message)
    if value.get("format") != FORMAT:
        message = f"format: {FORMAT} is wanted, not {value.get('format')!r}"
        raise ValueError(message)
    for part in _PARTS:
        if part not in value:
            message = f"{part}: it is missing"
            raise ValueError(message)
    return Snapshot(
        from_plain(Facts, value["facts"], "facts"),
        from_plain(Memory, value["memory"], "memory"),
        from_plain(Decision, value["decision"], "decision"),
    )


def replay(snapshot: Snapshot) -> Decision:
    """Return what the present rules decide from the same facts and memory."""
    return decide(snapshot.facts, snapshot.memory)[0]


def differences(then: Decision, now: Decision) -> tuple[str, ...]:
    """Return in words what parts two decisions: field by field, of the trail rule by rule. Empty: they are equal."""
    found = []
    for field in fields(Decision):
        before, after = getattr(then, field.name), getattr(now, field.name)
        if before == after:
            continue
        if field.name == "trail":
            found += _of_trails(then, now)
        else:
            found.append(f"{field.name}: {_words(before)} -> {_words(after)}")
    return tuple(found)


def _of_trails(then: Decision, now: Decision) -> list[str]:
    before, after = ({step.rule: step for step in decision.trail} for decision in (then, now))
    found = []
    for rule in dict.fromkeys((*before, *after)):
        if before.get(rule) != after.get(rule):
            words = [
                f"{step.after.name} ({step.reason.value}) {step.evidence}".rstrip() if step else "silent"
                for step in (before.get(rule), after.get(rule))
            ]
            found.append(f"rule {rule}: {words[0]} -> {words[1]}")
    return found or ["the order of rules is another"]


def _words(value: object) -> str:
    name = getattr(value, "name", None)
    return name if isinstance(name, str) else "none" if value is None or value == "" else str(value)
