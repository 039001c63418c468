"""The journal's file: made, examined, written, kept within its bounds. Blocking; one thread uses it.

A damaged file is set aside under a name that says so and a new one is begun; one of a newer release, or of another
program, is left as it is. What was committed survives the loss of power.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from anycastd.model.journal import Entry, EntryKind
from anycastd.model.topology import JournalConfig
from anycastd.policy.snapshot import Snapshot, encode
from anycastd.store.journal_reading import (
    APPLICATION_ID,
    BUSY_WITHIN_S,
    COLUMNS,
    DAMAGED,
    SCHEMA_VERSION,
    JournalUnavailable,
    examine,
    name_of,
)

FILE_MODE = 0o640
KEPT_ASIDE = 2
"""Damaged files that are kept for a look; older ones are removed, so that they cannot fill a disk."""
PRUNE_AT_ONCE = 500
REST_EACH, REST_S = 8, 0.004
"""After so many texts, 0.6 ms of work, the thread rests, so that the event loop never has to wait for it long."""

_SCHEMA = f"""
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
BEGIN;
CREATE TABLE entries (
  number INTEGER PRIMARY KEY, unix_s REAL NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, before TEXT NOT NULL,
  after TEXT NOT NULL, reason TEXT NOT NULL, hold TEXT NOT NULL, detail TEXT NOT NULL);
CREATE INDEX decisions ON entries (subject, number) WHERE kind = 'decision';
CREATE TABLE snapshots (number INTEGER PRIMARY KEY, document TEXT NOT NULL);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""
_ADD = f"INSERT OR IGNORE INTO entries ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
"""Ignored is what a write, whose end nobody waited for, had written already."""
_ADD_SNAPSHOT = "INSERT OR IGNORE INTO snapshots (number, document) VALUES (?, ?)"
_HINTS = (
    ("SQLITE_FULL", "the disk is full: free space in {directory}"),
    ("SQLITE_READONLY", "it cannot be written: look at the file system (mounted read-only?) and at its permissions"),
    ("SQLITE_BUSY", "another process holds it locked: fuser {path}"),
    ("SQLITE_LOCKED", "another process holds it locked: fuser {path}"),
    ("SQLITE_CANTOPEN", "it cannot be opened: look at the permissions of {directory}, and whether its disk is full"),
    ("SQLITE_IOERR", "the device cannot read or write it, or is full: look at the kernel's log"),
)


Doomed = tuple[int, int]
"""The number of an entry to be removed, and whether it is a decision."""


@dataclass(frozen=True, slots=True)
class Note:
    """An entry on its way to the file; decisions with what made them."""

    entry: Entry
    snapshot: Snapshot | None = None


