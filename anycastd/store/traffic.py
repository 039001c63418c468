"""The meter's file: accounts, 5-minute points, months.

A file of its own beside the store's, because it grows to gigabytes with thousands of busy EIPs: the store stays small
enough to be checked at every start and copied, and no binding waits for the meter's transactions. Everything here runs
in one thread, the meter's own. A slot is written in one transaction; what the disk refuses waits in memory
(`traffic.backlog`) and is written with the next.
"""

from __future__ import annotations

import json
import math
import sqlite3
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path

from anycastd.errors import AnycastdError
from anycastd.model.eip import EipId
from anycastd.model.nft import Count, NamedCounter
from anycastd.model.traffic import (
    SLOT_S,
    Batch,
    EipRecord,
    MeterState,
    Moment,
    MonthlyRate,
    Point,
    Saved,
    SlotTime,
    Totals,
    Volume,
)
from anycastd.traffic.backlog import MAX_POINTS, bounded
from anycastd.traffic.ledger import WIDTH
from anycastd.traffic.percentile import metered, monthly_rate
from anycastd.traffic.slots import month_before, month_of, month_slots, slot_of

APPLICATION_ID = 0x616E7974
SCHEMA_VERSION = 1
FILE_MODE = 0o640
PRUNE_SLOTS = 12
"""Slots removed after a write at most; one falls due for each that is added."""
BUSY_WITHIN_S = 2.0
MONTHS_S = 400 * 86400.0
"""How long the monthly rates are kept."""
MONTHS = 14
"""So many months' rates are kept whatever the wall clock says: set forward, it must not empty the file."""
LEAST_S = 31 * 86400.0
"""So much metered time is kept whatever the wall clock says."""

