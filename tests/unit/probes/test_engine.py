"""The engine: what runs when, what is told, and what our own lateness may not do."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from anycastd.model.checks import CheckKind, LinkOptions, Timing
from anycastd.model.probe import Outcome, ProbeResult, Why
from anycastd.probes.engine import Engine
from tests.unit.probes.world import OK, Probing, Server, answer, hang, http, probing, server, spec, tcp, unused_port

pytestmark = pytest.mark.slow
"""Real sockets and real time: 15 s in all, most of it waiting."""

SLOW = Timing(interval_s=3600.0)


def stand_still(seconds: float) -> None:
    """Hold the event loop: that is what is tested."""
    select.select([], [], [], seconds)


def descriptors() -> set[str]:
    """Return what this process has open."""
    return {path.name for path in Path("/proc/self/fd").iterdir()}


async def served(running: Server, count: int) -> None:
    """Wait until the server has taken so many connections, each with the script of that moment."""
    async with asyncio.timeout(5.0):
        while running.requests < count:  # noqa: ASYNC110 (a thread counts)
            await asyncio.sleep(0)


async def started(probe: Probing, count: int) -> None:
    """Wait until so many probes were started."""
    async with asyncio.timeout(5.0):
        while probe.engine.stats.started < count:  # noqa: ASYNC110 (the engine has no event for it)
            await asyncio.sleep(0)


async def test_hang_is_found_in_fall_intervals_and_a_timeout() -> None:
    """Probes overlap: with the timeout four times the interval, three failures take 2 x 0.1 + 0.4 s, not 1.2 s."""
    with server(answer(OK)) as running:
        async with probing() as probe:
            probe.engine.set_probes([http(running.port, timing=Timing(interval_s=0.1, timeout_s=0.4))])
            await probe.until("good", lambda: len(probe.results) >= 2)
            running.script = hang
            changed_s = asyncio.get_running_loop().time()

            def failures() -> list[ProbeResult]:
                return [result for result in probe.results if result.why is Why.TIMEOUT]

            await probe.until("three failures", lambda: len(failures()) >= 3)
    assert 0.4 <= failures()[2].ended_s - changed_s <= 0.9


async def test_in_flight_is_bounded() -> None:
    """As many as fit into the timeout, and one; what does not is counted."""
    with server(hang) as running:
        async with probing() as probe:
            probe.engine.set_probes([http(running.port, timing=Timing(interval_s=0.2, timeout_s=0.4))])
            await started(probe, 1)
            for _ in range(20):
                probe.engine.nudge(http(1).id)
                await asyncio.sleep(0.005)
            assert probe.engine.stats.running == 3
            assert probe.engine.stats.skipped > 0


async def test_overtaken_result_is_marked() -> None:
    """A probe that hangs ends after a newer one has told that the target is well: it is told, and known as old."""
    with server(hang) as running:
        async with probing() as probe:
            probe.engine.set_probes([http(running.port, timing=Timing(interval_s=0.1, timeout_s=0.5))])
            await served(running, 1)
            running.script = answer(OK)
            await probe.until("the loss and eight answers", lambda: len(probe.results) >= 9)
            assert probe.engine.stats.overtaken >= 1
    assert {result.why for result in probe.results if not result.overtaken} == {Why.ANSWERED}
    assert {result.why for result in probe.results if result.overtaken} == {Why.TIMEOUT}
    starts = [result.started_s for result in probe.results if not result.overtaken]
    assert starts == sorted(starts)
    numbers = {result.number: result.started_s for result in probe.results}
    assert sorted(numbers) == sorted(numbers, key=lambda number: numbers[number])
    assert min(numbers) == 1


async def test_single_loss_shows_when_timeout_is_the_interval() -> None:
    """The default timing: a lost probe is told before the next one can overtake it."""
    with server(hang) as running:
        async with probing() as probe:
            probe.engine.set_probes([http(running.port, timing=Timing(interval_s=0.2, timeout_s=0.2))])
            for _ in range(3):
                seen = len(probe.results)
                running.script = hang
                await served(running, running.requests + 1)
                running.script = answer(OK)
                await probe.until("lost and well", lambda seen=seen: len(probe.results) >= seen + 3)  # type: ignore[misc]
            assert probe.engine.stats.overtaken == 0
    assert [result.why for result in probe.results].count(Why.TIMEOUT) >= 3


async def test_late_start_does_not_hide_a_loss() -> None:
    """A probe that starts 15 ms late still times out before the next one, due when its time is up, can overtake it."""
    loop = asyncio.get_running_loop()
    with server(hang) as running:
        async with probing() as probe:
            probe.engine.set_probes([http(running.port, timing=Timing(interval_s=0.3, timeout_s=0.3))])
            loop.call_at(probe.engine._next_start() - 0.002, stand_still, 0.015)
            await served(running, 1)
            running.script = answer(OK)
            await probe.until("two results", lambda: len(probe.results) >= 2)
    assert [result.why for result in probe.results[:2]] == [Why.TIMEOUT, Why.ANSWERED]


@pytest.mark.parametrize(
    ("held_s", "delay_s", "expected"),
    [(0.5, 0.15, {Why.LOOP_LATE, Why.ANSWERED}), (0.12, 0.25, {Why.ANSWERED})],
    ids=["long: our own fault", "short: the time is given back"],
)
async def test_our_own_loop_standing_still(held_s: float, delay_s: float, expected: set[Why]) -> None:
    """The target answers in time, we come late: never its fault."""
    with server(answer(OK, delay_s=delay_s)) as running:
        async with probing() as probe:
            probe.engine.set_probes([http(running.port, timing=Timing(interval_s=3600.0, timeout_s=0.3))])
            for round_ in range(2):
                probe.engine.nudge(http(1).id)
                await started(probe, round_ + 1)
                stand_still(held_s)
                await probe.until("ended", lambda count=round_: len(probe.results) > count)  # type: ignore[misc]
    assert probe.whys() <= expected
    assert probe.engine.stats.stalled_s > 0.2


async def test_answer_that_came_while_we_stood_still_counts() -> None:
    """The socket is looked at once more before the deadline counts."""
    with server(answer(OK, delay_s=0.1)) as running:
        async with probing() as probe:
            probe.engine.set_probes([http(running.port, timing=Timing(interval_s=3600.0, timeout_s=0.3))])
            await started(probe, 1)
            await asyncio.sleep(0.05)
            stand_still(0.5)
            await probe.until("ended", lambda: bool(probe.results))
    assert probe.whys() == {Why.ANSWERED}


async def test_hang_is_found_although_our_loop_is_slow() -> None:
    """Time given back is bounded: with 40 ms lost in each 100 ms a hanging target still fails."""
    with server(hang) as running:
        async with probing() as probe:
            probe.engine.set_probes([http(running.port, timing=Timing(interval_s=0.2, timeout_s=0.4))])
            loop = asyncio.get_running_loop()

            def drag() -> None:
                stand_still(0.04)
                timers.append(loop.call_later(0.1, drag))

            timers = [loop.call_later(0.1, drag)]
            await probe.until("found", lambda: Why.TIMEOUT in probe.whys())
            timers[-1].cancel()


async def test_set_probes_is_a_difference() -> None:
    """An unchanged check keeps its phase, a changed one starts anew, a removed one ends without a word."""
    with server(answer(OK)) as good, server(hang) as bad:
        timing = Timing(interval_s=0.2, timeout_s=0.4)
        kept, removed = http(good.port, name="kept", timing=timing), http(bad.port, name="removed", timing=timing)
        async with probing() as probe:
            probe.engine.set_probes([kept, removed])
            await probe.until("kept ran", lambda: len(probe.of("kept")) >= 2)
            probe.engine.set_probes([replace(kept), http(good.port, name="new", timing=timing)])
            assert probe.engine.stats.running <= 1
            seen = len(probe.of("removed"))
            await probe.until("kept ran on", lambda: len(probe.of("kept")) >= 5 and len(probe.of("new")) >= 2)
            assert len(probe.of("removed")) == seen
            probe.engine.set_probes([replace(kept, target=spec(CheckKind.LINK, LinkOptions(), target="::1").target)])
            await probe.until("changed", lambda: probe.of("kept")[-1].why is Why.REFUSED)
            starts = [result.started_s for result in probe.of("kept") if result.why is Why.ANSWERED]
            gaps = [b - a for a, b in pairwise(starts)]
            assert all(0.15 < gap < 0.26 for gap in gaps), gaps


async def test_pending_runs_at_the_fast_interval() -> None:
    """From the moment it is said, and no longer than that."""
    with server(answer(OK)) as running:
        timing = Timing(interval_s=3600.0, timeout_s=0.2, fast_interval_s=0.1)
        async with probing() as probe:
            await probe.first(http(running.port, timing=timing))
            probe.engine.pending(http(1).id, True)
            await probe.until("fast", lambda: len(probe.results) >= 5, 2.0)
            probe.engine.pending(http(1).id, False)
            probe.engine.pending("unknown", True)  # type: ignore[arg-type]
            await probe.until("the last fast one", lambda: len(probe.results) >= 6)
            assert probe.engine._next_start() - asyncio.get_running_loop().time() > 1.0


async def test_first_results_come_soon() -> None:
    """Within about a second, with an interval of an hour; spread, not all at once."""
    port = unused_port()
    async with probing() as probe:
        probe.engine.set_probes([tcp(port, name=f"c{n}", timing=SLOW) for n in range(200)])
        await probe.until("all", lambda: len(probe.results) == 200, 3.0)
        starts = sorted(result.started_s for result in probe.results)
        assert starts[-1] - starts[0] > 0.8
        assert starts[100] - starts[0] > 0.3


async def test_nothing_is_left_after_a_thousand_probes() -> None:
    """No descriptor of ours survives, whether probes ended, were cancelled, or hang at the end."""
    before = descriptors()
    timing = Timing(interval_s=0.1, timeout_s=0.5)
    with server(answer(OK)) as running, server(hang) as holding:
        async with probing() as probe:
            refused = [tcp(unused_port(), name=f"r{n}", timing=timing) for n in range(60)]
            good = [tcp(running.port, name=f"g{n}", timing=timing) for n in range(60)]
            hanging = [http(holding.port, name=f"h{n}", timing=Timing(interval_s=1.0)) for n in range(5)]
            probe.engine.set_probes([*refused, *good, *hanging])
            await probe.until("a thousand", lambda: len(probe.results) >= 1000, 10.0)
            assert probe.engine.stats.sockets_open > 0
            probe.engine.set_probes([])
            assert (probe.engine.stats.sockets_open, probe.engine.stats.running) == (0, 0)
            probe.engine.set_probes(hanging)
            await started(probe, probe.engine.stats.started + 2)
        probe.engine.close()
    # the event loop itself holds what it held before
    assert len(descriptors()) <= len(before)


async def test_a_result_may_change_the_probes() -> None:
    """The callback runs inside the engine; from there everything may be called, close() too."""
    seen: list[ProbeResult] = []
    calls: list[Callable[[Engine], None]] = [
        lambda engine: engine.set_probes([tcp(9, name="b", source="192.0.2.1")]),
        lambda engine: engine.nudge("b"),  # type: ignore[arg-type]
        lambda engine: engine.close(),
    ]
    done = asyncio.Event()

    def take(result: ProbeResult) -> None:
        seen.append(result)
        calls[len(seen) - 1](engine)
        if len(seen) == len(calls):
            done.set()

    engine = Engine(asyncio.get_running_loop(), take, dict)
    engine.set_probes([tcp(unused_port(), name="a")])
    await asyncio.wait_for(done.wait(), 5.0)
    assert [result.check for result in seen] == ["a", "b", "b"]
    assert seen[1].outcome is Outcome.BROKEN


async def test_a_callback_that_raises_loses_no_other_result() -> None:
    """The error goes to the loop's exception handler, and the batch goes on."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context.get("exception")))
    seen: list[ProbeResult] = []
    done = asyncio.Event()

    def take(result: ProbeResult) -> None:
        seen.append(result)
        if len(seen) == 3:
            raise ZeroDivisionError
        if len(seen) >= 30:
            done.set()

    engine = Engine(asyncio.get_running_loop(), take, dict)
    with server(answer(OK)) as running:
        timing = Timing(interval_s=0.5, timeout_s=0.5)
        engine.set_probes([http(running.port, name=f"c{n}", timing=timing) for n in range(10)])
        await asyncio.wait_for(done.wait(), 5.0)
    engine.close()
    assert [type(error) for error in told] == [ZeroDivisionError]
    assert {result.why for result in seen} == {Why.ANSWERED}


