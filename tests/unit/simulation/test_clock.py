"""Virtual time: it jumps, it keeps order, and it says when something is wrong instead of hanging."""

from __future__ import annotations

import asyncio
import gc
import time

import pytest

from anycastd.simulation import clock
from anycastd.simulation.clock import SimulationError, VirtualLoop, run

DAY_S = 86400.0


def now_s() -> float:
    return asyncio.get_running_loop().time()


def test_a_month_of_sleep_takes_no_time() -> None:
    begun_s = time.monotonic()

    async def main() -> float:
        await asyncio.sleep(30 * DAY_S)
        return now_s()

    assert run(main(), start_s=5.0) == 5.0 + 30 * DAY_S
    assert time.monotonic() - begun_s < 5.0


@pytest.mark.parametrize("start_s", [0.0, 1 / 3, 1e6, 4e9])
def test_timers_run_in_order_at_their_exact_time(start_s: float) -> None:
    seen: list[tuple[str, float]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def see(name: str) -> None:
            seen.append((name, loop.time()))

        for name, at_s in (("c", start_s + 7.25), ("a", start_s + 0.125), ("b", start_s + 0.25)):
            loop.call_at(at_s, see, name)
        await asyncio.sleep(10.0)

    run(main(), start_s=start_s)
    assert seen == [("a", start_s + 0.125), ("b", start_s + 0.25), ("c", start_s + 7.25)]


def test_a_timeout_ends_at_its_virtual_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600.0):
                await asyncio.Future()
        return now_s()

    assert run(main()) == 3600.0


def test_tasks_take_turns_and_the_run_is_repeatable() -> None:
    async def beat(name: str, every_s: float, seen: list[tuple[float, str]]) -> None:
        while True:
            await asyncio.sleep(every_s)
            seen.append((now_s(), name))

    async def main() -> list[tuple[float, str]]:
        seen: list[tuple[float, str]] = []
        tasks = [asyncio.create_task(beat(name, every_s, seen)) for name, every_s in (("x", 0.3), ("y", 0.7))]
        await asyncio.sleep(60.0)
        for task in tasks:
            task.cancel()
        return seen

    first = run(main())
    assert first == run(main())
    assert len(first) in range(283, 286)
    assert [at_s for at_s, _ in first] == sorted(at_s for at_s, _ in first)


def test_waiting_for_nothing_is_an_error_not_a_hang() -> None:
    async def main() -> None:
        await asyncio.sleep(2.0)
        await asyncio.Future()

    with pytest.raises(SimulationError, match=r"nothing is scheduled after 2\.0 s"):
        run(main())


def test_running_without_ever_waiting_is_an_error_not_a_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "MAX_TURNS_AT_ONE_MOMENT", 100)

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def again() -> None:
            loop.call_soon(again)

        again()
        await asyncio.sleep(1.0)

    with pytest.raises(SimulationError, match=r"time stands still at 0\.0 s"):
        run(main())
    # the task that is left complains when it is collected: here, and not in the log of another test
    gc.collect()


def test_many_turns_are_fine_as_long_as_time_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "MAX_TURNS_AT_ONE_MOMENT", 100)

    async def main() -> None:
        for _ in range(50):
            for _ in range(20):
                await asyncio.sleep(0)
            await asyncio.sleep(0.1)

    run(main())


def test_threads_are_refused() -> None:
    async def main() -> None:
        await asyncio.to_thread(print)

    with pytest.raises(SimulationError, match="no threads"):
        run(main())


def test_the_loop_can_be_driven_by_hand() -> None:
    loop = VirtualLoop(100.0)
    try:
        loop.run_until_complete(asyncio.sleep(1.5))
        assert loop.time() == 101.5
    finally:
        loop.close()
