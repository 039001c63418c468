"""Small files of state that are replaced whole, each by a thread of its own: no loop waits for a disk."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from anycastd.actuators.disk import Disk
from anycastd.model.status import Alarm
from anycastd.runtime.alarms import Reported
from anycastd.runtime.kept import memory_file
from anycastd.telemetry.logs import log_event

log = logging.getLogger("anycastd")


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