class JournalFile:
    """One file. `last` is the number of its newest entry; a file that follows a damaged one begins far above it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last = 0
        self._db: sqlite3.Connection | None = None
        self._inode = 0
        self._counts: dict[bool, int] = {}
        """How many decisions there are, and how many others."""

    def open(self) -> None:
        """Open or make the file, if that is not done; JournalUnavailable says why it cannot be had."""
        if self._db is not None:
            if self._is_ours():
                return
            # moved or removed: SQLite would go on in a file that no name leads to any more
            self.close()
        try:
            self._db = self._opened()
        except sqlite3.Error as error:
            raise self._unavailable(error) from error
        except OSError as error:
            message = f"{self.path}: {error.strerror or error}"
            raise JournalUnavailable(message) from error

    def _is_ours(self) -> bool:
        try:
            return self.path.stat().st_ino == self._inode
        except OSError:
            return False

    def _opened(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
        db = sqlite3.connect(self.path, timeout=BUSY_WITHIN_S, isolation_level=None, check_same_thread=False)
        try:
            self._begin(db)
        except (sqlite3.Error, JournalUnavailable):
            db.close()
            raise
        self._inode = self.path.stat().st_ino
        return db

    def _begin(self, db: sqlite3.Connection) -> None:
        tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not tables and not any(db.execute(f"PRAGMA {n}").fetchone()[0] for n in ("application_id", "user_version")):
            db.executescript(_SCHEMA)
        examine(db, self.path)
        (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            message = f"database disk image is malformed: {found}"
            raise _damage(message)
        db.execute("PRAGMA journal_mode = WAL").fetchall()
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA journal_size_limit = {4 << 20}").fetchall()
        (last,) = db.execute("SELECT coalesce(max(number), 0) FROM entries").fetchone()
        self.last = max(self.last, last)
        rows = db.execute("SELECT kind = 'decision', count(*) FROM entries GROUP BY 1").fetchall()
        self._counts = {False: 0, True: 0} | {bool(is_decision): count for is_decision, count in rows}

    def _unavailable(self, error: sqlite3.Error) -> JournalUnavailable:
        name = name_of(error)
        if name.startswith(DAMAGED):
            return self._set_aside(error)
        if not name.startswith(("SQLITE_FULL", "SQLITE_BUSY", "SQLITE_LOCKED")):
            self.close()
        hint = next((text for start, text in _HINTS if name.startswith(start)), "SQLite refuses")
        hint = hint.format(path=self.path, directory=self.path.parent)
        return JournalUnavailable(f"{self.path}: {hint} ({error})")

    def _set_aside(self, error: sqlite3.Error) -> JournalUnavailable:
        """Give the damaged file another name; what it held may be had by `sqlite3 FILE .recover`."""
        self.close()
        unix_s = int(time.time())
        aside = self.path.with_name(f"{self.path.name}.damaged-{unix_s}")
        try:
            for ending in ("-shm", "-wal", ""):
                with suppress(FileNotFoundError):
                    self.path.with_name(self.path.name + ending).rename(aside.with_name(aside.name + ending))
            for old in self.damaged()[:-KEPT_ASIDE]:
                for ending in ("-shm", "-wal", ""):
                    old.with_name(old.name + ending).unlink(missing_ok=True)
        except OSError as refused:
            return JournalUnavailable(f"{self.path}: it is damaged ({error}) and cannot be set aside: {refused}")
        # numbers of the lost file are never given again, so that no reader takes another entry for one it knows
        self.last = max(self.last, unix_s)
        return JournalUnavailable(f"{self.path}: it was damaged ({error}) and is set aside as {aside.name}")

    def damaged(self) -> list[Path]:
        """Return the damaged files that were set aside and are still there, oldest first; none if it cannot be told."""
        try:
            found = list(self.path.parent.glob(f"{self.path.name}.damaged-*"))
        except OSError:
            # the disk has gone: that is told of where the file itself is used
            return []
        return sorted(one for one in found if not one.name.endswith(("-wal", "-shm")))

    def append(self, notes: Sequence[Note], *, rest: bool = True) -> None:
        """Write entries, all or none; once it returns they survive the loss of power. `rest`: see REST_EACH."""
        entries, snapshots = [], []
        for count, note in enumerate(notes, start=1):
            entries.append(_storable(note.entry))
            if note.snapshot is not None:
                text = json.dumps(encode(note.snapshot), separators=(",", ":"), allow_nan=False)
                snapshots.append((note.entry.number, text))
            if rest and count % REST_EACH == 0:
                time.sleep(REST_S)
        self.open()
        self._transaction(((_ADD, entries), (_ADD_SNAPSHOT, snapshots)))
        decisions = sum(note.entry.kind is EntryKind.DECISION for note in notes)
        self._counts[True] += decisions
        self._counts[False] += len(notes) - decisions
        self.last = max(self.last, *(note.entry.number for note in notes))

    def _transaction(self, statements: Sequence[tuple[str, Sequence[tuple[object, ...]]]]) -> int:
        """Do all or nothing; return how many rows the last statement touched."""
        db, touched = self._database, 0
        try:
            db.execute("BEGIN IMMEDIATE")
            for statement, rows in statements:
                touched = db.executemany(statement, rows).rowcount
            db.execute("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                if db.in_transaction:
                    db.execute("ROLLBACK")
            raise self._unavailable(error) from error
        return touched

    @property
    def _database(self) -> sqlite3.Connection:
        if self._db is None:
            message = f"{self.path}: it is not open"
            raise JournalUnavailable(message)
        return self._db

    def prune(self, config: JournalConfig, unix_s: float) -> bool:
        """Remove some of what is too many, too large or too old; return whether there may be more of it.

        What is too old is never hurried: a clock that was set forward must not empty the journal in one go.
        """
        self.open()
        try:
            excess = self._excess(config)
            doomed = excess or self._old(unix_s - config.keep_s)
            if doomed:
                places = [(number,) for number, _ in doomed]
                self._transaction(
                    (
                        ("DELETE FROM snapshots WHERE number = ?", places),
                        ("DELETE FROM entries WHERE number = ?", places),
                    )
                )
                for _, is_decision in doomed:
                    self._counts[bool(is_decision)] -= 1
            # as a script: `execute` ends this statement after its first page
            self._database.executescript(f"PRAGMA incremental_vacuum({PRUNE_AT_ONCE})")
        except sqlite3.Error as error:
            raise self._unavailable(error) from error
        return bool(excess)

    def _excess(self, config: JournalConfig) -> list[Doomed]:
        """Return some of the oldest entries if there are too many, or the file is too large."""
        for is_decision, most in ((1, config.max_decisions), (0, config.max_events)):
            if (beyond := self._counts[bool(is_decision)] - most) > 0:
                where = f"WHERE (kind = 'decision') = {is_decision}"
                return self._oldest(where, min(beyond, PRUNE_AT_ONCE))
        pages, free, size = (
            self._database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        if (pages - free) * size > config.max_size_bytes:
            return self._oldest("", min(sum(self._counts.values()) // 16 + 1, PRUNE_AT_ONCE))
        return []

    def _old(self, before_s: float) -> list[Doomed]:
        query = "SELECT number, kind = 'decision', unix_s FROM entries ORDER BY number LIMIT ?"
        oldest = self._database.execute(query, (PRUNE_AT_ONCE,)).fetchall()
        return [(number, is_decision) for number, is_decision, at_s in oldest if at_s < before_s]

    def _oldest(self, where: str, count: int) -> list[Doomed]:
        query = f"SELECT number, kind = 'decision' FROM entries {where} ORDER BY number LIMIT ?"
        return self._database.execute(query, (count,)).fetchall()

    @property
    def size_bytes(self) -> int | None:
        """Return how large the file is with its log; None if it is not there."""
        try:
            log = self.path.with_name(f"{self.path.name}-wal")
            return self.path.stat().st_size + (log.stat().st_size if log.exists() else 0)
        except OSError:
            return None

    def close(self) -> None:
        """Close the file if it is open."""
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()
            self._db = None


def _storable(entry: Entry) -> Entry:
    """Return the entry with nothing that UTF-8 has no bytes for: one such text would hold up all that come after it."""
    number, unix_s, kind, *texts = entry
    if all(map(str.isascii, texts)):
        return entry
    return Entry(number, unix_s, kind, *map(_utf8, texts))


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _damage(message: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(message)
    error.sqlite_errorname = "SQLITE_CORRUPT"
    return error
