"""The memories of prefixes on disk: read at the start, saved when they have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from anycastd.model.address import Prefix
from anycastd.model.decision import Memory
from anycastd.model.status import Alarm
from anycastd.runtime import memory_file
from anycastd.runtime.alarms import Reported

MEMORIES = "memory.json"


class Memories:
    """The file. `loaded` is what it held."""

    def __init__(self, state_dir: str, reported: Reported) -> None:
        self._path, self._reported = Path(state_dir) / MEMORIES, reported
        self._saved: dict[Prefix, Memory] = {}
        self.loaded, complaint = memory_file.load(self._path)
        if complaint:
            reported.raise_(Alarm.STATE_NOT_SAVED, str(self._path), complaint)

    async def save(self, now: Mapping[Prefix, Memory]) -> None:
        """Save them if they are not as they were last saved; an alarm says what stands against it."""
        memories, saved, clocks = dict(now), self._saved, memory_file.clocks()

        def save() -> bool:
            if memories == saved:
                return False
            memory_file.save(self._path, memory_file.encode(memories, clocks))
            return True

        try:
            changed = await asyncio.to_thread(save)
        except OSError as error:
            self._reported.raise_(Alarm.STATE_NOT_SAVED, str(self._path), str(error))
        else:
            if changed:
                self._saved = memories
                self._reported.clear(Alarm.STATE_NOT_SAVED, str(self._path))
