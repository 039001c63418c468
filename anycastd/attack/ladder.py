"""The steps that a plan without steps is looked at with: those of a playbook, mildest first. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from anycastd.attack.flows import LIKELY, placed
from anycastd.attack.forecast import loads_of
from anycastd.attack.plan import MOST_PREPENDS, Announcement, Plan, Step


def with_steps(plan: Plan) -> Plan:
    """Return the plan; if it has no steps, with these: standby POPs join, then who is over prepends 1, 2, 3 times."""
    return plan if plan.steps else replace(plan, steps=tuple(_usual(plan)))


def _usual(plan: Plan) -> Iterator[Step]:
    if standby := tuple(name for name, pop in plan.pops.items() if pop.standby):
        yield joining(standby)
    over = [name for name, load in loads_of(plan, placed(plan, Announcement(), LIKELY)).items() if load.full > 1]
    if over and len(over) < len(plan.announcing) + len(standby):
        for times in range(1, MOST_PREPENDS + 1):
            yield prepending(dict.fromkeys(over, times))


def joining(names: tuple[str, ...]) -> Step:
    """Return the step `more_announcers`."""
    return Step(title=f"more announcers: {', '.join(names) or 'nobody is standby'}", joined=names)


def prepending(times: dict[str, int]) -> Step:
    """Return the step `prepend`."""
    numbers = dict.fromkeys(times.values())
    texts = [f"prepend {number}: {', '.join(name for name in times if times[name] == number)}" for number in numbers]
    return Step(title="; ".join(texts), prepends=times)


def shunning(neighbors: dict[str, frozenset[str]]) -> Step:
    """Return the step `selective_neighbors`."""
    texts = [f"{name} less at {', '.join(sorted(some))}" for name, some in neighbors.items()]
    return Step(title=f"selective neighbors: {'; '.join(texts)}", shunned=neighbors)


def marking(communities: dict[str, frozenset[str]]) -> Step:
    """Return the step `communities`."""
    texts = [f"{' '.join(sorted(some))} at {name}" for name, some in communities.items()]
    return Step(title=f"communities: {'; '.join(texts)}", communities=communities)
