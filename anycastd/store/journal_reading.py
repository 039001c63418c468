"""Reading the journal's file: by the daemon beside its writer, and by a command while no daemon runs.

Nothing here writes, and nothing is left behind in the directory.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from anycastd.errors import AnycastdError
from anycastd.model.journal import Entry, EntryKind, Page, Wanted

APPLICATION_ID = 0x616E796A
SCHEMA_VERSION = 1
BUSY_WITHIN_S = 1.0
MEMORY = "/dev/shm"
COLUMNS = "number, unix_s, kind, subject, before, after, reason, hold, detail"
DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


class JournalUnavailable(AnycastdError):
    """The journal cannot be read or written now; the message says why and what to do."""


class Newer(JournalUnavailable):
    """The file is of a newer release, or of another program: it is left as it is."""


def name_of(error: sqlite3.Error) -> str:
    """Return SQLite's name of an error."""
    return getattr(error, "sqlite_errorname", None) or ""


def examine(db: sqlite3.Connection, path: Path) -> None:
    """Refuse what is not a journal of this release."""
    (application,), (version,) = (db.execute(f"PRAGMA {n}").fetchone() for n in ("application_id", "user_version"))
    if application != APPLICATION_ID:
        message = f"{path}: it is not a journal but a database of something else; it is left alone"
        raise Newer(message)
    if version != SCHEMA_VERSION:
        message = f"{path}: it has format {version}, this release knows {SCHEMA_VERSION}; it is left alone"
        raise Newer(message)


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection that only reads; JournalUnavailable says why there is none."""
    try:
        if not path.stat().st_size:
            message = f"{path}: it is empty"
            raise JournalUnavailable(message)
        # a group's member may read the file and not make what SQLite wants beside it
        with path.open("rb"), _found(path) as db:
            examine(db, path)
            yield db
    except FileNotFoundError as error:
        message = f"{path}: there is no such file; did the daemon ever run?"
        raise JournalUnavailable(message) from error
    except PermissionError as error:
        message = f"{path}: permission denied; become root or a member of the file's group: ls -l {path}"
        raise JournalUnavailable(message) from error
    except sqlite3.Error as error:
        hint = "it is damaged" if name_of(error).startswith(DAMAGED) else "it cannot be read"
        message = f"{path}: {hint} ({error})"
        raise JournalUnavailable(message) from error
    except OSError as error:
        message = f"{path}: {error.strerror or error}"
        raise JournalUnavailable(message) from error


@contextmanager
def _found(path: Path) -> Iterator[sqlite3.Connection]:
    log = path.with_name(f"{path.name}-wal")
    if not log.exists() or not log.stat().st_size:
        # nobody writes, and all is in the file: read so, SQLite makes no files of its own beside it
        with _closing(_connected(path, "immutable=1")) as db:
            yield db
        return
    db = _connected(path, "mode=ro")
    with _closing(db):
        try:
            db.execute("SELECT 1 FROM entries LIMIT 1").fetchone()
        except sqlite3.OperationalError:
            # a full disk, or a log that another user left and that SQLite may not bring in order
            with TemporaryDirectory(dir=MEMORY) as directory:
                copy = Path(directory) / path.name
                for source in (path, log):
                    shutil.copyfile(source, copy.with_name(source.name))
                with _closing(_connected(copy, "mode=rw")) as copied:
                    yield copied
            return
        yield db


@contextmanager
def _closing(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    try:
        yield db
    finally:
        db.close()


def _connected(path: Path, how: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=BUSY_WITHIN_S, isolation_level=None)


def page(db: sqlite3.Connection, wanted: Wanted) -> Page:
    """Return the entries that are asked for, as of one moment."""
    terms, values = _terms(wanted)
    where = f" WHERE {' AND '.join(terms)}" if terms else ""
    order = "DESC" if wanted.newest_first else "ASC"
    query = f"SELECT {COLUMNS} FROM entries{where} ORDER BY number {order} LIMIT ?"
    db.execute("BEGIN")
    try:
        rows = db.execute(query, (*values, wanted.limit + 1)).fetchall()
        (first,) = db.execute("SELECT coalesce(min(number), 0) FROM entries").fetchone()
        (last,) = db.execute("SELECT coalesce(max(number), 0) FROM entries").fetchone()
    finally:
        db.execute("ROLLBACK")
    return Page(tuple(map(_entry, rows[: wanted.limit])), len(rows) > wanted.limit, first, last)


def _terms(wanted: Wanted) -> tuple[list[str], list[object]]:
    terms: list[str] = []
    values: list[object] = []

    def need(term: str, *given: object) -> None:
        terms.append(term)
        values.extend(given)

    # a newer release may have written others, of which this one knows nothing to say
    kinds = EntryKind if wanted.kinds is None else wanted.kinds
    need(f"kind IN ({', '.join('?' * len(kinds))})", *sorted(kinds))
    if wanted.subject is not None:
        need("subject = ?", wanted.subject)
    if wanted.reason is not None:
        # an attack has several reasons, with commas between them
        among = "(kind = 'attack' AND instr(',' || reason || ',', ',' || ? || ','))"
        need(f"(reason = ? OR hold = ? OR {among})", *(wanted.reason,) * 3)
    if wanted.since_unix_s is not None:
        need("unix_s >= ?", wanted.since_unix_s)
    if wanted.before is not None:
        need("number < ?", wanted.before)
    if wanted.after is not None:
        need("number > ?", wanted.after)
    return terms, values


def one(db: sqlite3.Connection, number: int) -> tuple[Entry, str] | None:
    """Return an entry and the text of its snapshot (empty: it has none), or None if it is not there."""
    query = f"SELECT {COLUMNS} FROM entries WHERE number = ?"
    row = db.execute(query, (number,)).fetchone()
    if row is None or row[2] not in set(EntryKind):
        return None
    found = db.execute("SELECT document FROM snapshots WHERE number = ?", (number,)).fetchone()
    return _entry(row), "" if found is None else str(found[0])


def _entry(row: tuple[int, float, str, str, str, str, str, str, str]) -> Entry:
    return Entry(*row[:2], EntryKind(row[2]), *row[3:])
