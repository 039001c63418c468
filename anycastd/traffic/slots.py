"""Slots of 5 minutes of wall-clock time, and how the time between two readings falls into them.

What two readings differ by is spread evenly over the time between them, and that time, taken from the monotonic
clock, ends when the wall clock says it does. So a step of the wall clock moves no traffic: after a step back a slot is
metered longer than 300 s (and its rate is of that time), after a step forward the slots between were not metered.
A daemon that was away is a long time between two readings.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from anycastd.model.traffic import SLOT_S, SlotTime

MAX_GAP_S = 62 * 86400.0
"""A longer time between two readings is taken to be this long: a clock that was never set is no gap of 50 years."""


def slot_of(unix_s: float) -> int:
    """Return the slot that a moment falls into."""
    return int(unix_s // SLOT_S)


def month_of(slot: int) -> str:
    """Return the UTC month of a slot, `2026-09`."""
    return datetime.fromtimestamp(slot * SLOT_S, UTC).strftime("%Y-%m")


def month_slots(month: str) -> range:
    """Return the slots of a month."""
    year, number = int(month[:4]), int(month[5:])
    begin = datetime(year, number, 1, tzinfo=UTC)
    end = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    return range(slot_of(begin.timestamp()), slot_of(end.timestamp()))


def month_before(month: str) -> str:
    """Return the month before."""
    return month_of(month_slots(month).start - 1)


class Piece(NamedTuple):
    """A part of the time between two readings: one slot or a run of whole ones; `begin`, `end` 0..1 of that time."""

    slot: int
    slots: int
    begin: float
    end: float


def pieces(begin_s: float, end_s: float) -> list[Piece]:
    """Cut the time from `begin_s` to `end_s` (Unix) at the slots' borders; whole slots of one month are one piece."""
    first, last = slot_of(begin_s), slot_of(end_s)
    if last <= first:
        return [Piece(last, 1, 0.0, 1.0)]
    length_s = end_s - begin_s

    def share(slot: int) -> float:
        return min(max((slot * SLOT_S - begin_s) / length_s, 0.0), 1.0)

    found, at = [Piece(first, 1, 0.0, share(first + 1))], first + 1
    while at < last:
        until = min(month_slots(month_of(at)).stop, last)
        found.append(Piece(at, until - at, share(at), share(until)))
        at = until
    found.append(Piece(last, 1, share(last), 1.0))
    return found


class Border(NamedTuple):
    """A reading that ends slots. `head` is the share of the new traffic that still belongs to `slot`, open before.

    `closed` are the pieces that were never open; what is left belongs to the slot that is open now.
    """

    slot: int
    head: float
    closed: tuple[Piece, ...]


class OpenSlot:
    """The slot that is metered now, and for how many seconds it was."""

    def __init__(self, slot: int | None = None, seconds: float = 0.0) -> None:
        self.slot, self.seconds = slot, seconds

    def advance(self, unix_s: float, elapsed_s: float) -> tuple[Border | None, list[SlotTime]]:
        """Take in the time between two readings; return the border it crossed, and how long what it ended was metered.

        `unix_s` is the time of the later reading, `elapsed_s` the monotonic time since the one before.
        """
        elapsed_s = min(elapsed_s, MAX_GAP_S)
        cut = pieces(unix_s - elapsed_s, unix_s)
        if self.slot is None:
            self.slot = cut[-1].slot
        if len(cut) == 1 and cut[0].slot == self.slot:
            self.seconds += elapsed_s
            return None, []
        continues = len(cut) > 1 and cut[0].slot == self.slot
        head = cut[0].end if continues else 0.0
        closed = tuple(cut[1:-1] if continues else cut[:-1])
        border = Border(self.slot, head, closed)
        times = [SlotTime(self.slot, 1, self.seconds + head * elapsed_s)]
        times += [SlotTime(piece.slot, piece.slots, (piece.end - piece.begin) * elapsed_s) for piece in closed]
        self.slot, self.seconds = cut[-1].slot, (1.0 - cut[-1].begin) * elapsed_s
        return border, times
