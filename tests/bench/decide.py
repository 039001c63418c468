"""What the control loop costs as prefixes grow: one decision, the whole way, and one result that changes a verdict.

ExaBGP, the kernel and the probes are stand-ins that do nothing but remember; the loop itself is the real one.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_network

from anycastd.model.address import RegionName
from anycastd.model.kernel import DeleteRoute, KernelAction, KernelRoute, PutRoute, PutRule
from anycastd.model.probe import ProbeResult, Why
from anycastd.model.topology import Condition
from anycastd.policy.engine import decide
from anycastd.runtime.loop.prefix_facts import facts_of
from anycastd.runtime.process.garbage import Garbage
from tests.bench.configs import bulk
from tests.bench.figures import Figure, percentile
from tests.unit.runtime.world import Kernel, World, config

SIZES = (100, 1000, 8000)
ROUNDS = 9
GARBAGE = Garbage(0.0)
"""Collected after each bite, as the daemon does, and not when CPython's own count says so: that took 70 ms at once."""
GROWTH = 1.5
"""How much more than in proportion a step may cost at the largest size."""
HOLD_BUDGET_MS = 25.0
"""A failover of another prefix waits behind it."""


class QuickKernel(Kernel):
    """The kernel, without looking through every route for each action."""

    def apply(self, actions: Sequence[KernelAction], /) -> None:
        if not actions:
            return
        routes: dict[object, KernelRoute] = {route.key: route for route in self.observed.routes or ()}
        rules = set(self.observed.rules)
        for action in actions:
            if isinstance(action, PutRoute):
                routes[action.route.key] = action.route
            elif isinstance(action, DeleteRoute):
                routes.pop(action.route.key, None)
            elif isinstance(action, PutRule):
                rules.add(action.rule)
        self.observed = replace(self.observed, routes=frozenset(routes.values()), rules=frozenset(rules))


@dataclass(frozen=True, slots=True)
class Spell:
    """How long something took in all, and how long the loop was held up at a time (ms)."""

    whole_ms: float
    hold_ms: float


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians."""

    prefixes: int
    decision_ms: float
    step: Spell
    one: Spell
    many: Spell


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
    _settle(made)
    _answer(made, "", Why.ANSWERED)
    _settle(made)
    return made


def _spell(made: World, action: Callable[[], None]) -> Spell:
    """Return what an action costs, with all that it asks to be done at once after it."""
    whole_ms = hold_ms = 0.0
    while True:
        begun_s = time.perf_counter()
        action()
        GARBAGE.step()
        took_ms = (time.perf_counter() - begun_s) * 1000
        whole_ms, hold_ms = whole_ms + took_ms, max(hold_ms, took_ms)
        if not any(at_s <= made.now_s for at_s in made.due):
            return Spell(whole_ms, hold_ms)
        made.due = [at_s for at_s in made.due if at_s > made.now_s]
        action = partial(made.control.on_due, made.now_s)


def _settle(made: World) -> None:
    """Let everything be acknowledged and followed."""
    while True:
        _spell(made, partial(made.control.on_observed, made.now_s))
        if not made.speaker.queue:
            return
        made.speaker.ack()


def _answer(made: World, match: str, why: Why) -> Spell:
    """Give three results to each matching check; return what the last cost, which turns the verdict."""
    spell = Spell(0.0, 0.0)
    for _ in range(3):
        made.now_s += 1.0
        for id_ in made.probes.specs:
            if match in id_:
                result = ProbeResult(id_, why, made.now_s, made.now_s)
                spell = _spell(made, partial(made.control.on_result, result, made.now_s))
    return spell


def _flip(made: World, region: str, rounds: int = 3) -> Spell:
    """Return what the result costs that makes a region unusable; heal it after."""
    spells = []
    for _ in range(rounds):
        spells.append(_answer(made, f"backend/{region}/", Why.REFUSED))
        _settle(made)
        _answer(made, f"backend/{region}/", Why.ANSWERED)
        # an hour later the prefix is normal again, and its change budget free
        made.now_s += 3600.0
        _settle(made)
    return _median(spells)


def _median(spells: Sequence[Spell]) -> Spell:
    return Spell(percentile([s.whole_ms for s in spells], 0.5), percentile([s.hold_ms for s in spells], 0.5))


def measure(count: int) -> Cost:
    """Return what `count` prefixes cost."""
    made = _world(count)
    GARBAGE.begin()
    prefix = next(iter(made.control.config.prefixes))
    facts, memory = facts_of(made.control, prefix, made.now_s), made.control.memories[prefix]
    decision_ms = median_ms(lambda: [decide(facts, memory) for _ in range(1000)]) / 1000
    step = _median([_spell(made, partial(made.control.step, made.now_s)) for _ in range(3)])
    return Cost(count, decision_ms, step, _flip(made, "us"), _flip(made, "eu"))


def _figures(name: str, spells: Sequence[Spell]) -> list[Figure]:
    allowed = GROWTH * SIZES[-1] / SIZES[0]
    growth, hold_ms = spells[-1].whole_ms / spells[0].whole_ms, spells[-1].hold_ms
    whole = ", ".join(f"{spell.whole_ms:.1f} ms for {count}" for spell, count in zip(spells, SIZES, strict=True))
    holds = ", ".join(f"{spell.hold_ms:.1f} ms for {count}" for spell, count in zip(spells, SIZES, strict=True))
    return [
        Figure(
            f"{name}: in all",
            whole,
            ratio=f"{growth:.0f}",
            budget=f"grows at most {allowed:.0f}-fold for {SIZES[-1] // SIZES[0]} times the prefixes",
            missed=f"It grows {growth:.0f}-fold." if growth > allowed else "",
        ),
        Figure(
            f"{name}: longest hold of the loop",
            holds,
            budget=f"<= {HOLD_BUDGET_MS:.0f} ms for {SIZES[-1]}",
            missed=f"The loop is held up for {hold_ms:.0f} ms." if hold_ms > HOLD_BUDGET_MS else "",
        ),
    ]


def run() -> list[Figure]:
    """Measure every size."""
    before = gc.get_threshold()
    costs = [measure(count) for count in SIZES]
    gc.set_threshold(*before)
    gc.unfreeze()
    return [
        Figure("one decision", f"{costs[-1].decision_ms * 1000:.0f} us"),
        *_figures("the whole way over everything", [cost.step for cost in costs]),
        *_figures("a result that turns every prefix but one", [cost.many for cost in costs]),
        _figures("a result that turns one prefix among many", [cost.one for cost in costs])[1],
    ]


if __name__ == "__main__":
    for figure in run():
        print(figure)
