"""What is kept in memory: the last hour's readings, and what waits for the disk. Both are bounded."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.model.traffic import Batch, MeterState, Moment, Point, SlotTime, Volume
from anycastd.traffic.backlog import bounded, folded, joined, points_in
from anycastd.traffic.recent import Recent
from anycastd.traffic.slots import month_of
from tests.unit.traffic.kernel import NOON, A
from tests.unit.traffic.test_meter import started

SLOT = int(NOON) // 300


def test_the_last_hour_is_kept_reading_by_reading() -> None:
    daemon = started(A)
    number = daemon.read().eips[A].number
    for packets in range(1, 1000):
        daemon.kernel.carry(A, packets if packets % 2 else 0, 0 if packets % 2 == 0 else packets * 2)
        daemon.kernel.wait(5.0)
        daemon.read()
    frames = daemon.meter.frames(number, 0.0)
    assert len(frames) == 720
    assert [frame.volume.in_packets for frame in frames[-4:]] == [0, 997, 0, 999]
    assert frames[-1].volume.in_bytes == 1998
    assert (frames[-1].unix_s, frames[-1].seconds) == (daemon.kernel.wall_s, 5.0)
    assert len(daemon.meter.frames(number, daemon.kernel.wall_s - 10.0)) == 2
    assert daemon.meter.frames(99, 0.0)[-1].volume == Volume()


def test_with_many_busy_eips_it_reaches_less_far_back() -> None:
    recent = Recent(max_cells=100)
    for at in range(50):
        frame = recent.begin(float(at), 5.0)
        for number in range(30):
            frame.add(number, Volume(in_bytes=at))
    assert 3 <= len(recent.of(7, -1.0)) <= 4
    assert recent.of(7, -1.0)[-1].volume.in_bytes == 49


def batch(points: dict[int, list[Point]], slots: list[SlotTime] | None = None, gone: set[int] | None = None) -> Batch:
    state = MeterState(Moment("boot", 0.0, NOON), SLOT, 0.0, 1)
    return Batch(state, points=points, slots=slots or [], gone=gone or set())


def one(slot: int, in_bytes: int) -> Point:
    return Point(SLOT + slot, 1, Volume(in_bytes=in_bytes, in_packets=1))


def test_batches_are_joined_and_what_is_gone_is_left_out() -> None:
    older = batch({1: [one(0, 5)], 2: [one(0, 7)]}, [SlotTime(SLOT, 1, 300.0)])
    newer = batch({1: [one(1, 6)]}, [SlotTime(SLOT + 1, 1, 300.0)], gone={2})
    both = joined(older, newer)
    assert both.points == {1: [one(0, 5), one(1, 6)]}
    assert both.slots == [SlotTime(SLOT, 1, 300.0), SlotTime(SLOT + 1, 1, 300.0)]
    assert both.gone == {2}


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.integers(1, 5), st.lists(st.tuples(st.integers(0, 9000), st.integers(1, 10**9)), min_size=1)))
def test_folding_keeps_the_sums_of_each_month(traffic: dict[int, list[tuple[int, int]]]) -> None:
    points = {number: [one(slot, octets) for slot, octets in found] for number, found in traffic.items()}
    slots = [SlotTime(point.slot, 1, 300.0) for found in points.values() for point in found]
    months = {month_of(time.slot) for time in slots}
    made = folded(batch({number: list(found) for number, found in points.items()}, list(slots)))
    assert len(made.slots) == len(months)
    assert sum(time.seconds for time in made.slots) == 300.0 * len(slots)
    for number, found in points.items():
        for month in months:
            before = [point.values for point in found if month_of(point.slot) == month]
            after = [point.values for point in made.points[number] if month_of(point.slot) == month]
            assert [sum(column) for column in zip(*before, strict=True)] == [v for values in after for v in values]
    assert all(
        (point.slot, point.slots) in {time[:2] for time in made.slots} for p in made.points.values() for point in p
    )


def test_what_waits_is_bounded() -> None:
    waiting: Batch | None = None
    for slot in range(50):
        newer = batch({number: [one(slot, 10)] for number in range(10)}, [SlotTime(SLOT + slot, 1, 300.0)])
        waiting = bounded(waiting, newer, max_points=100)
        assert points_in(waiting) <= 100
    assert waiting is not None
    assert sum(point.values[0] for point in waiting.points[3]) == 500
