"""The journal: takes entries from the event loop, numbers them, and has them written and sent without ever waiting.

The loop pays for a value and its place in a queue. A thread makes the texts and writes them, many at a time; what the
file refuses waits, up to a bound, and what is beyond that is counted and told of by an entry of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from anycastd.model.journal import Entry, EntryKind, JournalFacts, LostWhy, Page, Wanted
from anycastd.model.topology import JournalConfig
from anycastd.policy.snapshot import Snapshot
from anycastd.runtime.journal.readers import Readers
from anycastd.store import journal_reading as reading
from anycastd.store.journal_file import JournalFile, Note
from anycastd.store.journal_reading import JournalUnavailable, Newer

JOURNAL = "journal.db"
BATCH = 512
READ_WITHIN_S = 10.0
CLOSE_WITHIN_S = 3.0
DAMAGED = "damaged"
PRUNE_EACH_S = 60.0
"""How often bounds are looked at while nothing is written."""

T = TypeVar("T")


@dataclass(slots=True)
class _Hole:
    """Entries that were not kept: how many, and their numbers."""

    first: int
    last: int
    count: int
    why: LostWhy


class Journal:
    """Implements `api.ports.Journal`. `complain(subject, detail)` raises an alarm, or with None clears it."""

    def __init__(self, path: Path, config: JournalConfig, complain: Callable[[str, str | None], None]) -> None:
        self.path, self._config, self._complain = path, config, complain
        self._file = JournalFile(path)
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._looker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal-read")
        self._waiting: deque[Note] = deque()
        self._next = 0
        """The number of the next entry; 0 until the file has said what its last one is."""
        self._last_written = 0
        self._size_bytes: int | None = None
        """As of the last look by the writer: whoever asks runs in the loop, and a disk may not answer."""
        self._hole: _Hole | None = None
        self._refused = self._closed = False
        self._news = asyncio.Event()
        self._written: Counter[EntryKind] = Counter()
        self._lost: Counter[LostWhy] = Counter()
        self.readers = Readers(config, self._lost)

    @property
    def config(self) -> JournalConfig:
        """Return the configuration in force."""
        return self._config

    def configure(self, config: JournalConfig) -> None:
        """Take a new configuration."""
        self._config = config
        self.readers.configure(config)
        self._news.set()

    def note(
        self,
        kind: EntryKind,
        subject: str,
        *,
        before: str = "",
        after: str = "",
        reason: str = "",
        hold: str = "",
        detail: str = "",
        snapshot: Snapshot | None = None,
    ) -> None:
        """Take an entry; it is written and sent soon."""
        number, self._next = self._next, self._next + 1 if self._next else 0
        entry = Entry(number, time.time(), kind, subject, before, after, reason, hold, detail)
        self.readers.give(entry)
        if len(self._waiting) >= self._config.max_waiting:
            self._drop(number)
            return
        self._waiting.append(Note(entry, snapshot))
        self._news.set()

    def _drop(self, number: int) -> None:
        why = LostWhy.FILE_REFUSES if self._refused else LostWhy.QUEUE_FULL
        self._lost[why] += 1
        if self._hole is None:
            self._hole = _Hole(number, number, 0, why)
        self._hole.last, self._hole.count = number, self._hole.count + 1

    def _tell_of_hole(self) -> None:
        """Let the file say what it has not got, at the place where it has not got it."""
        hole = self._hole
        if hole is not None and len(self._waiting) < self._config.max_waiting:
            self._hole = None
            numbers = f"{hole.first} to {hole.last}" if hole.first else "before the file was opened"
            detail = f"{hole.count} entries were not kept ({numbers})"
            self.note(EntryKind.GAP, "journal", reason=hole.why.value, after=str(hole.count), detail=detail)

    async def run(self) -> None:
        """Write, for ever; what the file refuses is tried again."""
        while True:
            self._news.clear()
            try:
                if not self._next:
                    await self._open()
                if self._waiting:
                    await asyncio.sleep(self._config.write_after_s)
                    await self._write()
                await self._prune()
                self._complain(str(self.path), None)
                self._refused = False
            except JournalUnavailable as error:
                await self._bear(error)
                continue
            if not self._waiting:
                await self._rest(PRUNE_EACH_S)

    async def _rest(self, within_s: float) -> None:
        # not wait_for(): CPython 3.11 loses a cancellation that meets the end of what is waited for
        alarm = asyncio.get_running_loop().call_later(within_s, self._news.set)
        try:
            await self._news.wait()
        finally:
            alarm.cancel()

    async def _bear(self, error: JournalUnavailable) -> None:
        """Go on without the file for a while."""
        self._refused = True
        await self._look_aside()
        what = (
            "entries wait in memory" if not isinstance(error, Newer) else "nothing is journalled until it is moved away"
        )
        self._complain(str(self.path), f"{error}; {what}")
        await asyncio.sleep(self._config.retry_s)

    async def _look_aside(self) -> None:
        """Say, as long as it is there, that a damaged file was set aside."""
        found, self._size_bytes = await self._in(self._writer, lambda: (self._file.damaged(), self._file.size_bytes))
        if found:
            what = "was damaged and set aside, a new one was begun"
            self._complain(DAMAGED, f"{found[-1]} {what}: remove it when you have looked at it")
        else:
            self._complain(DAMAGED, None)

    async def _open(self) -> None:
        await self._in(self._writer, self._file.open)
        await self._look_aside()
        self._next = self._file.last + 1
        for place, note in enumerate(self._waiting):
            self._waiting[place] = replace(note, entry=note.entry._replace(number=self._next))
            self._next += 1

    async def _write(self) -> None:
        """Write what waits, a batch at a time; an entry leaves the queue when it is in the file."""
        while batch := list(islice(self._waiting, BATCH)):
            await self._in(self._writer, partial(self._file.append, batch))
            self._wrote(batch)

    def _wrote(self, batch: list[Note]) -> None:
        for note in batch:
            self._waiting.popleft()
            self._written[note.entry.kind] += 1
            self._last_written = note.entry.number
        self._tell_of_hole()

    async def _prune(self) -> None:
        more = True
        while more:
            more = await self._in(self._writer, lambda: self._file.prune(self._config, time.time()))
            await asyncio.sleep(self._config.write_after_s if more else 0)
        await self._look_aside()

    async def close(self) -> None:
        """Write what waits, as far as the file takes it in CLOSE_WITHIN_S, and let go of it; readers are told."""
        if self._closed:
            return
        self._closed = True
        self.readers.end()
        try:
            await asyncio.wait_for(self._finish(), CLOSE_WITHIN_S)
        except (JournalUnavailable, TimeoutError) as error:
            self._complain(str(self.path), f"{error}; {len(self._waiting)} entries are lost")
        self._writer.shutdown(wait=False)
        self._looker.shutdown(wait=False)

    async def _finish(self) -> None:
        if not self._next:
            await self._open()
        self._tell_of_hole()
        if batch := list(self._waiting):
            await self._in(self._writer, partial(self._file.append, batch, rest=False))
            self._wrote(batch)
        await self._in(self._writer, self._file.close)

    async def _in(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, work)

    @property
    def opened(self) -> bool:
        """Return whether the file has said what its last number is, so that entries have theirs."""
        return self._next > 0

    @property
    def last_written(self) -> int:
        """Return the number of the newest entry that is known to be in the file."""
        return self._last_written

    @property
    def unwritten(self) -> list[Entry]:
        """Return the entries that may not be in the file yet, oldest first."""
        return [note.entry for note in self._waiting]

    async def page(self, wanted: Wanted) -> Page:
        """Return entries of the file; JournalUnavailable says why there are none to be had."""

        def look() -> Page:
            with reading.opened(self.path) as db:
                return reading.page(db, wanted)

        return await self._look(look)

    async def one(self, number: int) -> tuple[Entry, str] | None:
        """Return an entry of the file with the text of its snapshot, None if it is not there."""

        def look() -> tuple[Entry, str] | None:
            with reading.opened(self.path) as db:
                return reading.one(db, number)

        return await self._look(look)

    async def _look(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.wait_for(self._in(self._looker, work), READ_WITHIN_S)
        except TimeoutError:
            message = f"{self.path}: it cannot be read within {READ_WITHIN_S:g} s"
            raise JournalUnavailable(message) from None

    def facts(self) -> JournalFacts:
        """Return what is told of the journal itself."""
        return JournalFacts(
            dict(self._written), dict(self._lost), self._size_bytes, len(self._waiting), len(self.readers)
        )