async def test_suspended_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was in flight while the machine slept is not the target's fault; CLOCK_BOOTTIME shows it."""
    with server(hang) as running:
        async with probing() as probe:
            probe.engine.set_probes([http(running.port, timing=Timing(interval_s=0.5, timeout_s=0.2))])
            await started(probe, 1)
            real = time.clock_gettime
            slept_s = {time.CLOCK_BOOTTIME: 60.0}
            monkeypatch.setattr(time, "clock_gettime", lambda clock: real(clock) + slept_s.get(clock, 0.0))
            await probe.until("found when it is awake again", lambda: len(probe.results) >= 2)
    assert [result.why for result in probe.results] == [Why.LOOP_LATE, Why.TIMEOUT]


async def test_many_nudges_leave_nothing() -> None:
    """Slots made void by nudges do not pile up until their time."""
    async with probing() as probe:
        probe.engine.set_probes([tcp(unused_port(), timing=SLOW)])
        for _ in range(1000):
            probe.engine.nudge(tcp(1).id)
        assert len(probe.engine._heap) < 100


async def test_a_link_is_looked_at_at_once() -> None:
    """What netlink told is at hand, and at a start a tunnel waits for it."""
    async with probing() as probe:
        link = spec(CheckKind.LINK, LinkOptions(), target="::1")
        probe.engine.set_probes([link])
        assert probe.engine._checks[link.id].next_s <= asyncio.get_running_loop().time()
