"""What waits to be written: each EIP once, its points until the disk takes them, and never more than a bound.

When the disk refuses for long, points are folded: those of one EIP and month become one run, whose traffic is spread
evenly over it. Totals stay exact; the curve becomes coarser.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import add

from anycastd.model.traffic import Batch, Point, SlotTime, Volume
from anycastd.traffic.slots import month_of

MAX_POINTS = 200_000
"""About 40 MB: more than an hour and a half of 10,000 busy EIPs."""


def joined(older: Batch, newer: Batch) -> Batch:
    """Return both as one; `older` is used up. What is of an EIP that is gone is left out."""
    older.records |= newer.records
    for number, points in newer.points.items():
        older.points.setdefault(number, []).extend(points)
    older.slots += newer.slots
    older.gone |= newer.gone
    older.state = newer.state
    for number in newer.gone:
        older.records.pop(number, None)
        older.points.pop(number, None)
    return older


def points_in(batch: Batch) -> int:
    """Return how many points there are."""
    return sum(map(len, batch.points.values()))


def _runs(slots: Iterable[SlotTime]) -> dict[str, SlotTime]:
    """Return one run for each month, as long as it is from its first slot to its last."""
    runs: dict[str, SlotTime] = {}
    for time in slots:
        month = month_of(time.slot)
        run = runs.get(month, time)
        begin = min(run.slot, time.slot)
        end = max(run.slot + run.slots, time.slot + time.slots)
        seconds = run.seconds + time.seconds if month in runs else time.seconds
        runs[month] = SlotTime(begin, end - begin, seconds)
    return runs


def folded(batch: Batch) -> Batch:
    """Return the batch with one point for each EIP and month; the batch is used up."""
    runs = _runs(batch.slots)
    for number, points in batch.points.items():
        sums: dict[str, tuple[int, ...]] = {}
        for point in points:
            month = month_of(point.slot)
            sums[month] = tuple(map(add, sums.get(month, Volume()), point.values))
        batch.points[number] = [Point(runs[month].slot, runs[month].slots, total) for month, total in sums.items()]
    batch.slots = list(runs.values())
    return batch


def bounded(older: Batch | None, newer: Batch, max_points: int = MAX_POINTS) -> Batch:
    """Return both as one, folded if it would be too large."""
    batch = joined(older, newer) if older else newer
    return folded(batch) if points_in(batch) > max_points else batch
