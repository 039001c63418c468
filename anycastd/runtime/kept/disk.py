"""Threads for what may wait for a disk. A disk that does not answer keeps nobody, at the end of the process neither."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from anycastd.model.status import Alarm
from anycastd.runtime.alarms import Reported
from anycastd.runtime.kept import memory_file
from anycastd.telemetry.logs import log_event

WITHIN_S = 5.0
"""So long one piece of work may take: a disk under load takes less, and whoever waits has others waiting."""

T = TypeVar("T")
log = logging.getLogger("anycastd")


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


class StateFile:
    """A small file of state, replaced whole (`memory_file`) by a thread of its own; an alarm tells if it is not."""

    def __init__(self, path: Path, reported: Reported) -> None:
        self.path, self._reported = path, reported
        self.disk = Disk(path.stem)
        self._doubted = self._aside_first = False

    def not_understood(self, complaint: str) -> None:
        """Tell that what is in it cannot be used: the first text to replace it leaves it beside, for whoever can."""
        self._aside_first = True
        self._reported.raise_(Alarm.STATE_NOT_SAVED, str(self.path), complaint)
        aside = self._aside.name
        log_event(log, "state_not_understood", level=logging.ERROR, detail=complaint, kept_as=aside)

    @property
    def _aside(self) -> Path:
        return self.path.with_name(f"{self.path.name}.unread")

    @property
    def is_doubted(self) -> bool:
        """Return whether the disk may hold, or get, a text whose saving was given up: then save what is so anew."""
        return self._doubted and not self.disk.hangs

    async def save(self, text: Callable[[], str | None]) -> bool:
        """Replace it by what `text`, called in the thread, returns; None = leave it. Return whether it was replaced."""

        def write() -> bool:
            if (said := text()) is None:
                return False
            if self._aside_first:
                with suppress(FileNotFoundError):
                    self.path.replace(self._aside)
                self._aside_first = False
            memory_file.save(self.path, said)
            return True

        try:
            written = await self.disk.run(write)
        except OSError as error:
            self._doubted = self._doubted or self.disk.hangs
            self._reported.raise_(Alarm.STATE_NOT_SAVED, str(self.path), str(error))
            return False
        if written:
            self._doubted = False
            self._reported.clear(Alarm.STATE_NOT_SAVED, str(self.path))
        return written
