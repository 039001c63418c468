"""The steps of a real playbook in a forecast: what each would do at the POPs where it runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pydantic import ValidationError

from anycastd.attack.flows import LIKELY, placed
from anycastd.attack.forecast import loads_of
from anycastd.attack.ladder import joining, marking, prepending, shunning
from anycastd.attack.plan import Announcement, Plan, Step
from anycastd.config.document import Document, parse
from anycastd.config.playbooks import step_of
from anycastd.config.schema.playbooks import PlaybookFile
from anycastd.config.validate import problems_of
from anycastd.errors import ConfigError, Problem
from anycastd.model.spread import PlayStep, StepKind


def with_playbook(plan: Plan, text: str, path: str, at: tuple[str, ...]) -> Plan:
    """Return the plan with a playbook's steps, run at these POPs (none: at those with too much); raise ConfigError."""
    document = parse(text, path)
    try:
        written = PlaybookFile.model_validate(document.value)
    except ValidationError as error:
        problems = (*document.problems, *problems_of(document, error.errors(include_url=False), PlaybookFile))
        raise ConfigError(tuple(sorted(set(problems)))) from error
    where = at or _full(plan)
    problems = (*document.problems, *_unknown(plan, document, written, where))
    if problems:
        raise ConfigError(problems)
    return replace(plan, steps=tuple(_step(plan, step_of(one), where) for one in written.steps))


def _full(plan: Plan) -> tuple[str, ...]:
    """Return the POPs that are over their capacity, else the fullest."""
    loads = loads_of(plan, placed(plan, Announcement(), LIKELY))
    over = tuple(name for name, load in loads.items() if load.full > 1)
    return over or (max(plan.announcing, key=lambda name: loads[name].full),)


def _unknown(plan: Plan, document: Document, written: PlaybookFile, where: tuple[str, ...]) -> Iterator[Problem]:
    for number, one in enumerate(written.steps):
        neighbors = one.selective_neighbors.neighbors if one.selective_neighbors is not None else ()
        for name in where:
            known = plan.pops[name].effects.neighbors
            if missing := [neighbor for neighbor in neighbors if neighbor not in known]:
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
