"""Who reads events as they happen: each has a bounded number of entries waiting, and nobody waits for a reader."""

from __future__ import annotations

import asyncio
from collections import Counter, deque

from anycastd.model.journal import Entry, LostWhy
from anycastd.model.topology import JournalConfig


class Reader:
    """One reader. `lost` counts what it was too slow for since it last took something, from `lost_first` on."""

    def __init__(self, backlog: int) -> None:
        self._backlog = backlog
        self._entries: deque[Entry] = deque()
        self._news = asyncio.Event()
        self.lost = self.lost_first = self.lost_last = 0
        self.ended = False

    def give(self, entry: Entry) -> bool:
        """Have the reader get an entry; False if it is too far behind, and only counts it."""
        self._news.set()
        if not self.lost and len(self._entries) < self._backlog:
            self._entries.append(entry)
            return True
        # until it has been told: what comes after a hole must not stand before the word of it
        self.lost_first = self.lost_first or entry.number
        self.lost += 1
        self.lost_last = entry.number
        return False

    def end(self) -> None:
        """Tell the reader that no more will come."""
        self.ended = True
        self._news.set()

    async def wait(self, within_s: float) -> bool:
        """Wait for news; False if none came in that time."""
        if not self._has_news:
            self._news.clear()
            alarm = asyncio.get_running_loop().call_later(within_s, self._news.set)
            try:
                await self._news.wait()
            finally:
                alarm.cancel()
        return self._has_news

    @property
    def _has_news(self) -> bool:
        return bool(self._entries or self.lost or self.ended)

    def take(self) -> Entry | None:
        """Return the next entry, None if there is none."""
        return self._entries.popleft() if self._entries else None

    def take_lost(self) -> tuple[int, int, int]:
        """Return how many were lost after what was taken, and the first and last number; begin to count anew."""
        lost = self.lost, self.lost_first, self.lost_last
        self.lost = self.lost_first = self.lost_last = 0
        return lost


class Readers:
    """All readers; `configure` counts for those that come after it."""

    def __init__(self, config: JournalConfig, lost: Counter[LostWhy]) -> None:
        self._config, self._lost = config, lost
        self._readers: set[Reader] = set()
        self._taken = 0

    def __len__(self) -> int:
        return self._taken

    def configure(self, config: JournalConfig) -> None:
        """Take a new configuration."""
        self._config = config

    def reserve(self) -> bool:
        """Take a place among the readers, to be given back by `release`; False when all are taken."""
        if self._taken >= self._config.max_readers:
            return False
        self._taken += 1
        return True

    def release(self, reader: Reader | None) -> None:
        """Give a place back."""
        self._taken -= 1
        if reader is not None:
            self._readers.discard(reader)

    def join(self) -> Reader:
        """Return a reader that gets every entry from now on."""
        reader = Reader(self._config.reader_backlog)
        self._readers.add(reader)
        return reader

    def give(self, entry: Entry) -> None:
        """Give an entry to all."""
        for reader in self._readers:
            if not reader.give(entry):
                self._lost[LostWhy.SLOW_READER] += 1

    def end(self) -> None:
        """Tell all that no more will come."""
        for reader in self._readers:
            reader.end()
