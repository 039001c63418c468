"""Never dark, by chance: fleets of two to five POPs under a virtual clock, with all that goes wrong in a network."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest

from anycastd.fleet.codec import BeaconRoute
from anycastd.model.decision import Level, Truth
from tests.simulation.never_dark import lines
from tests.simulation.never_dark.run import (
    ACK_S,
    DARK_S,
    DEADLY,
    HOP_S,
    KINDS,
    LAG_S,
    OF_STORE,
    PREFIXES,
    TIMERS,
    Event,
    Plan,
    Run,
    TooDark,
    plan_of,
    shrunk,
)

NOBODY_DIES = tuple(kind for kind in KINDS if kind not in DEADLY | {"revive", "crash", "restart", "uplink_up"})
DEATHS_ONLY = ("sick", "heal", "heal", "sick", "all_sick", "die", "die_loudly")
GAP_S = 0.1


def played(plan: Plan) -> Run:
    """Play a plan; one that fails is shrunk, and told as a story."""
    try:
        return Run(plan).play()
    except TooDark as error:
        least = shrunk(plan)
        run = Run(least, told=True)
        with pytest.raises(TooDark):
            run.play()
        story = "\n".join(run.told or [])
        pytest.fail(f"seed {plan.seed}, kinds as in the test: {error}\n{least}\n{story}")


def of_seeds(seeds: Iterable[int]) -> Iterator[Plan]:
    """Yield plans, in turn with and without deaths."""
    for seed in seeds:
        yield plan_of(seed, KINDS if seed % 2 else NOBODY_DIES)


def many(plans: Iterable[Plan], steps: int) -> None:
    """Play plans until so many steps are made."""
    made, left, worst_s, began_s, last = 0, 0, 0.0, time.monotonic(), 0
    for plan in plans:
        last, run = plan.seed, played(plan)
        made, left, worst_s = made + run.steps, left + run.left, max(worst_s, run.worst_s)
        if made >= steps:
            break
    took_s = time.monotonic() - began_s
    print(f"seeds to {last}: {made} steps, {left} withdrawals, worst dark {worst_s:.1f} s, in {took_s:.0f} s")
    assert made >= steps
    assert left > 100, "nobody ever leaves: nothing was tried"


def by(plan: Plan, seed: int) -> Plan:
    """Return the plan for a fleet that sees itself by the store, in turn with and without observers."""
    return replace(plan, by="store" if seed % 3 else "both")


def test_a_few_fleets() -> None:
    for seed in range(6):
        played(plan_of(seed, KINDS if seed % 2 else NOBODY_DIES, for_s=60.0))
        played(by(plan_of(seed, (*KINDS, *OF_STORE) if seed % 2 else (*NOBODY_DIES, *OF_STORE), for_s=60.0), seed))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fleets_by_the_store_that_is_cut_off_lost_and_rolled_back() -> None:
    many(
        (by(plan_of(seed, (*(KINDS if seed % 2 else NOBODY_DIES), *OF_STORE)), seed) for seed in range(10_000)), 60_000
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("line", "first"), [(lines.echo_ignored, 20), (lines.no_new_epochs, 27)],
                         ids=lambda value: getattr(value, "__name__", ""))  # fmt: skip
def test_each_line_is_needed_with_the_store_alone(
    line: lines.Line, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    line(monkeypatch)
    for seed in range(first, first + 300):
        try:
            Run(replace(plan_of(seed, (*NOBODY_DIES, *OF_STORE)), by="store")).play()
        except TooDark as error:
            print(f"seed {seed}: {error}")
            return
    pytest.fail("it is not needed: nothing is dark without it")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_million_steps_never_dark() -> None:
    many(of_seeds(range(100_000)), 1_000_000)


@pytest.mark.soak
@pytest.mark.timeout(7000)
def test_ten_million_steps_never_dark() -> None:
    """New seeds each time; ANYCASTD_SEED plays from the first of a failed run again."""
    first = int(os.environ.get("ANYCASTD_SEED") or time.time_ns() % 10**12)
    print(f"ANYCASTD_SEED={first}")
    many(of_seeds(range(first, first + 10**6)), 10_000_000)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_prefixes_in_parts_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    lines.in_parts(monkeypatch)
    many(of_seeds(range(60, 10_000)), 60_000)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("line", "kinds", "first", "keeps_s"), [
    (lines.echo_ignored, NOBODY_DIES, 10, 0.0), (lines.depref_counts, NOBODY_DIES, 0, 0.0),
    (lines.overstated, NOBODY_DIES, 0, 0.0), (lines.unguarded, NOBODY_DIES, 0, 0.0),
    (lines.parts_mixed, NOBODY_DIES, 614, 0.0), (lines.never_back, KINDS, 0, 0.0),
    (lines.blind_for_ever, KINDS, 252, 0.0), (lines.never_stale, DEATHS_ONLY, 0, 100.0),
], ids=lambda value: getattr(value, "__name__", ""))  # fmt: skip
def test_each_line_of_the_guard_is_needed(
    line: lines.Line, kinds: tuple[str, ...], first: int, keeps_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dark is rare without some of them: `first` is a little before a seed that shows it."""
    line(monkeypatch)
    for seed in range(first, first + 500):
        try:
            Run(plan_of(seed, kinds, keeps_s=keeps_s)).play()
        except TooDark as error:
            print(f"seed {seed}: {error}")
            return
    pytest.fail("it is not needed: nothing is dark without it")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("keeps_s", [0.0, 100.0], ids=["", "observers keep what is dead"])
