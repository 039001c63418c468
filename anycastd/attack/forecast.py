"""What each POP carries and loses under an attack: as it is, after each step, after each withdrawal. Pure.

A forecast is a likely value and the range over everything that is tried where nothing was measured (`flows.guesses`).
The range is no bound: of 138 loads that were measured after a withdrawal or a prepend none was above, 13 were below it.
"""

from __future__ import annotations

from dataclasses import dataclass

from anycastd.attack.assumed import notes
from anycastd.attack.flows import NOTHING, Flow, Flows, guesses, placed
from anycastd.attack.plan import Announcement, Plan, PlannedPop


@dataclass(frozen=True, slots=True)
class Load:
    """What one POP has. `full`: the fuller of bits and packets, 1 = all it can carry; `lost_bps`: what it drops."""

    flow: Flow = NOTHING
    full: float = 0.0
    announces: bool = True

    @property
    def carried(self) -> float:
        """Return the share of it that gets through; drops fall on clients and attack alike."""
        return 1.0 if self.full <= 1 else 1 / self.full

    @property
    def lost_bps(self) -> float:
        """Return the bits per second that it drops."""
        return self.flow.bps * (1 - self.carried)


Loads = dict[str, Load]


@dataclass(frozen=True, slots=True)
class Spread:
    """A value with the least and the most of all that was tried."""

    likely: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How things stand under one announcement: each POP's load, and the share of all clients' packets lost.

    `full` and `clients_lost` have the range; `loads` is the likely case. `dark`: no POP announces.
    """

    title: str
    loads: Loads
    full: dict[str, Spread]
    clients_lost: Spread
    dark: bool = False

    def over(self) -> tuple[str, ...]:
        """Return the POPs that have more than they can carry in the likely case."""
        return tuple(name for name, load in self.loads.items() if load.full > 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What `forecast` found. `notes`: what was taken from elsewhere because the plan does not say it."""

    now: Outcome
    steps: tuple[Outcome, ...]
    withdrawals: tuple[Outcome, ...]
    notes: tuple[str, ...]


def forecast(plan: Plan) -> Forecast:
    """Return what the plan comes to: steps one on top of the other, each withdrawal alone."""
    announcement, steps = Announcement(), []
    for number, step in enumerate(plan.steps, 1):
        announcement = step.after(announcement)
        steps.append(outcome(plan, announcement, f"{number}. {step.title}"))
    withdrawals = [
        outcome(plan, Announcement(withdrawn=frozenset({name})), f"{name} withdrawn") for name in plan.announcing
    ]
    return Forecast(
        now=outcome(plan, Announcement(), "as it is"),
        steps=tuple(steps),
        withdrawals=tuple(withdrawals),
        notes=tuple(notes(plan)),
    )


def outcome(plan: Plan, announcement: Announcement, title: str) -> Outcome:
    """Return how each POP stands under one announcement."""
    tried = [loads_of(plan, placed(plan, announcement, guess)) for guess in guesses(plan, announcement)]
    likely = tried[0]
    return Outcome(
        title=title,
        loads=likely,
        full={name: _spread([loads[name].full for loads in tried]) for name in plan.pops},
        clients_lost=_spread([clients_lost(loads) for loads in tried]),
        dark=not any(load.announces for load in likely.values()),
    )


def loads_of(plan: Plan, flows: Flows) -> Loads:
    """Return what every POP of the plan has; one that does not announce has nothing."""
    return {
        name: Load(flows[name], _full(pop, flows[name])) if name in flows else Load(announces=False)
        for name, pop in plan.pops.items()
    }


def clients_lost(loads: Loads) -> float:
    """Return the share of all clients' packets that gets lost; all of them when no POP announces."""
    announcing = [load for load in loads.values() if load.announces]
    if not announcing:
        return 1.0
    return min(sum(load.flow.clients * (1 - load.carried) for load in announcing), 1.0)


def _full(pop: PlannedPop, flow: Flow) -> float:
    by_packets = flow.pps / pop.capacity_pps if pop.capacity_pps else 0.0
    return max(flow.bps / pop.capacity_bps, by_packets)


def _spread(values: list[float]) -> Spread:
    return Spread(values[0], min(values), max(values))
