"""When the control loop looks again: soon after a change of what is observed, and when a decision falls due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

FIRST_GAP_S = 0.002
SHARE = 50
"""Looking at everything takes at most one part in 50 of the time, so that it never starves the failover path."""
MAX_GAP_S = 5.0


class Soon:
    """Runs `act` once, shortly after one or many asks."""

    def __init__(self, loop: asyncio.AbstractEventLoop, act: Callable[[], None]) -> None:
        self._loop, self._act = loop, act
        self._gap_s = FIRST_GAP_S
        self._asked: asyncio.TimerHandle | None = None

    def ask(self) -> None:
        """Ask for `act` to be run soon."""
        if self._asked is None:
            self._asked = self._loop.call_later(self._gap_s, self._run)

    def _run(self) -> None:
        self._asked = None
        begun_s = self._loop.time()
        self._act()
        self._gap_s = min(max(FIRST_GAP_S, (self._loop.time() - begun_s) * SHARE), MAX_GAP_S)


class Wake:
    """Runs `act` at the earliest of the times asked for."""

    def __init__(self, loop: asyncio.AbstractEventLoop, act: Callable[[], None]) -> None:
        self._loop, self._act = loop, act
        self._due: asyncio.TimerHandle | None = None

    def at(self, when_s: float) -> None:
        """Ask for `act` to be run at `when_s` (loop time), or at once if that is past."""
        # a thousandth later than asked, so that rounding never wakes us just before the time
        when_s = max(when_s, self._loop.time()) + 0.001
        if self._due is not None:
            if self._due.when() <= when_s:
                return
            self._due.cancel()
        self._due = self._loop.call_at(when_s, self._run)

    def _run(self) -> None:
        self._due = None
        self._act()