def test_deaths_make_dark_for_no_longer_than_they_must(keeps_s: float) -> None:
    """T_dark is never exceeded (`played` fails), and nearly reached: it is no bound of convenience."""
    worst_s = max(played(plan_of(seed, DEATHS_ONLY, keeps_s=keeps_s)).worst_s for seed in range(150))
    print(f"T_dark {DARK_S:.2f} s, worst {worst_s:.2f} s")
    assert DARK_S - 3.5 < worst_s <= DARK_S


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_with_two_wanted_one_death_at_any_moment_makes_nothing_dark() -> None:
    """A5, with all else that goes wrong but a second death."""
    for seed in range(40):
        plan = plan_of(seed, NOBODY_DIES, pops=3 + seed % 3)
        death = Event(20.0 + 3.3 * seed, "die", 1 + seed % plan.pops, 1)
        events = tuple(sorted((*plan.events, death), key=lambda event: event.at_s))
        played(replace(plan, events=events, wanted=2, excused=False))


@pytest.mark.parametrize("pops", [2, 3, 4, 5])
def test_a_pop_that_alone_is_sick_is_out_in_its_time(pops: int) -> None:
    """Liveness: DEPREF at once; gone after settle and one round trip, with a beacon held back by its gap each way."""
    for seed in range(8):
        plan = Plan(seed, pops, None, 0.0, (Event(10.0, "sick", 1, 1),), 10.0 + out_s())
        run = played(plan)
        assert [run.nodes[1].wire[prefix] for prefix in PREFIXES] == [Level.WITHDRAWN] * 2
        run = played(replace(plan, end_s=10.0 + LAG_S))
        assert [run.nodes[1].wire[prefix] for prefix in PREFIXES] == [Level.DEPREF] * 2


def out_s() -> float:
    round_trip_s = 2 * (2 * HOP_S + GAP_S)
    return LAG_S + round_trip_s + LAG_S + TIMERS.settle_s + 0.01


@pytest.mark.parametrize("pops", [2, 4])
def test_of_all_that_are_sick_the_first_that_heals_is_normal_soon(pops: int) -> None:
    """L2: without the hold-down, since nobody else is NORMAL; the flap budget is all that it waits for."""
    events = (Event(10.0, "all_sick", 1, 1), Event(60.0, "heal", 2, 1))
    for seed in range(4):
        run = played(Plan(seed, pops, None, 0.0, events, 60.0 + LAG_S + ACK_S + 0.01))
        assert all(node.wire[prefix] is Level.DEPREF for node in run.nodes.values() if node is not run.nodes[2]
                   for prefix in PREFIXES)  # fmt: skip
        assert [run.nodes[2].wire[prefix] for prefix in PREFIXES] == [Level.NORMAL] * 2


def test_of_pops_that_are_drained_together_as_many_stay_as_are_wanted() -> None:
    """By intent and rank: those that stay were never depreferenced, though all were asked to go at one moment."""
    for pops, wanted in ((2, 1), (3, 1), (4, 2), (5, 2)):
        events = tuple(Event(10.0, "drain", number, 1) for number in range(1, pops + 1))
        run = played(Plan(pops, pops, wanted, 0.0, events, 40.0))
        for prefix in PREFIXES:
            levels = sorted(node.wire[prefix] for node in run.nodes.values())
            assert levels == [Level.WITHDRAWN] * (pops - wanted) + [Level.NORMAL] * wanted


def recorded(seed: int) -> Run:
    """Play a death while the daemon of the POP that had left is away, and what the dead one said once, from then on."""
    events = (Event(10.0, "sick", 1, 1), Event(20.0, "crash", 1, 1), Event(21.0, "die_loudly", 2, 1),
              Event(32.0, "restart", 1, 1))  # fmt: skip
    run = Run(Plan(seed, 2, None, 0.0, events, 90.0))
    tape: list[list[BeaconRoute]] = []
    for second in range(20):
        run.at(second + 0.5, lambda: tape.append(list(run.nodes[2].routes.items())))
    for second in range(40):
        run.at(32.5 + second, lambda at=second: run._to_pop(1, 1, tape[at // 2]))  # type: ignore[misc]
    return run


def test_a_recording_of_a_dead_pop_keeps_nothing_dark_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(4):
        run = recorded(seed).play()
        assert all(run.nodes[1].wire[prefix] is Level.DEPREF for prefix in PREFIXES)
    lines.recordings_believed(monkeypatch)
    with pytest.raises(TooDark):
        recorded(0).play()


@pytest.mark.slow
def test_a_failing_plan_is_shrunk_to_its_story(monkeypatch: pytest.MonkeyPatch) -> None:
    lines.unguarded(monkeypatch)
    plan = plan_of(0, NOBODY_DIES, for_s=40.0)
    with pytest.raises(TooDark):
        Run(plan).play()
    least = shrunk(plan)
    assert len(least.events) <= plan.pops
    assert {event.kind for event in least.events} <= {"sick", "all_sick", "drain"}


def test_the_same_seed_plays_the_same_run() -> None:
    one, two = (Run(plan_of(3, for_s=60.0), told=True).play() for _ in range(2))
    assert (one.steps, one.told, one.worst_s) == (two.steps, two.told, two.worst_s)
    assert {node.condition for node in one.nodes.values()} <= set(Truth)
