"""When the loop looks again."""

from __future__ import annotations

import asyncio

import pytest

from anycastd.runtime.loop.schedule import FIRST_GAP_S, MAX_GAP_S, SHARE, Soon, Wake
from anycastd.runtime.process.lag import LagMeter
from anycastd.simulation.clock import VirtualLoop, run


def now_s() -> float:
    return asyncio.get_running_loop().time()


class Busy:
    """A loop's clock that is moved by what runs, as real work does."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self.worked_s = loop, 0.0

    def time(self) -> float:
        return self._loop.time() + self.worked_s

    def call_later(self, delay_s: float, act: object) -> asyncio.TimerHandle:
        return self._loop.call_later(delay_s, act)  # type: ignore[arg-type]


def test_many_asks_are_one_look_and_an_ask_meanwhile_is_another() -> None:
    seen: list[float] = []

    async def main() -> None:
        soon = Soon(asyncio.get_running_loop(), lambda: seen.append(now_s()))
        for _ in range(5):
            soon.ask()
        await asyncio.sleep(1.0)
        soon.ask()
        await asyncio.sleep(1.0)

    run(main())
    assert seen == pytest.approx([FIRST_GAP_S, 1.0 + FIRST_GAP_S])


@pytest.mark.parametrize(("takes_s", "gap_s"), [(0.00001, FIRST_GAP_S), (0.01, 0.01 * SHARE), (1.0, MAX_GAP_S)])
def test_a_long_look_makes_the_next_wait(takes_s: float, gap_s: float) -> None:
    seen: list[float] = []

    async def main() -> None:
        busy = Busy(asyncio.get_running_loop())

        def look() -> None:
            seen.append(now_s())
            busy.worked_s += takes_s

        soon = Soon(busy, look)  # type: ignore[arg-type]
        for _ in range(2):
            soon.ask()
            await asyncio.sleep(100.0)

    run(main())
    assert seen == pytest.approx([FIRST_GAP_S, 100.0 + gap_s])


def test_a_look_that_raises_does_not_end_the_looking() -> None:
    seen: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, _context: None)

        def look() -> None:
            seen.append(now_s())
            raise ValueError

        soon, wake = Soon(loop, look), Wake(loop, look)
        for _ in range(2):
            soon.ask()
            wake.at(now_s() + 1.0)
            await asyncio.sleep(10.0)

    run(main())
    assert len(seen) == 4


def test_the_earliest_time_wins_and_is_never_early() -> None:
    seen: list[float] = []

    async def main() -> None:
        wake = Wake(asyncio.get_running_loop(), lambda: seen.append(now_s()))
        for at_s in (50.0, 20.0, 30.0, 20.0):
            wake.at(at_s)
        await asyncio.sleep(100.0)
        assert len(seen) == 1, "the others are asked for again by whoever still wants them"
        wake.at(40.0)
        await asyncio.sleep(1.0)

    run(main())
    assert seen == pytest.approx([20.001, 100.001])
    assert seen[0] > 20.0


def test_lag_is_what_a_sleep_took_too_long_and_its_maximum_is_forgotten() -> None:
    class Late(VirtualLoop):
        extra_s = 0.0

        def time(self) -> float:
            return super().time() + self.extra_s

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Late)
        meter = LagMeter(loop)
        task = loop.create_task(meter.run())
        await asyncio.sleep(0.25)
        assert meter.view.lag_ms == pytest.approx(0.0, abs=1e-6)
        loop.extra_s += 0.5
        await asyncio.sleep(0.0)
        await asyncio.sleep(0.2)
        assert meter.view.lag_max_ms == pytest.approx(450.0, abs=60.0)
        await asyncio.sleep(1.0)
        assert meter.view.lag_ms == pytest.approx(0.0, abs=1e-6)
        assert meter.view.lag_max_ms > 300.0
        await asyncio.sleep(61.0)
        assert meter.view.lag_max_ms == pytest.approx(0.0, abs=1e-6)
        task.cancel()

    with asyncio.Runner(loop_factory=lambda: Late(0.0)) as runner:
        runner.run(main())
