"""An event loop whose time jumps to the next timer instead of waiting: a day of the real daemon in seconds.

Only what is virtual may run in it. Threads, subprocesses and sockets answer in real time, which here never passes, so
the loop refuses threads, and sees a socket only if it is readable already.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

MAX_TURNS_AT_ONE_MOMENT = 100_000
"""A loop that turns this often without time moving is busy for ever."""


class SimulationError(RuntimeError):
    """What was simulated cannot go on: it waits for nothing, never waits, or needs the real world."""


class _Skip(selectors.DefaultSelector):
    """Moves its own clock forward by the time that it was asked to wait."""

    def __init__(self, now_s: float) -> None:
        super().__init__()
        self.now_s = now_s
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            self._turns += 1
            if self._turns > MAX_TURNS_AT_ONE_MOMENT:
                message = f"time stands still at {self.now_s} s: something runs again and again without waiting"
                raise SimulationError(message)
            return ready
        if timeout is None:
            message = f"nothing is scheduled after {self.now_s} s, yet something is waited for"
            raise SimulationError(message)
        self.now_s += timeout
        self._turns = 0
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop in virtual time, which begins at `start_s`; runs are exactly repeatable."""

    def __init__(self, start_s: float = 0.0) -> None:
        self._skip = _Skip(start_s)
        super().__init__(self._skip)
        # asyncio runs a timer that is due within this; the real clock's 1 ns is lost in rounding at 4e9 s, and the
        # loop would then turn for ever just before the timer
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._skip.now_s

    def run_in_executor(self, executor: object, func: Callable[..., object], *args: object) -> NoReturn:
        """Refuse: a thread takes real time, and the virtual clock would run away meanwhile."""
        message = f"no threads in virtual time: {getattr(func, '__qualname__', func)!s}"
        raise SimulationError(message)


def run(main: Coroutine[Any, Any, T], *, start_s: float = 0.0) -> T:
    """Run a coroutine to its end in virtual time; what it left running is cancelled, as `asyncio.run` does."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(start_s)) as runner:
        return runner.run(main)
