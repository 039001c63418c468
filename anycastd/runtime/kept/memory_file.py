"""What must outlive the daemon: each prefix's memory, in one small file that is replaced whole.

Times in a Memory are monotonic seconds, which mean nothing after a reboot; the file says which boot they belong to
and what the wall clock said, so that another boot can shift them. A file that cannot be read is as good as none: the
daemon then begins with empty memories and says so.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from anycastd.model.address import Prefix
from anycastd.model.decision import Level, Memory, Penalty
from anycastd.model.plain import known_of
from anycastd.runtime.kept.document import loaded, made_of

FORMAT = 1
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MEMORY_FIELDS = tuple(field.name for field in fields(Memory))
_TIME_FIELDS = tuple(name for name in _MEMORY_FIELDS if name.endswith("_s"))
_PENALTY_FIELDS = tuple(field.name for field in fields(Penalty))
_SAVING = threading.Lock()
FARTHEST_S = 1e10
"""300 years: no clock of ours has a time farther away than that."""
AHEAD_S = 86400.0
"""So much later than its file a past time may lie: a clock that was read a moment later, or another in a test."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """Which boot this is, and both clocks at one moment."""

    boot: str
    monotonic_s: float
    wall_s: float

    def shift_s(self, now: Clocks) -> float:
        """Return what turns a time of then into one of now, in seconds: by the wall clock, if the boot is another."""
        if self.boot == now.boot:
            return 0.0
        return now.monotonic_s - max(now.wall_s - self.wall_s, 0.0) - self.monotonic_s


def clocks() -> Clocks:
    """Return the clocks now."""
    return Clocks(BOOT_ID.read_text(encoding="ascii").strip(), time.monotonic(), time.time())


_CLOCKS = tuple(field.name for field in fields(Clocks))


@dataclass(frozen=True, slots=True)
class SavedTimes:
    """The times of a saved file, told on the present clock; what is no time is a ValueError.

    JSON as Python reads it knows NaN and Infinity, and a time that is neither, or centuries away, never comes.
    """

    saved: Clocks
    shift_s: float

    @classmethod
    def of(cls, clocks: Any, now: Clocks) -> SavedTimes:
        """Return those of a file, by the clocks that it was saved at."""
        saved = Clocks(**known_of(clocks, _CLOCKS, "clocks"))
        for name, value in (("monotonic_s", saved.monotonic_s), ("wall_s", saved.wall_s)):
            _must_be_time(value, 0.0, f"clocks.{name}")
        return cls(saved, saved.shift_s(now))

    def now(self, value: Any, where: str) -> float:
        """Return a time of the file now; `where` is its place in the file."""
        _must_be_time(value, self.saved.monotonic_s, where)
        return float(value) + self.shift_s

    def past(self, value: Any, where: str) -> float:
        """Return a time at which something has begun or ended: it cannot lie after the file was written."""
        at_s = self.now(value, where)
        if value > self.saved.monotonic_s + AHEAD_S:
            message = f"{where}: {value!r} is later than the file"
            raise ValueError(message)
        return at_s


def _must_be_time(value: Any, near_s: float, where: str) -> None:
    # NaN is never between, and a whole number of 400 digits is compared without being made a float
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not abs(value) <= 2 * FARTHEST_S
        or (abs(value - near_s) > FARTHEST_S)
    ):
        message = f"{where}: {str(value)[:60]!r} is not a time"
        raise ValueError(message)


def encode(memories: Mapping[Prefix, Memory], at: Clocks) -> str:
    """Return the file's text."""
    # a line at a time: one call for thousands keeps the interpreter, and so the event loop, for its whole length
    lines = sorted(f"{json.dumps(str(prefix))}: {json.dumps(_plain(memory))}" for prefix, memory in memories.items())
    head = f'{{"format": {FORMAT}, "clocks": {json.dumps(asdict(at))}, "prefixes": {{'
    return head + ",".join(f"\n{line}" for line in lines) + "\n}}\n"


def _plain(memory: Memory) -> dict[str, Any]:
    # not asdict(), which costs five times as much
    plain = {name: getattr(memory, name) for name in _MEMORY_FIELDS}
    penalty = {name: getattr(memory.penalty, name) for name in _PENALTY_FIELDS}
    return plain | {"level": memory.level.name, "penalty": penalty}


def decode(text: str, now: Clocks) -> dict[Prefix, Memory]:
    """Return the memories with their times on the present clock; ValueError if the text is not what `encode` writes."""

    def made(document: dict[str, Any]) -> dict[Prefix, Memory]:
        times = SavedTimes.of(document["clocks"], now)
        return {ip_network(key): _memory(key, value, times) for key, value in document["prefixes"].items()}

    return made_of(text, FORMAT, "a memory file", ("clocks", "prefixes"), made)


def _memory(key: str, value: dict[str, Any], times: SavedTimes) -> Memory:
    try:
        # what a newer release remembers besides is passed over: to forget the rest for it would cost more
        penalty = Penalty(**{name: one for name, one in value["penalty"].items() if name in _PENALTY_FIELDS})
        known = {name: one for name, one in value.items() if name in _MEMORY_FIELDS and name != "penalty"}
        memory = Memory(**known | {"level": Level[value["level"]]})
        numbers = memory.relapses, memory.epoch, memory.return_step, penalty.plain, penalty.strict
        if not all(math.isfinite(number) for number in numbers):
            message = "a number is not finite"
            raise ValueError(message)
        changed: dict[str, Any] = {
            name: times.now(at_s, name) for name in _TIME_FIELDS if (at_s := getattr(memory, name)) is not None
        }
        changed["penalty"] = replace(penalty, at_s=times.now(penalty.at_s, "penalty.at_s"))
    except ValueError as error:
        message = f"prefixes.{key}: {error}"
        raise ValueError(message) from error
    return replace(memory, **changed)


def save(path: Path, text: str) -> None:
    """Replace the file so that a reader, or a machine that lost power, sees the old text or the new; OSError if not."""
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    # a save whose task was cancelled goes on in its thread while the last one begins: both write the same new file
    with _SAVING:
        _replace(path, path.with_suffix(".new"), text)


def _replace(path: Path, new: Path, text: str) -> None:
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    try:
        data = text.encode()
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            # a full disk needs the room
            new.unlink()
        raise
    finally:
        os.close(descriptor)
    new.replace(path)
    # who was told that it is done (a drain, a blackhole) must find it after a loss of power: the name is to last too
    with suppress(OSError):
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Have the names in a directory on disk; OSError where that cannot be, as on some network file systems."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def load(path: Path) -> tuple[dict[Prefix, Memory], str]:
    """Return the saved memories and, if there are none to be had, why (empty for a first start)."""
    return loaded(path, lambda text: decode(text, clocks()), dict)
