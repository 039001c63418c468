"""What was applied of the fleet's store, on the disk of this POP: it starts and serves by this when no store answers.

A SQLite file of its own, written change by change, so that ten thousand EIPs are not written anew for each; what was
committed survives the loss of power. Blocking; one thread uses it. A damaged file is as good as none, and is told of.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from anycastd.errors import AnycastdError
from anycastd.store.port import Item

APPLICATION_ID = 0x616E7966
SCHEMA_VERSION = 1
FILE_MODE = 0o640
BUSY_WITHIN_S = 1.0
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS items (key TEXT PRIMARY KEY, value TEXT NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""


class NotKept(AnycastdError):
    """The file cannot be read or written; the message says why."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What was applied: of which cluster ("": nothing yet), up to which revision, and our own last heartbeat's."""

    cluster: str = ""
    revision: int = 0
    beat: int = 0
    items: Mapping[str, Item] = field(default_factory=dict)


class KeptFile:
    """One file, opened when it is first used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db: sqlite3.Connection | None = None

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            if self._db is None:
                self._db = self._connect()
            yield self._db
        except (sqlite3.Error, OSError, ValueError) as error:
            self.close()
            message = f"{self.path}: {error}"
            if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
                message += self._set_aside()
            raise NotKept(message) from error

    def _set_aside(self) -> str:
        """Give a damaged file another name, so that a new one can be begun."""
        for ending in ("-shm", "-wal", ""):
            with suppress(FileNotFoundError):
                self.path.with_name(self.path.name + ending).rename(f"{self.path}.damaged{ending}")
        return f"; it is set aside as {self.path.name}.damaged"

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
        db = sqlite3.connect(self.path, timeout=BUSY_WITHIN_S, isolation_level=None, check_same_thread=False)
        numbers = tuple(db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        if numbers not in ((0, 0), (APPLICATION_ID, SCHEMA_VERSION)):
            db.close()
            message = "it is not what this release keeps of a fleet's store; move it away"
            raise ValueError(message)
        db.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; {_SCHEMA}")
        return db

    def read(self) -> Kept:
        """Return what is kept; NotKept if it cannot be read."""
        with self._opened() as db:
            facts = dict(db.execute("SELECT name, value FROM facts").fetchall())
            rows = db.execute("SELECT key, value, revision FROM items ORDER BY key").fetchall()
            items = {key: Item(value, revision) for key, value, revision in rows}
            return Kept(facts.get("cluster", ""), int(facts.get("revision", 0)), int(facts.get("beat", 0)), items)

    def replace(self, kept: Kept) -> None:
        """Keep this and nothing else."""
        with self._opened() as db, _transaction(db):
            db.execute("DELETE FROM items")
            rows = [(key, item.value, item.revision) for key, item in kept.items.items()]
            db.executemany("INSERT INTO items VALUES (?, ?, ?)", rows)
            facts = {"cluster": kept.cluster, "revision": kept.revision, "beat": kept.beat}
            db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", [(k, str(v)) for k, v in facts.items()])

    def change(self, items: Mapping[str, Item], facts: Mapping[str, int]) -> None:
        """Keep changes (value None: gone) that are newer than what is kept, and the revisions in `facts`."""
        gone = [(key, item.revision) for key, item in items.items() if item.value is None]
        rows = [(key, item.value, item.revision) for key, item in items.items() if item.value is not None]
        with self._opened() as db, _transaction(db):
            db.executemany("DELETE FROM items WHERE key = ? AND revision < ?", gone)
            db.executemany(
                "INSERT INTO items VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE "
                "SET value = excluded.value, revision = excluded.revision WHERE excluded.revision > items.revision",
                rows,
            )
            db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", [(k, str(v)) for k, v in facts.items()])

    def close(self) -> None:
        """Close the file if it is open."""
        if self._db is not None:
            self._db.close()
            self._db = None


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
