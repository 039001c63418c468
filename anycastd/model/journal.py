"""What is written down of what happened: one entry for each decision and each change of state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class EntryKind(StrEnum):
    """What an entry tells of. The value is the event's name on the wire, the metric label, the heading in the docs."""

    DECISION = "decision"
    CHECK = "check"
    TUNNEL = "tunnel"
    BACKEND = "backend"
    REGION = "region"
    REROUTE = "reroute"
    EIP = "eip"
    SESSION = "session"
    SPEAKER = "speaker"
    ALARM = "alarm"
    ALARM_CLEARED = "alarm_cleared"
    ORDER = "order"
    ATTACK = "attack"
    PLAYBOOK = "playbook"
    RELOAD = "reload"
    FLEET = "fleet"
    START = "start"
    STOP = "stop"
    GAP = "gap"


class LostWhy(StrEnum):
    """Why entries were not written, or not sent to a reader."""

    QUEUE_FULL = "queue_full"
    """More at once than may wait to be written."""
    FILE_REFUSES = "file_refuses"
    """The file could not be written while they waited."""
    SLOW_READER = "slow_reader"
    """A reader of events was further behind than is kept for it."""
    NOT_KEPT = "not_kept"
    """Older than what the journal keeps, or of another file."""
    NOT_READABLE = "not_readable"
    """The journal's file cannot be read now."""

    @property
    def is_counted(self) -> bool:
        """Return whether a metric counts it; what a reader asks for and cannot have any more is only told to it."""
        return self in (LostWhy.QUEUE_FULL, LostWhy.FILE_REFUSES, LostWhy.SLOW_READER)


class Entry(NamedTuple):
    """One entry. `number` counts up and is never used twice; 0 while the file that gives it is not open yet.

    `before`, `after`, `reason` and `hold` are words of the enums of what `kind` says; `unix_s` is wall-clock time.
    A tuple, because the event loop makes thousands at once: 1 us each, where a frozen dataclass takes 4.
    """

    number: int
    unix_s: float
    kind: EntryKind
    subject: str
    before: str = ""
    after: str = ""
    reason: str = ""
    hold: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which entries are asked for; None = all. `before` and `after` are numbers, neither included.

    `reason` is of the entry or what it was held by. `newest_first` is the order, and which end `limit` cuts off.
    """

    kinds: frozenset[EntryKind] | None = None
    subject: str | None = None
    reason: str | None = None
    since_unix_s: float | None = None
    before: int | None = None
    after: int | None = None
    limit: int = 100
    newest_first: bool = True


@dataclass(frozen=True, slots=True)
class Page:
    """Entries in the order asked for. `first` and `last` are the numbers of the oldest and newest entry of the file."""

    entries: tuple[Entry, ...]
    more: bool = False
    first: int = 0
    last: int = 0


@dataclass(frozen=True, slots=True)
class JournalFacts:
    """What is told of the journal itself: since the start, and as it stands. `size_bytes` None: not known."""

    written: Mapping[EntryKind, int] = field(default_factory=dict)
    lost: Mapping[LostWhy, int] = field(default_factory=dict)
    size_bytes: int | None = None
    waiting: int = 0
    readers: int = 0
