"""What the control loop costs as prefixes grow: one decision, the whole way, and one result that changes a verdict.

ExaBGP, the kernel and the probes are stand-ins that do nothing but remember; the loop itself is the real one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network

from anycastd.model.address import RegionName
from anycastd.model.kernel import KernelAction, KernelRoute, PutRoute, PutRule
from anycastd.model.probe import ProbeResult, Why
from anycastd.model.topology import Condition
from anycastd.policy.engine import decide
from tests.bench.configs import bulk
from tests.bench.figures import Figure, percentile
from tests.unit.runtime.world import Kernel, World, config

SIZES = (100, 1000, 8000)
ROUNDS = 9
GROWTH = 1.5
"""How much more than in proportion a step may cost at the largest size."""


class QuickKernel(Kernel):
    """The kernel, without looking through every route for each action."""

    def apply(self, actions: Sequence[KernelAction], /) -> None:
        routes: dict[object, KernelRoute] = {route.key: route for route in self.observed.routes or ()}
        rules = set(self.observed.rules)
        for action in actions:
            if isinstance(action, PutRoute):
                routes[action.route.key] = action.route
            elif isinstance(action, PutRule):
                rules.add(action.rule)
        self.observed = replace(self.observed, routes=frozenset(routes.values()), rules=frozenset(rules))


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians, in milliseconds."""

    prefixes: int
    decision_ms: float
    step_ms: float
    one_ms: float
    all_ms: float


def median_ms(action: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the median of what a call takes."""
    took = []
    for _ in range(rounds):
        begun_s = time.perf_counter()
        action()
        took.append((time.perf_counter() - begun_s) * 1000)
    return percentile(took, 0.5)


def _world(count: int) -> World:
    plain = config(prefixes=[ip_network(bulk(n)) for n in range(count)])
    first, *others = plain.prefixes.values()
    specs = {first.prefix: replace(first, announce_when=Condition(regions=(RegionName("us"),)))}
    specs |= {spec.prefix: replace(spec, announce_when=Condition(regions=(RegionName("eu"),))) for spec in others}
    made = World(replace(plain, prefixes=specs), kernel=QuickKernel())
    _answer(made, "", Why.ANSWERED)
    return made


def _answer(made: World, match: str, why: Why) -> float:
    """Give three results to each matching check; return how long (ms) the last took, which turns the verdict."""
    took_ms = 0.0
    for _ in range(3):
        made.now_s += 1.0
        for id_ in made.probes.specs:
            if match in id_:
                result = ProbeResult(id_, why, made.now_s, made.now_s)
                begun_s = time.perf_counter()
                made.control.on_result(result, made.now_s)
                took_ms = (time.perf_counter() - begun_s) * 1000
    return took_ms


def _flip(made: World, region: str, rounds: int = 3) -> float:
    """Return what the result costs that makes a region unusable, before anything else may be done; heal it after."""
    took_ms = []
    for _ in range(rounds):
        took_ms.append(_answer(made, f"backend/{region}/", Why.REFUSED))
        made.settle()
        _answer(made, f"backend/{region}/", Why.ANSWERED)
        # an hour later the prefix is normal again, and its change budget free
        made.now_s += 3600.0
        made.settle()
        made.due.clear()
    return percentile(took_ms, 0.5)


def measure(count: int) -> Cost:
    """Return what `count` prefixes cost."""
    made = _world(count)
    prefix = next(iter(made.control.config.prefixes))
    facts, memory = made.control._facts(prefix, made.now_s), made.control.memories[prefix]
    decision_ms = median_ms(lambda: [decide(facts, memory) for _ in range(1000)]) / 1000
    step_ms = median_ms(lambda: made.control.step(made.now_s), 3)
    return Cost(count, decision_ms, step_ms, _flip(made, "us"), _flip(made, "eu"))


def run() -> list[Figure]:
    """Measure every size."""
    costs = [measure(count) for count in SIZES]
    least, most = costs[0], costs[-1]
    figures = [Figure("one decision", f"{most.decision_ms * 1000:.0f} us")]
    allowed = GROWTH * most.prefixes / least.prefixes
    for name, values in (
        ("the whole way over everything", [cost.step_ms for cost in costs]),
        ("a result that turns every prefix but one", [cost.all_ms for cost in costs]),
    ):
        growth = values[-1] / values[0]
        missed = f"{name} grows {growth:.0f}-fold." if growth > allowed else ""
        measured = ", ".join(f"{value:.1f} ms for {cost.prefixes}" for value, cost in zip(values, costs, strict=True))
        budget = f"grows at most {allowed:.0f}-fold for {most.prefixes // least.prefixes} times the prefixes"
        figures.append(Figure(name, measured, ratio=f"{growth:.0f}", budget=budget, missed=missed))
    ones = [cost.one_ms for cost in costs]
    measured = ", ".join(f"{value:.2f} ms for {cost.prefixes}" for value, cost in zip(ones, costs, strict=True))
    missed = f"{ones[-1]:.1f} ms for one prefix among {most.prefixes}." if ones[-1] > 5.0 else ""
    figures.append(Figure("a result that turns one prefix among many", measured, budget="<= 5 ms", missed=missed))
    return figures


if __name__ == "__main__":
    for figure in run():
        print(figure)
