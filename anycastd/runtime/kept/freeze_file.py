"""The freeze as a file on disk: it needs no network, no API and no store, and outlives every restart.

The file's being there freezes; what is in it only explains. So `touch` freezes too, and so does a file that cannot be
read. An end that the file names is turned into monotonic time once, when the file is first seen.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from anycastd.model.operator import Freeze
from anycastd.runtime.kept.memory_file import Clocks

MAX_BYTES = 4096
MAX_UNIX_S = 1e12
Signature = tuple[int, int, int]


class FreezeFile:
    """One file, looked at again and again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: Signature | None = None
        self._freeze: Freeze | None = None
        self._is_known = False
        self.trouble = ""
        """Why whether it is there could not be told by the last look; "" = it could."""

    def look(self, now: Clocks) -> Freeze | None:
        """Return the freeze, None if there is none or it is over; one that is over is removed.

        Where that cannot be told what was stays: a disk that dies under a daemon freezes nothing. What was before the
        first look is not known, which freezes.
        """
        try:
            found = self.path.stat()
        except FileNotFoundError:
            self._seen = self._freeze = None
            self._is_known, self.trouble = True, ""
            return None
        except OSError as error:
            self.trouble = f"whether it is there cannot be told: {error.strerror}"
            if not self._is_known:
                return Freeze(reason=f"{self.path} cannot be looked at: {error.strerror}")
            return standing(self._freeze, now.monotonic_s)
        self._is_known, self.trouble = True, ""
        signature = (found.st_ino, found.st_mtime_ns, found.st_size)
        if signature != self._seen or self._freeze is None:
            self._seen, self._freeze = signature, self._read(now, found.st_mtime)
        freeze = standing(self._freeze, now.monotonic_s)
        if freeze is None:
            self._remove()
        return freeze

    def _read(self, now: Clocks, touched_unix_s: float) -> Freeze:
        since_s = now.monotonic_s - max(now.wall_s - touched_unix_s, 0.0)
        try:
            # not blocking: to open a pipe waits for its other end
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                said = json.loads(file.read(MAX_BYTES) or b"{}")
        except (OSError, ValueError, RecursionError):
            said = {"reason": "the file does not say why"}
        if not isinstance(said, dict):
            said = {}
        # a machine without a clock of its own starts years before the file was written: it lasts no longer for that
        return replace(_freeze(said, now.monotonic_s, max(now.wall_s, touched_unix_s)), since_s=since_s)

    def _remove(self) -> None:
        try:
            self.path.unlink(missing_ok=True)
        except OSError:
            # it is over all the same: its own words say so, and it is tried again at the next look
            return


def standing(freeze: Freeze | None, now_s: float) -> Freeze | None:
    """Return a freeze, None when the end that it names has come."""
    over = freeze is not None and freeze.expires_s is not None and freeze.expires_s <= now_s
    return None if over else freeze


def _freeze(said: dict[str, Any], now_s: float, unix_s: float) -> Freeze:
    until, expires_s = said.get("until_unix_s"), None
    # a number of 400 digits is an OverflowError to isfinite(); both are no end
    if isinstance(until, int | float) and not isinstance(until, bool) and abs(until) < MAX_UNIX_S:
        expires_s = now_s + until - unix_s
    return Freeze(
        owner=_line(said.get("owner")),
        reason=_line(said.get("reason")),
        expires_s=expires_s,
        eips=said.get("eips") is True,
    )


def _line(value: Any) -> str:
    """Return a text that may be shown on a terminal and written to any file."""
    return "".join(sign if sign.isprintable() else "?" for sign in str(value or ""))
