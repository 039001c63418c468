"""Threads for what may wait for a disk. A disk that does not answer keeps nobody, at the end of the process neither."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

WITHIN_S = 5.0
"""So long one piece of work may take: a disk under load takes less, and whoever waits has others waiting."""

T = TypeVar("T")


class Disk:
    """One thread, which does one work after another. Each waits for its end, but not for ever.

    While a work is overdue others fail at once, and are not begun: what hangs is one thread, however often it is tried.
    """

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._left: Future[Any] | None = None
        """Work that nobody waits for any more, and which may go on."""
        self._left_until_s = 0.0

    @property
    def hangs(self) -> bool:
        """Return whether work goes on that is overdue, or that nobody waits for."""
        return self._left is not None and not self._left.done()

    async def run(self, work: Callable[[], T], within_s: float = WITHIN_S) -> T:
        """Do it in the thread; TimeoutError (an OSError) when it is not done in time: then it may be done later."""
        end_s = asyncio.get_running_loop().time() + within_s
        if self._left is not None and self.hangs:
            await _waited(self._left, self._left_until_s)
            if self.hangs:
                raise TimeoutError(_words(within_s))
        future = self._thread.submit(work)
        try:
            await _waited(future, end_s)
            if future.done():
                return future.result()
            raise TimeoutError(_words(within_s))
        finally:
            # one that was not begun never will be
            if not future.done() and not future.cancel():
                self._left, self._left_until_s = future, end_s

    def close(self) -> None:
        """Take nothing more; the thread ends with what it does."""
        self._thread.shutdown(wait=False, cancel_futures=True)


async def _waited(future: Future[Any], until_s: float) -> None:
    """Wait for work until a moment of the loop's clock."""
    left_s = until_s - asyncio.get_running_loop().time()
    if left_s <= 0 or future.done():
        return
    ended = asyncio.wrap_future(future)
    try:
        await asyncio.wait({ended}, timeout=left_s)
    finally:
        # what came of it is looked at by whoever asked for it; of what goes on nothing is to reach a closed loop
        if not ended.cancel() and not ended.cancelled():
            ended.exception()


def _words(within_s: float) -> str:
    return f"the disk does not answer within {within_s:g} s"
