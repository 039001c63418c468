"""The embedded store's file: how it is made, opened, read and written. Blocking; one thread uses it.

The file is made under another name and linked into place whole, so an empty file is always a fault, never a start.
A file that is damaged, foreign or of a newer release is refused and never written.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from anycastd.store.port import ABSENT, Compacted, Conflict, Item, Snapshot, StoreUnavailable, Write

APPLICATION_ID = 0x616E7963
SCHEMA_VERSION = 1
FILE_MODE = 0o640
BUSY_WITHIN_S = 1.0
CHECKPOINT_PAGES = 4096
"""Only a backstop of 16 MiB: `tidy` moves the log into the file at times when nobody waits for a commit."""
KEEP_DELETIONS = 10_000
"""So many revisions back a watch may begin; older deletions are forgotten."""

_SCHEMA = f"""
CREATE TABLE items (key TEXT PRIMARY KEY, value TEXT, revision INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX items_by_revision ON items (revision);
CREATE TABLE numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE identity (id TEXT NOT NULL);
INSERT INTO numbers VALUES ('revision', 0), ('compacted', 0);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""
_LAST = "\U0010ffff"
_HINTS = (
    ("SQLITE_FULL", "the disk is full: free space in {directory}"),
    ("SQLITE_READONLY", "it cannot be written: look at the file system (mounted read-only?) and at its permissions"),
    ("SQLITE_BUSY", "another process holds it locked: fuser {path}"),
    ("SQLITE_LOCKED", "another process holds it locked: fuser {path}"),
    ("SQLITE_PROTOCOL", "another process holds it locked: fuser {path}"),
    ("SQLITE_CANTOPEN", "it cannot be opened: look at the permissions of {directory}"),
    ("SQLITE_IOERR", "the device cannot read or write it: look at the kernel's log"),
)
_DAMAGED = (
    "it is damaged and is left as it is: stop the daemon, move it away with its -wal and -shm files, and put a backup "
    "there (without one the daemon begins with the EIPs of the configuration file; `sqlite3 {path} .recover` may help)"
)
_NO_ROOM = ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_IOERR")
MEMORY = "/dev/shm"
_HANDED_OVER = "its contents were carried to the fleet's store (anycastd fleet switch): restart the daemon with that"
_MOVED = "it was moved or removed while in use: put it back, or restart the daemon"


class SqliteFile:
    """One file, opened when it is first used and again after a failure that closed it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: sqlite3.Connection | None = None
        self._identity: str | None = None
        self._opened_inode: int | None = None
        self._untidy = self._suspect = False

    def snapshot(self, prefix: str) -> Snapshot:
        """Return every key that begins with `prefix`; from a copy if the disk does not even take what reading needs."""
        try:
            with self._connected() as db:
                return _snapshot(db, prefix)
        except StoreUnavailable as error:
            if not (isinstance(error.__cause__, sqlite3.Error) and _name(error.__cause__).startswith(_NO_ROOM)):
                raise
            return self._snapshot_of_copy(prefix, error)

    def _snapshot_of_copy(self, prefix: str, error: StoreUnavailable) -> Snapshot:
        """Read a copy of file and log in memory: a full or read-only disk must not unbind what is in the store (I3)."""
        try:
            with TemporaryDirectory(dir=MEMORY) as directory:
                copy = Path(directory) / self.path.name
                for ending in ("", "-wal"):
                    if (source := self.path.with_name(self.path.name + ending)).exists():
                        shutil.copyfile(source, copy.with_name(copy.name + ending))
                with closing(_connect(copy)) as db:
                    self._examine(db)
                    return _snapshot(db, prefix)
        except (OSError, sqlite3.Error):
            raise error from None

    def since(self, prefix: str, after_revision: int) -> Snapshot:
        """Return what changed after a revision, oldest first, deletions too."""
        query = (
            # by its own choice SQLite looks at every key: 3 ms with 10,000 EIPs, after each commit
            "SELECT key, value, revision FROM items INDEXED BY items_by_revision "
            "WHERE revision > ? AND key >= ? AND key < ? ORDER BY revision"
        )
        with self._connected() as db, _transaction(db, "BEGIN"):
            revision = _number(db, "revision")
            if after_revision < _number(db, "compacted"):
                message = f"{self.path}: what was deleted at revision {after_revision} is not known any more"
                raise Compacted(message)
            if revision == after_revision:
                return Snapshot(revision)
            rows = db.execute(query, (after_revision, prefix, prefix + _LAST)).fetchall()
            return Snapshot(revision, {key: Item(value, changed) for key, value, changed in rows})

    def commit(self, writes: Sequence[Write], expected: Mapping[str, int]) -> int:
        """Do all writes or none; return the new revision."""
        with self._connected() as db, _transaction(db, "BEGIN IMMEDIATE"):
            if _is_handed_over(db):
                message = f"{self.path}: {_HANDED_OVER}"
                raise StoreUnavailable(message)
            for key, wanted in expected.items():
                row = db.execute("SELECT revision FROM items WHERE key = ? AND value IS NOT NULL", (key,)).fetchone()
                found = ABSENT if row is None else int(row[0])
                if found != wanted:
                    raise Conflict(key, wanted, found)
            revision = _number(db, "revision") + 1
            db.executemany(
                "INSERT INTO items VALUES (?, ?, ?) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision",
                [(write.key, write.value, revision) for write in writes],
            )
            db.execute("UPDATE numbers SET value = ? WHERE name = 'revision'", (revision,))
        self._untidy = True
        return revision

    @property
    def handed_over(self) -> bool:
        """Return whether `hand_over` was done."""
        with self._connected() as db:
            return _is_handed_over(db)

    def hand_over(self, *, back: bool = False) -> Snapshot:
        """Return everything, and from this moment refuse every commit; `back`: take them again."""
        with self._connected() as db:
            with _transaction(db, "BEGIN IMMEDIATE"):
                db.execute("INSERT OR REPLACE INTO numbers VALUES ('handed_over', ?)", (int(not back),))
            return _snapshot(db, "/")

    def replace(self, texts: Mapping[str, str]) -> int:
        """Hold these keys with these texts and no others; return the new revision."""
        with self._connected() as db, _transaction(db, "BEGIN IMMEDIATE"):
            revision = _number(db, "revision") + 1
            db.execute("UPDATE items SET value = NULL, revision = ? WHERE value IS NOT NULL", (revision,))
            rows = [(key, text, revision) for key, text in texts.items()]
            db.executemany("INSERT OR REPLACE INTO items VALUES (?, ?, ?)", rows)
            db.execute("UPDATE numbers SET value = ? WHERE name = 'revision'", (revision,))
            db.execute("DELETE FROM numbers WHERE name = 'handed_over'")
        return revision

    def tidy(self) -> None:
        """Forget old deletions and move the log into the file; after a failure, see by this whether it still fails."""
        if not self._untidy and not self._suspect:
            return
        with self._connected() as db:
            with _transaction(db, "BEGIN IMMEDIATE"):
                db.execute("UPDATE numbers SET value = value WHERE name = 'revision'")
                oldest = _number(db, "revision") - KEEP_DELETIONS
                gone = db.execute("DELETE FROM items WHERE value IS NULL AND revision <= ?", (oldest,)).rowcount
                if gone:
                    db.execute("UPDATE numbers SET value = ? WHERE name = 'compacted'", (oldest,))
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self._untidy = self._suspect = False

    def close(self) -> None:
        """Close the file if it is open."""
        if self._open is not None:
            self._open.close()
            self._open = None

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """Give the connection; say in StoreUnavailable what SQLite or the file system complains of."""
        try:
            if self._open is None:
                self._open = self._opened()
            elif self._inode() != self._opened_inode:
                # SQLite would go on in a file that no name leads to any more
                self.close()
                message = f"{self.path}: {_MOVED}"
                raise StoreUnavailable(message)
            yield self._open
        except sqlite3.Error as error:
            raise self._unavailable(error) from error
        except OSError as error:
            self._suspect = True
            message = f"{self.path}: {error.strerror or error}"
            raise StoreUnavailable(message) from error

    def _unavailable(self, error: sqlite3.Error) -> StoreUnavailable:
        name = _name(error)
        self._suspect = True
        hint = next((text for start, text in _HINTS if name.startswith(start)), "")
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            hint = _DAMAGED
        if not name.startswith(("SQLITE_FULL", "SQLITE_BUSY", "SQLITE_LOCKED")):
            # whoever repairs the file may put another in its place: the next use looks anew
            self.close()
        what = hint.format(path=self.path, directory=self.path.parent) or "SQLite refuses"
        return StoreUnavailable(f"{self.path}: {what} ({error})")

    def _inode(self) -> int | None:
        try:
            return self.path.stat().st_ino
        except FileNotFoundError:
            return None

    def _opened(self) -> sqlite3.Connection:
        if self._inode() is None:
            if self._identity is not None:
                message = f"{self.path}: {_MOVED}"
                raise StoreUnavailable(message)
            self._make()
        if self.path.stat().st_size == 0:
            message = f"{self.path}: {_DAMAGED.format(path=self.path)} (it is empty)"
            raise StoreUnavailable(message)
        self._opened_inode = self._inode()
        db = _connect(self.path)
        try:
            self._examine(db)
        except (sqlite3.Error, StoreUnavailable):
            db.close()
            raise
        return db

    def _make(self) -> None:
        self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        new = self.path.with_name(f"{self.path.name}.{uuid4().hex}.new")
        os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
        try:
            with closing(_connect(new)) as db:
                db.executescript(_SCHEMA)
                db.execute("INSERT INTO identity VALUES (?)", (uuid4().hex,))
            # link, not rename: what came there meanwhile is never replaced
            os.link(new, self.path)
        except FileExistsError:
            return
        finally:
            new.unlink(missing_ok=True)
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _examine(self, db: sqlite3.Connection) -> None:
        """Refuse what is not our file, is newer than we are, is damaged, or is another than the one we began with."""
        (application,), (version,) = (db.execute(f"PRAGMA {n}").fetchone() for n in ("application_id", "user_version"))
        if application != APPLICATION_ID:
            message = f"{self.path}: it is not the daemon's store but a database of something else; it is left alone"
            raise StoreUnavailable(message)
        if version != SCHEMA_VERSION:
            message = f"{self.path}: it has schema version {version}, this release reads {SCHEMA_VERSION}; left alone"
            raise StoreUnavailable(message)
        (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            message = f"{self.path}: {_DAMAGED.format(path=self.path)} ({found})"
            raise StoreUnavailable(message)
        (identity,) = db.execute("SELECT id FROM identity").fetchone()
        if self._identity not in (None, identity):
            message = f"{self.path}: another file stands where ours was; restart the daemon to take it over"
            raise StoreUnavailable(message)
        self._identity = identity


def _connect(path: Path) -> sqlite3.Connection:
    # mode=rw: only `_make` makes the file
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=BUSY_WITHIN_S,
        isolation_level=None,
        check_same_thread=False,
    )
    db.execute("PRAGMA journal_mode = WAL").fetchall()
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}").fetchall()
    db.execute(f"PRAGMA journal_size_limit = {CHECKPOINT_PAGES * 4096}").fetchall()
    return db


@contextmanager
def _transaction(db: sqlite3.Connection, begin: str) -> Iterator[None]:
    db.execute(begin)
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _is_handed_over(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM numbers WHERE name = 'handed_over' AND value").fetchone() is not None


def _name(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", None) or ""


def _snapshot(db: sqlite3.Connection, prefix: str) -> Snapshot:
    query = "SELECT key, value, revision FROM items WHERE key >= ? AND key < ? AND value IS NOT NULL ORDER BY key"
    with _transaction(db, "BEGIN"):
        rows = db.execute(query, (prefix, prefix + _LAST)).fetchall()
        return Snapshot(_number(db, "revision"), {key: Item(value, revision) for key, value, revision in rows})


def _number(db: sqlite3.Connection, name: str) -> int:
    (value,) = db.execute("SELECT value FROM numbers WHERE name = ?", (name,)).fetchone()
    return int(value)
