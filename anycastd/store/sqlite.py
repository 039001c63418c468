"""The embedded store: one SQLite file, used by one thread, so that the event loop never waits for a disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from anycastd.store.port import Snapshot, Write
from anycastd.store.sqlite_file import SqliteFile

POLL_S = 1.0
"""How soon a watch sees what another process committed."""
OWN_S = 0.05
"""How soon it sees our own commits: later than who made them, so that the kernel need not wait for the look."""

T = TypeVar("T")


class SqliteStore:
    """Implements `store.port.Store` on a file. Opened at its first use, so that a start never fails for it."""

    max_writes = 2000

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(path)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._committed, self._closed = asyncio.Event(), False

    @property
    def where(self) -> str:
        """Return the path of the file."""
        return str(self._file.path)

    async def snapshot(self, prefix: str) -> Snapshot:
        """Return every key that begins with `prefix`, in order."""
        return await self._run(lambda: self._file.snapshot(prefix))

    async def commit(self, writes: Sequence[Write], expected: Mapping[str, int]) -> int:
        """Do all writes or none and return the new revision; Conflict when a key is not at its expected revision."""
        revision = await self._run(lambda: self._file.commit(writes, expected))
        self._committed.set()
        self._committed = asyncio.Event()
        return revision

    async def watch(self, prefix: str, after_revision: int) -> AsyncIterator[Snapshot]:
        """Yield what changed after a revision, oldest first; Compacted if that is too long ago."""
        while True:
            committed = self._committed
            batch = await self._run(partial(self._file.since, prefix, after_revision))
            after_revision = batch.revision
            if batch.items:
                yield batch
            try:
                await asyncio.wait_for(committed.wait(), POLL_S)
                await asyncio.sleep(OWN_S)
            except TimeoutError:
                continue

    async def tidy(self) -> None:
        """Forget old deletions and move the write-ahead log into the file."""
        await self._run(self._file.tidy)

    async def close(self) -> None:
        """Close the file after what was begun; once closed it stays so."""
        if not self._closed:
            self._closed = True
            await self._run(self._file.close)
            self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
