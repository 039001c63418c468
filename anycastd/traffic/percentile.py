"""The 95th percentile of a month, as transit is billed.

Of the N metered points of the month, the 5 % with the highest rates are left out and the highest that remains counts:
in ascending order number floor(0.95 * N), counted from 1, at least the first. For 8,640 points (30 days) 432 are left
out; for 8,928 (31 days) 447, so the fraction is in the customer's favour. Each direction has its own order; the larger
of both is told as well.

N counts every slot of the month that was metered since the EIP is known, also those without traffic. A slot's rate is
its bytes over 300 s, or over the time it was metered if that is longer (a wall clock that was set back).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from anycastd.model.traffic import SLOT_S, MonthlyRate, Point, SlotTime, Volume
from anycastd.traffic.slots import month_slots, slot_of


def rank_of(points: int) -> int:
    """Return which point counts, in ascending order from 1, of so many."""
    return max(points * 95 // 100, 1)


def percentile_95(rates: Iterable[float], points: int) -> float:
    """Return the 95th percentile of `points` values: `rates`, and zeros for the others; 0 of no points."""
    descending = sorted(rates, reverse=True)
    left_out = points - rank_of(points)
    return descending[left_out] if 0 <= left_out < len(descending) else 0.0


def metered(times: Iterable[SlotTime], within: range) -> dict[int, float]:
    """Return for how many seconds each slot in `within` was metered."""
    seconds: dict[int, float] = {}
    for time in times:
        share = time.seconds / time.slots
        for slot in range(max(time.slot, within.start), min(time.slot + time.slots, within.stop)):
            seconds[slot] = seconds.get(slot, 0.0) + share
    return seconds


def by_slot(points: Iterable[Point], field: str, within: range) -> dict[int, float]:
    """Return what one field of the points amounts to in each slot in `within`."""
    found: dict[int, float] = {}
    column = Volume._fields.index(field)
    for point in points:
        share = point.values[column] / point.slots
        for slot in range(max(point.slot, within.start), min(point.slot + point.slots, within.stop)):
            found[slot] = found.get(slot, 0.0) + share
    return found


def _bps(octets: Mapping[int, float], seconds: Mapping[int, float]) -> Iterable[float]:
    return (count * 8.0 / max(seconds[slot], SLOT_S) for slot, count in octets.items() if slot in seconds)


def monthly_rate(
    month: str, points: Iterable[Point], times: Iterable[SlotTime], since_unix_s: float, *, complete: bool = False
) -> MonthlyRate:
    """Return the 95th percentile of a month from its points and what of it was metered since `since_unix_s`."""
    slots = month_slots(month)
    within = range(max(slots.start, slot_of(since_unix_s)), slots.stop)
    seconds, points = metered(times, within), list(points)
    in_bps, out_bps = (
        percentile_95(_bps(by_slot(points, field, within), seconds), len(seconds))
        for field in ("in_bytes", "out_bytes")
    )
    return MonthlyRate(month, len(seconds), round(in_bps), round(out_bps), complete)
