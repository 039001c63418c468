"""How late the event loop is: the first thing to know when anything else looks slow."""

from __future__ import annotations

import asyncio

from anycastd.model.status import LoopView

EACH_S = 0.1
REMEMBERED_S = 60.0


class LagMeter:
    """Sleeps a tenth of a second and looks how much longer it took."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._max_ms, self._max_at_s = 0.0, loop.time()
        self.view = LoopView()

    async def run(self) -> None:
        """Measure for ever."""
        while True:
            begun_s = self._loop.time()
            await asyncio.sleep(EACH_S)
            now_s = self._loop.time()
            lag_ms = max(now_s - begun_s - EACH_S, 0.0) * 1000.0
            if lag_ms >= self._max_ms or now_s - self._max_at_s > REMEMBERED_S:
                self._max_ms, self._max_at_s = lag_ms, now_s
            self.view = LoopView(lag_ms, self._max_ms)
