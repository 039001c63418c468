"""Composed rules: at least so many of parts, of things, of parts of parts. Three-valued and pure.

What is UNKNOWN or INITIAL may turn out either way. No rule can say "not", so a rule is TRUE exactly if it holds
whatever the unknown turns out to be, and FALSE exactly if it holds never; and what gets healthier never makes it worse.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from anycastd.model.decision import Truth
from anycastd.model.health import Health
from anycastd.model.topology import AtLeast, Condition, Group, Member, Need, Rule


class Value(NamedTuple):
    """What a rule comes to.

    `detail` is a sentence saying what it was made from; `first`: first verdicts are awaited; `well`: its value if
    what is DEGRADED did not count.
    """

    truth: Truth
    detail: str = ""
    first: bool = False
    well: Truth = Truth.UNKNOWN


Leaf = Condition | Member | Group
Look = Callable[[Leaf], Mapping[str, Health]]
"""Returns what a leaf counts, by name, with what is believed of each."""


def value_of(rule: Rule, look: Look) -> Value:
    """Return what a rule comes to. What is DEGRADED is usable."""
    if isinstance(rule, AtLeast):
        return _of_parts(rule, [value_of(part, look) for part in rule.parts])
    states = look(rule)
    need = Need(all=True) if isinstance(rule, Member) else rule.need
    strict = [Health.UNHEALTHY if state is Health.DEGRADED else state for state in states.values()]
    truth = _enough(need, [_truth_of(state) for state in states.values()])
    well = _enough(need, [_truth_of(state) for state in strict])
    first = any(state is Health.INITIAL for state in states.values())
    return Value(truth, _sentence(rule, states, truth), first, well)


def _of_parts(rule: AtLeast, parts: Sequence[Value]) -> Value:
    truth = _enough(rule.need, [part.truth for part in parts])
    well = _enough(rule.need, [part.well for part in parts])
    told = [part.detail for part in parts if part.truth is truth]
    detail = "; ".join(told)
    if truth is Truth.FALSE:
        holding = sum(part.truth is Truth.TRUE for part in parts)
        detail = f"{holding} of {len(parts)} parts hold, {rule.need} wanted; missing: ({'), ('.join(told)})"
    return Value(truth, detail, any(part.first for part in parts), well)


def _truth_of(state: Health) -> Truth:
    if state.is_usable:
        return Truth.TRUE
    return Truth.FALSE if state is Health.UNHEALTHY else Truth.UNKNOWN


def _enough(need: Need, truths: Collection[Truth]) -> Truth:
    wanted = need.of(len(truths))
    if sum(truth is Truth.TRUE for truth in truths) >= wanted:
        return Truth.TRUE
    possible = sum(truth is not Truth.FALSE for truth in truths)
    return Truth.FALSE if possible < wanted else Truth.UNKNOWN


def _sentence(rule: Leaf, states: Mapping[str, Health], truth: Truth) -> str:
    if isinstance(rule, Member):
        state = states[rule.id]
        degraded = " (degraded)" if state is Health.DEGRADED else ""
        words = {Truth.TRUE: f"{rule} usable{degraded}", Truth.FALSE: f"{rule} not usable"}
        return words.get(truth, f"cannot tell yet of {rule}")
    what = rule.scope.value if isinstance(rule, Condition) else f"members of group {rule.name}"
    usable = [name for name, state in states.items() if state.is_usable]
    if truth is Truth.TRUE:
        named = (f"{name} (degraded)" if states[name] is Health.DEGRADED else name for name in usable)
        return f"{what} usable: {', '.join(named)}"
    if truth is Truth.FALSE:
        unusable = [name for name, state in states.items() if state is Health.UNHEALTHY]
        wanted = f"{len(usable)} of {len(states)} {what} usable, {rule.need} wanted"
        return f"{wanted}; not usable: {', '.join(unusable)}" if unusable else wanted
    unclear = [name for name, state in states.items() if not state.is_verdict]
    return f"cannot tell yet of {what}: {', '.join(unclear)}"
