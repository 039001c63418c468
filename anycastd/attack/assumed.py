"""What a forecast assumes because its plan does not say it: each in a sentence, with its range and source. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from anycastd.attack.measured import COMMUNITY, JOIN, NEIGHBOR, ONE_TAKES, PREPEND, SOURCE, SPREAD_ERROR_POINTS
from anycastd.attack.plan import Announcement, Plan

MOST_NAMED = 8


def notes(plan: Plan) -> Iterator[str]:
    """Yield what is assumed, and last where the figures are from."""
    mean, most = SPREAD_ERROR_POINTS
    if unknown := [name for name in plan.announcing if not plan.pops[name].effects.withdrawn]:
        yield (
            f"where traffic of {_list(unknown)} goes is not known. Likely: to the others in proportion to their "
            f"catchments (wrong by {mean} points of all clients on average, {most} at most); range: up to "
            f"{ONE_TAKES:.0%} of it to any one POP"
        )
    yield from _of_steps(plan)
    if blind := [name for name, pop in plan.pops.items() if pop.capacity_pps and not pop.usual_pps and pop.usual_bps]:
        yield f"usual packets of {_list(blind)} are not known and counted as none"
    yield f"figures that are not of your own: {SOURCE}"


def _of_steps(plan: Plan) -> Iterator[str]:
    announcement = Announcement()
    for step in plan.steps:
        announcement = step.after(announcement)
    for times in sorted({times for step in plan.steps for times in step.prepends.values() if times}):
        at = [name for step in plan.steps for name, number in step.prepends.items() if number == times]
        if unknown := [name for name in at if times not in plan.pops[name].effects.prepend]:
            yield f"prepend {times} at {_list(unknown)}: {PREPEND[times]}"
    if unknown := [
        f"{community} at {name}"
        for name, communities in announcement.communities.items()
        for community in sorted(communities)
        if community not in plan.pops[name].effects.communities
    ]:
        yield f"communities {_list(unknown)}: {COMMUNITY}"
    if announcement.shunned:
        yield (
            f"of what comes in by a neighbor where less is announced {NEIGHBOR.likely:.0%} leaves the POP "
            f"({NEIGHBOR.low:.0%} to {NEIGHBOR.high:.0%}): a guess, nobody measured it"
        )
    if unknown := [name for name in announcement.joined if not plan.pops[name].effects.joins]:
        yield (
            f"{_list(unknown)} joining draws an even share of all clients ({JOIN.low:g} to {JOIN.high:g} times that)"
        )


def _list(names: Iterable[str]) -> str:
    found = list(dict.fromkeys(names))
    return ", ".join(found) if len(found) <= MOST_NAMED else f"{', '.join(found[:MOST_NAMED])} and others"