_SCHEMA = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
CREATE TABLE IF NOT EXISTS traffic_state (id INTEGER PRIMARY KEY CHECK (id = 1), document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS traffic_eip (
  number INTEGER PRIMARY KEY, address TEXT NOT NULL UNIQUE, eip TEXT NOT NULL, since_unix_s REAL NOT NULL,
  counts BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS traffic_slot (
  slot INTEGER, slots INTEGER, seconds REAL NOT NULL, PRIMARY KEY (slot, slots)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS traffic_point (
  slot INTEGER, number INTEGER, slots INTEGER, in_bytes INTEGER NOT NULL, in_packets INTEGER NOT NULL,
  out_bytes INTEGER NOT NULL, out_packets INTEGER NOT NULL, limit_in_packets INTEGER NOT NULL,
  limit_out_packets INTEGER NOT NULL, unbound_packets INTEGER NOT NULL, no_path_packets INTEGER NOT NULL,
  PRIMARY KEY (slot, number, slots)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS traffic_month (
  month TEXT, number INTEGER, points INTEGER NOT NULL, in_bps INTEGER NOT NULL, out_bps INTEGER NOT NULL,
  PRIMARY KEY (month, number)) WITHOUT ROWID;
"""
_COLUMNS = ", ".join(Volume._fields)
# a slot that is met again (the wall clock was set back) holds both times' traffic
_ADD_POINT = (
    f"INSERT INTO traffic_point (slot, number, slots, {_COLUMNS}) VALUES ({', '.join('?' * (3 + len(Volume._fields)))})"
    f" ON CONFLICT DO UPDATE SET {', '.join(f'{name} = {name} + excluded.{name}' for name in Volume._fields)}"
)
_ADD_SLOT = (
    "INSERT INTO traffic_slot (slot, slots, seconds) VALUES (?, ?, ?)"
    " ON CONFLICT DO UPDATE SET seconds = seconds + excluded.seconds"
)
_PUT_EIP = "INSERT OR REPLACE INTO traffic_eip (number, address, eip, since_unix_s, counts) VALUES (?, ?, ?, ?, ?)"
# by number slot for slot, since the points of all EIPs lie together by time (appended and removed in one place);
# then the runs that began before
_POINTS = f"""
WITH RECURSIVE span (slot) AS (SELECT :first UNION ALL SELECT slot + 1 FROM span WHERE slot + 1 < :end)
SELECT p.slot, p.slots, {_COLUMNS} FROM span JOIN traffic_point p ON p.slot = span.slot AND p.number = :number
UNION ALL
SELECT p.slot, p.slots, {_COLUMNS} FROM traffic_slot s JOIN traffic_point p
  ON p.slot = s.slot AND p.number = :number AND p.slots = s.slots
  WHERE s.slot < :first AND s.slot + s.slots > :first AND s.slots > 1
ORDER BY 1
"""
_SLOTS = "SELECT slot, slots, seconds FROM traffic_slot WHERE slot + slots > ? AND slot < ? ORDER BY slot"
_counts = struct.Struct(f"<{3 * WIDTH}q")


class TrafficNotSaved(AnycastdError):
    """The file cannot be read or written now; what was to be written is kept."""


@dataclass(frozen=True, slots=True)
class History:
    """What is kept of one EIP: points and metered slots of a span, and the rates of the last month and this one."""

    points: tuple[Point, ...] = ()
    times: tuple[SlotTime, ...] = ()
    months: tuple[MonthlyRate, ...] = ()


class TrafficFile:
    """The meter's tables in `path`. Not to be used from two threads at once; every method may block on the disk."""

    def __init__(self, path: Path, *, history_s: float, max_points: int = MAX_POINTS, least_s: float = LEAST_S) -> None:
        self._path, self._max_points, self._least_s = path, max_points, least_s
        self.history_s = history_s
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._waiting: Batch | None = None
        self._finished = ""
        """The last month whose rates are known to be stored for every EIP."""
        self._rates: dict[tuple[int, str], MonthlyRate] = {}
        """Rates that were asked for; they hold until another slot is written."""

    def open(self) -> Saved | None:
        """Open or make the tables and return what was saved, None for nothing; TrafficNotSaved if it cannot be done."""
        self.close()
        try:
            self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._path.touch(FILE_MODE)
            # autocommit: transactions are begun and ended by hand
            connection = sqlite3.connect(
                self._path, timeout=BUSY_WITHIN_S, isolation_level=None, check_same_thread=False
            )
            self._connection, self._inode = connection, self._path.stat().st_ino
            self._examine(connection)
            # NORMAL: a power failure may lose the last points, and takes the kernel's counters as well
            connection.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; {_SCHEMA}")
            return self._saved()
        except (sqlite3.Error, OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
            self.close()
            raise self._not_saved(error) from error

    def _examine(self, connection: sqlite3.Connection) -> None:
        """Raise ValueError for a file of something else or of a newer release, which is left as it is."""
        (application,), (version,) = (
            connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
        )
        if (application, version) not in ((0, 0), (APPLICATION_ID, SCHEMA_VERSION)):
            message = f"application {application:#x}, schema version {version}: not a file of this release's meter"
            raise ValueError(message)

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _saved(self) -> Saved | None:
        found = self._rows("SELECT document FROM traffic_state").fetchone()
        rows = self._rows("SELECT number, address, eip, since_unix_s, counts FROM traffic_eip")
        return None if found is None else Saved(_state(found[0]), tuple(map(_record, rows)))

    def _not_saved(self, error: Exception) -> TrafficNotSaved:
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        hint = "; move it away, and a new one is begun" if damaged else ""
        return TrafficNotSaved(f"{self._path}: {error}{hint}")

    @property
    def _database(self) -> sqlite3.Connection:
        if self._connection is None:
            message = f"{self._path} is not open"
            raise TrafficNotSaved(message)
        if not self._is_ours():
            # SQLite would go on in a file that no name leads to any more
            self.close()
            message = f"{self._path} was moved or removed while in use: a new one is begun"
            raise TrafficNotSaved(message)
        return self._connection

    def _is_ours(self) -> bool:
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    @property
    def is_open(self) -> bool:
        """Return whether it is open: one that was moved away is closed when it is next used."""
        return self._connection is not None

    def _rows(self, query: str, parameters: tuple[object, ...] | dict[str, object] = ()) -> sqlite3.Cursor:
        return self._database.execute(query, parameters)

    def write(self, batch: Batch) -> None:
        """Write what waits and `batch`, then remove what is too old; TrafficNotSaved keeps what is not written."""
        self._waiting = waiting = bounded(self._waiting, batch, self._max_points)
        self._rates.clear()
        try:
            anew = self._begun_anew(waiting)
            self._transaction(self._statements(waiting, anew))
            self._waiting = None
            if self._finished in {month_of(time.slot) for time in waiting.slots}:
                self._finished = ""
            self._prune(waiting.state.at.unix_s)
        except sqlite3.Error as error:
            raise self._not_saved(error) from error

    def _transaction(self, statements: Iterable[tuple[str, Iterable[tuple[object, ...]]]]) -> None:
        self._rows("BEGIN IMMEDIATE")
        try:
            for statement, rows in statements:
                self._database.executemany(statement, rows)
            self._rows("COMMIT")
        except sqlite3.Error:
            if self._database.in_transaction:
                self._rows("ROLLBACK")
            raise

    def _begun_anew(self, batch: Batch) -> list[str]:
        """Return the months that are on record and yet go on: the wall clock was ahead when they were taken for over.

        Not those whose points were removed since: what is on record is better than what could be made of the rest.
        """
        found = []
        for month in {month_of(time.slot) for time in batch.slots}:
            (points,) = self._rows("SELECT max(points) FROM traffic_month WHERE month = ?", (month,)).fetchone()
            if points is not None:
                slots = month_slots(month)
                rows = self._rows(_SLOTS, (slots.start, slots.stop))
                if len(metered((SlotTime(*row) for row in rows), slots)) >= points:
                    found.append(month)
        return found

    def _statements(self, batch: Batch, anew: list[str]) -> Iterator[tuple[str, Iterable[tuple[object, ...]]]]:
        yield "DELETE FROM traffic_month WHERE month = ?", ((month,) for month in anew)
        yield "DELETE FROM traffic_eip WHERE number = ?", ((number,) for number in batch.gone)
        yield _PUT_EIP, map(_eip_row, batch.records.values())
        numbered = ((number, point) for number, points in batch.points.items() for point in points)
        yield _ADD_POINT, ((point.slot, number, point.slots, *point.values) for number, point in numbered)
        yield _ADD_SLOT, batch.slots
        yield "INSERT OR REPLACE INTO traffic_state (id, document) VALUES (1, ?)", ((_document(batch.state),),)

    def _prune(self, unix_s: float) -> None:
        """Remove what is too old by the wall clock and by the time that was metered since, as the clock may be wrong.

        Points of this month stay, and those of the last until its rates are on record, however short `history_s` is.
        """
        month = month_of(slot_of(unix_s))
        last = month_before(month)
        needed = month_slots(month if self._finished == last else last).start
        least = math.ceil(max(self.history_s, self._least_s) / SLOT_S)
        row = self._rows(
            "SELECT slot + slots FROM traffic_slot ORDER BY slot DESC LIMIT 1 OFFSET ?", (least,)
        ).fetchone()
        before = -1 if row is None else min(slot_of(unix_s - self.history_s), needed, row[0])
        self._prune_points(before)
        oldest = month_of(slot_of(unix_s - MONTHS_S))
        recent = "SELECT DISTINCT month FROM traffic_month ORDER BY month DESC LIMIT ?"
        self._transaction(
            (
                ("DELETE FROM traffic_slot WHERE slot + slots <= ?", ((before,),)),
                (f"DELETE FROM traffic_month WHERE month < ? AND month NOT IN ({recent})", ((oldest, MONTHS),)),
            )
        )

    def _prune_points(self, before: int) -> None:
        """Remove points that ended before a slot; a run is kept until its last slot is that old."""
        at = -1
        for _ in range(PRUNE_SLOTS):
            (found,) = self._rows("SELECT min(slot) FROM traffic_point WHERE slot > ?", (at,)).fetchone()
            if found is None or found >= before:
                return
            at = found
            self._transaction((("DELETE FROM traffic_point WHERE slot = ? AND slot + slots <= ?", ((at, before),)),))

    def history(self, number: int, since_unix_s: float, span_s: float, unix_s: float) -> History:
        """Return what is kept of the EIP with that number, known since `since_unix_s`; TrafficNotSaved on errors.

        What waits to be written is part of it.
        """
        month = month_of(slot_of(unix_s))
        try:
            points, times = self._between(number, slot_of(unix_s - span_s), slot_of(unix_s) + 1)
            months = (self._month(number, month_before(month), since_unix_s), self._month(number, month, since_unix_s))
        except sqlite3.Error as error:
            raise self._not_saved(error) from error
        return History(tuple(points), tuple(times), (months[0], replace(months[1], complete=False)))

    def _between(self, number: int, first: int, end: int) -> tuple[list[Point], list[SlotTime]]:
        times = [SlotTime(*row) for row in self._rows(_SLOTS, (first, end))]
        rows = self._rows(_POINTS, {"number": number, "first": first, "end": end})
        points = [Point(slot, slots, tuple(rest)) for slot, slots, *rest in rows]
        if self._waiting is not None:
            times += (time for time in self._waiting.slots if time.slot + time.slots > first and time.slot < end)
            waiting = self._waiting.points.get(number, ())
            points += (point for point in waiting if point.slot + point.slots > first and point.slot < end)
        return points, times

    def _month(self, number: int, month: str, since_unix_s: float) -> MonthlyRate:
        query = "SELECT points, in_bps, out_bps FROM traffic_month WHERE month = ? AND number = ?"
        if (found := self._rows(query, (month, number)).fetchone()) is not None:
            count, in_bps, out_bps = found
            return MonthlyRate(month, count, in_bps, out_bps, complete=True)
        if (number, month) not in self._rates:
            slots = month_slots(month)
            points, times = self._between(number, slots.start, slots.stop)
            self._rates[number, month] = monthly_rate(month, points, times, since_unix_s, complete=True)
        return self._rates[number, month]

    def finish_months(self, unix_s: float, count: int) -> bool:
        """Store the rates of the last month for up to `count` EIPs; return whether all are stored."""
        month = month_before(month_of(slot_of(unix_s)))
        if self._finished == month or self._waiting is not None:
            return self._finished == month
        query = (
            "SELECT number, since_unix_s FROM traffic_eip WHERE since_unix_s < ?"
            " AND number NOT IN (SELECT number FROM traffic_month WHERE month = ?) LIMIT ?"
        )
        try:
            due = self._rows(query, (month_slots(month).stop * SLOT_S, month, count)).fetchall()
            rates = [(number, self._month(number, month, since_unix_s)) for number, since_unix_s in due]
            put = "INSERT OR REPLACE INTO traffic_month (month, number, points, in_bps, out_bps) VALUES (?, ?, ?, ?, ?)"
            self._transaction(((put, ((month, n, rate.points, rate.in_bps, rate.out_bps) for n, rate in rates)),))
        except sqlite3.Error as error:
            raise self._not_saved(error) from error
        if not due:
            self._finished = month
        return not due


def _eip_row(record: EipRecord) -> tuple[object, ...]:
    counts = _counts.pack(*record.seen, *record.total, *record.mark)
    return (record.number, str(record.address), record.eip, record.since_unix_s, counts)


def _record(row: tuple[int, str, str, float, bytes]) -> EipRecord:
    number, address, eip, since_unix_s, blob = row
    counts = _counts.unpack(blob)
    return EipRecord(
        number, ip_address(address), EipId(eip), since_unix_s,
        counts[:WIDTH], counts[WIDTH : 2 * WIDTH], counts[2 * WIDTH :],
    )  # fmt: skip


def _document(state: MeterState) -> str:
    named = {
        name.value: [seen.packets, seen.bytes, total.packets, total.bytes]
        for name, (seen, total) in state.named.items()
    }
    return json.dumps(
        {
            "boot": state.at.boot,
            "monotonic_s": state.at.monotonic_s,
            "unix_s": state.at.unix_s,
            "open_slot": state.open_slot,
            "open_seconds": state.open_seconds,
            "next_number": state.next_number,
            "pop": state.pop,
            "named": named,
        }
    )


def _state(text: str) -> MeterState:
    document = json.loads(text)
    known = {name.value: name for name in NamedCounter}
    named = {
        known[name]: (Count(*counts[:2]), Count(*counts[2:]))
        for name, counts in document["named"].items()
        if name in known
    }
    times_s = [float(document[name]) for name in ("monotonic_s", "unix_s", "open_seconds")]
    if not all(map(math.isfinite, times_s)):
        message = f"a time is not finite: {times_s}"
        raise ValueError(message)
    return MeterState(
        Moment(document["boot"], times_s[0], times_s[1]),
        int(document["open_slot"]),
        times_s[2],
        int(document["next_number"]),
        Totals(*document["pop"]),
        named,
    )
