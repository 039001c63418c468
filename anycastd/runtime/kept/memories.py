"""The memories of prefixes on disk: read at the start, saved when they have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from anycastd.model.address import Prefix
from anycastd.model.decision import Memory
from anycastd.runtime.alarms import Reported
from anycastd.runtime.kept import memory_file
from anycastd.runtime.kept.disk import StateFile

MEMORIES = "memory.json"


class Memories:
    """The file. `loaded` is what it held."""

    def __init__(self, state_dir: str, reported: Reported) -> None:
        self._file = StateFile(Path(state_dir) / MEMORIES, reported)
        self._saved: dict[Prefix, Memory] | None = None
        self.loaded, complaint = memory_file.load(self._file.path)
        if complaint:
            self._file.not_understood(complaint)

    async def run(self, now: Callable[[], Mapping[Prefix, Memory]], pause_s: Callable[[], float]) -> None:
        """Save them now and then, for ever; nothing else waits for it."""
        while True:
            await asyncio.sleep(pause_s())
            await self.save(now())

    async def save(self, now: Mapping[Prefix, Memory]) -> None:
        """Save them if they are not as they were last saved; an alarm says what stands against it."""
        memories, clocks = dict(now), memory_file.clocks()
        saved = None if self._file.is_doubted else self._saved
        if await self._file.save(lambda: None if memories == saved else memory_file.encode(memories, clocks)):
            self._saved = memories

    def close(self) -> None:
        """Let go of the thread."""
        self._file.disk.close()
