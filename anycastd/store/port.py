"""What the daemon needs of a store: keys with texts, one revision that counts all commits, compare-and-set.

The shape is etcd's: every commit is atomic and gets the next revision; each key remembers the revision of its last
change; a watch goes on after any revision that is not yet compacted away.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from anycastd.errors import AnycastdError

ABSENT = 0
"""The expected revision of a key that must not be there."""


class StoreUnavailable(AnycastdError):
    """The store cannot read or write now; the message says why and what to do. Nothing of the commit was kept."""


class Conflict(AnycastdError):
    """Somebody else changed `key` since it was read: it is at revision `found` (0 = gone), not at `expected`."""

    def __init__(self, key: str, expected: int, found: int) -> None:
        super().__init__(f"{key} is at revision {found}, not at {expected}: somebody else changed it")
        self.key, self.expected, self.found = key, expected, found


class Compacted(AnycastdError):
    """The watch would have to begin before what is still known: take a new snapshot, and watch from its revision."""


@dataclass(frozen=True, slots=True)
class Item:
    """A key's text (None: deleted) and the revision of its last change."""

    value: str | None
    revision: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All keys with a prefix at one moment; a watch after `revision` misses nothing."""

    revision: int
    items: Mapping[str, Item] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Write:
    """One key of a commit; value None deletes it."""

    key: str
    value: str | None


class Store(Protocol):
    """A store. Every method may raise StoreUnavailable."""

    @property
    def where(self) -> str:
        """Return what to look at when it fails: a path, or addresses."""
        ...

    async def snapshot(self, prefix: str, /) -> Snapshot:
        """Return every key that begins with `prefix`, in order."""
        ...

    async def commit(self, writes: Sequence[Write], expected: Mapping[str, int], /) -> int:
        """Do all writes or none and return the new revision; Conflict when a key is not at its expected revision.

        Once it returns, the writes survive the loss of power.
        """
        ...

    def watch(self, prefix: str, after_revision: int, /) -> AsyncIterator[Snapshot]:
        """Yield what changed after a revision, oldest first, a batch at a time; Compacted if that is too long ago."""
        ...

    @property
    def max_writes(self) -> int:
        """Return how many writes a commit may have."""
        ...

    async def tidy(self) -> None:
        """Do the housekeeping that no commit should wait for; after a failure, tell whether it would fail again."""
        ...

    async def close(self) -> None:
        """Let go of it; unfinished commits are finished first."""
        ...
