"""The steps of a real playbook in a forecast: what each would do at the POPs where it runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from anycastd.attack.flows import LIKELY, placed
from anycastd.attack.forecast import loads_of
from anycastd.attack.ladder import joining, marking, prepending, shunning
from anycastd.attack.plan import Announcement, Plan, Step
from anycastd.config.document import Document
from anycastd.config.playbooks import steps_of
from anycastd.errors import ConfigError, Problem
from anycastd.model.spread import PlayStep, StepKind


def with_playbook(plan: Plan, text: str, path: str, at: tuple[str, ...]) -> Plan:
    """Return the plan with a playbook's steps, run at these POPs (none: at those with too much); raise ConfigError."""
    document, steps = steps_of(text, path)
    where = at or _full(plan)
    if problems := tuple(_unknown(plan, document, steps, where)):
        raise ConfigError(problems)
    return replace(plan, steps=tuple(_step(plan, one, where) for one in steps))


def _full(plan: Plan) -> tuple[str, ...]:
    """Return the POPs that are over their capacity, else the fullest."""
    loads = loads_of(plan, placed(plan, Announcement(), LIKELY))
    over = tuple(name for name, load in loads.items() if load.full > 1)
    return over or (max(plan.announcing, key=lambda name: loads[name].full),)


def _unknown(plan: Plan, document: Document, steps: tuple[PlayStep, ...], where: tuple[str, ...]) -> Iterator[Problem]:
    for number, one in enumerate(steps):
        for name in where if one.kind is StepKind.SELECTIVE_NEIGHBORS else ():
            known = plan.pops[name].effects.neighbors
            if missing := [neighbor for neighbor in one.neighbors if neighbor not in known]:
                message = f"the plan does not say which share comes in by {missing[0]}: effects.{name}.neighbors"
                yield document.problem(("steps", number), message)


def _step(plan: Plan, step: PlayStep, where: tuple[str, ...]) -> Step:
    match step.kind:
        case StepKind.MORE_ANNOUNCERS:
            return joining(tuple(name for name, pop in plan.pops.items() if pop.standby))
        case StepKind.SELECTIVE_NEIGHBORS:
            return shunning({name: frozenset(step.neighbors) for name in where})
        case StepKind.COMMUNITIES:
            return _at_all(step, marking({name: frozenset(step.communities) for name in where}))
        case StepKind.PREPEND:
            return _at_all(step, prepending(dict.fromkeys(where, step.prepend)))


def _at_all(step: PlayStep, made: Step) -> Step:
    return replace(made, title=f"{made.title} (as if at all neighbors)") if step.neighbors else made
