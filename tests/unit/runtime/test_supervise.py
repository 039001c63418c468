"""Stages: what fails is reported and started again, what was cancelled is not."""

from __future__ import annotations

import asyncio

import pytest

from anycastd.runtime.process.supervise import CALM_AFTER_S, CANCEL_EACH_S, CANCEL_TIMES, MAX_DELAY_S, Supervisor
from anycastd.simulation.clock import run


class Told:
    """Hears the supervisor, and counts starts by time."""

    def __init__(self) -> None:
        self.failed: list[tuple[str, str]] = []
        self.recovered: list[str] = []
        self.starts: list[float] = []
        self.supervisor = Supervisor(lambda name, detail: self.failed.append((name, detail)), self.recovered.append)

    def started(self) -> None:
        self.starts.append(asyncio.get_running_loop().time())


def test_a_stage_that_raises_is_started_again_later_and_later() -> None:
    told = Told()

    async def stage() -> None:
        told.started()
        raise ZeroDivisionError("of all things")

    async def main() -> None:
        told.supervisor.start("one", stage)
        await asyncio.sleep(60.0)
        await told.supervisor.stop()

    run(main())
    assert told.failed[0] == ("one", "ZeroDivisionError: of all things")
    gaps = [round(later - earlier, 6) for earlier, later in zip(told.starts, told.starts[1:], strict=False)]
    assert gaps[:7] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, MAX_DELAY_S]
    assert set(gaps[7:]) == {MAX_DELAY_S}
    assert told.recovered == []


def test_a_stage_that_runs_a_minute_has_recovered_and_begins_with_the_short_delay() -> None:
    told = Told()

    async def stage() -> None:
        told.started()
        if len(told.starts) == 4:
            await asyncio.sleep(CALM_AFTER_S + 1.0)
        if len(told.starts) == 6:
            await asyncio.Future()
        raise OSError

    async def main() -> None:
        told.supervisor.start("one", stage)
        await asyncio.sleep(1000.0)
        await told.supervisor.stop()

    run(main())
    assert len(told.failed) == 5
    assert told.recovered == ["one", "one"]
    assert told.starts[4] - told.starts[3] == pytest.approx(CALM_AFTER_S + 1.0 + 0.2)


def test_a_stage_that_ends_is_started_again_too() -> None:
    told = Told()

    async def stage() -> None:
        told.started()

    async def main() -> None:
        told.supervisor.start("one", stage)
        await asyncio.sleep(1.0)
        await told.supervisor.stop()

    run(main())
    assert len(told.starts) == 3
    assert told.failed[0] == ("one", "it ended by itself")


def test_a_stage_whose_own_task_was_cancelled_is_started_again() -> None:
    told = Told()

    async def stage() -> None:
        told.started()
        inner = asyncio.get_running_loop().create_future()
        inner.cancel()
        await inner

    async def main() -> None:
        told.supervisor.start("one", stage)
        await asyncio.sleep(0.5)
        await told.supervisor.stop()

    run(main())
    assert len(told.starts) == 2
    assert told.failed[0][0] == "one"


def test_stop_cancels_and_waits_for_what_stages_do_last() -> None:
    told = Told()
    ended: list[str] = []

    async def stage() -> None:
        told.started()
        try:
            await asyncio.Future()
        finally:
            await asyncio.sleep(1.0)
            ended.append("tidy")

    async def main() -> None:
        told.supervisor.start("one", stage)
        told.supervisor.start("two", stage)
        await asyncio.sleep(0.1)
        await told.supervisor.stop()
        assert ended == ["tidy", "tidy"]
        await asyncio.sleep(100.0)

    run(main())
    assert len(told.starts) == 2
    assert told.failed == []


def test_one_failing_stage_disturbs_no_other() -> None:
    told = Told()

    async def bad() -> None:
        raise KeyError("x")

    async def good() -> None:
        while True:
            told.started()
            await asyncio.sleep(1.0)

    async def main() -> None:
        told.supervisor.start("bad", bad)
        told.supervisor.start("good", good)
        await asyncio.sleep(10.5)
        await told.supervisor.stop()

    run(main())
    assert told.starts == [float(second) for second in range(11)]


@pytest.mark.filterwarnings("default")
def test_a_callback_that_raises_is_an_alarm_for_a_minute_after_the_last() -> None:
    told = Told()

    def boom() -> None:
        raise RuntimeError("in a callback")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(told.supervisor.loop_failed)
        for at_s in (1.0, 30.0):
            loop.call_at(at_s, boom)
        await asyncio.sleep(30.0 + CALM_AFTER_S - 1.0)
        assert told.recovered == []
        await asyncio.sleep(2.0)
        assert told.recovered == ["loop"]
        loop.call_soon(boom)
        await asyncio.sleep(0.1)
        await told.supervisor.stop()
        await asyncio.sleep(2 * CALM_AFTER_S)

    run(main())
    assert [name for name, _ in told.failed] == ["loop"] * 3
    assert "in a callback" in told.failed[0][1]
    assert told.recovered == ["loop"]


def test_what_runs_once_and_fails_is_reported_and_what_still_runs_ends_with_the_rest() -> None:
    told = Told()
    ended: list[str] = []

    async def fails() -> None:
        raise ZeroDivisionError("of all things")

    async def goes_on() -> None:
        try:
            await asyncio.Future()
        finally:
            ended.append("it")

    async def main() -> None:
        told.supervisor.once("reload", fails())
        told.supervisor.once("other", goes_on())
        await asyncio.sleep(1.0)
        await told.supervisor.stop()

    run(main())
    assert told.failed == [("loop", "reload failed: ZeroDivisionError: of all things")]
    assert ended == ["it"]


def test_what_could_not_be_encoded_is_not_told_in_an_alarm() -> None:
    """The repr() of such an error holds the whole text: ExaBGP's file has passwords in it."""
    told = Told()
    failed = UnicodeEncodeError("ascii", "md5-password abc", 13, 14, "ordinal not in range")

    async def main() -> None:
        told.supervisor.loop_failed(asyncio.get_running_loop(), {"message": "x failed", "exception": failed})
        await told.supervisor.stop()

    run(main())
    assert told.failed[0][1].startswith("x failed: UnicodeEncodeError")
    assert "md5" not in told.failed[0][1]


def test_a_stage_that_loses_a_cancellation_is_cancelled_again_and_one_that_never_ends_is_left() -> None:
    """CPython 3.11 does lose one; the end of the daemon would wait for ever."""
    told, lost = Told(), list[str]()

    async def loses(name: str, times: float) -> None:
        while True:
            try:
                await asyncio.sleep(3600.0)
            except asyncio.CancelledError:
                lost.append(name)
                if lost.count(name) > times:
                    raise

    async def main() -> float:
        told.supervisor.start("once", lambda: loses("once", 1))
        told.supervisor.start("always", lambda: loses("always", CANCEL_TIMES))
        await asyncio.sleep(1.0)
        begun_s = asyncio.get_running_loop().time()
        await told.supervisor.stop()
        assert (lost.count("once"), lost.count("always")) == (2, CANCEL_TIMES)
        return asyncio.get_running_loop().time() - begun_s

    assert run(main()) == pytest.approx(CANCEL_TIMES * CANCEL_EACH_S)
