"""Long work on the event loop is done in bites; between two of them others have their turns, and garbage is collected.

Both must be little at a time. A request takes ten turns of the loop: one that met a bite in each took 5 ms longer, and
threads that work for it wait for the interpreter as well (a commit of 1 ms took up to 11, measured). So while somebody
waits for an answer, long work stands back. And left to itself the collector looks at all that 20 bites made at once:
35 ms with 10,000 EIPs (measured).
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager

REST_S = 0.001
PATIENCE_S = 0.02
"""How long work stands back after a bite at most: what never ends to be urgent must not stop it."""
LASTS_S = 0.05
"""How long somebody is waited for."""


class Haste:
    """Knows whether somebody waits for an answer that takes a few milliseconds. Of one event loop."""

    def __init__(self) -> None:
        self._waiting, self._until_s = 0, 0.0

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """Have long work stand back until the block ends, or LASTS_S have passed: some requests last for hours."""
        self._waiting += 1
        self._until_s = asyncio.get_running_loop().time() + LASTS_S
        try:
            yield
        finally:
            self._waiting -= 1

    async def rest(self, rest_s: float = REST_S) -> None:
        """Let others run for a turn or `rest_s`; longer while somebody waits, at most PATIENCE_S."""
        await asyncio.sleep(rest_s)
        loop = asyncio.get_running_loop()
        for _ in range(int(PATIENCE_S / REST_S)):
            if not self._waiting or loop.time() >= self._until_s:
                return
            await asyncio.sleep(REST_S)


HASTE = Haste()
"""Of the daemon's loop."""


async def rest() -> None:
    """Look at what the bite made, so that nobody looks at it again soon, and let others run."""
    gc.collect(1)
    await HASTE.rest()
