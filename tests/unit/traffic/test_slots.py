"""Slots: what falls into which 5 minutes, across gaps, months and steps of the wall clock."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycastd.model.traffic import SLOT_S
from anycastd.traffic.slots import MAX_GAP_S, OpenSlot, month_before, month_of, month_slots, pieces, slot_of
from tests.unit.traffic.kernel import NOON, A
from tests.unit.traffic.test_meter import Daemon, started

SLOT = int(NOON) // 300
OCTOBER = 1_790_812_800.0


def test_months_are_utc_and_have_whole_slots() -> None:
    assert month_of(slot_of(OCTOBER)) == "2026-10"
    assert month_of(slot_of(OCTOBER) - 1) == "2026-09"
    assert len(month_slots("2026-09")) == 8640
    assert len(month_slots("2026-12")) == 8928
    assert len(month_slots("2028-02")) == 8352
    assert month_before("2026-01") == "2025-12"


@given(st.floats(1.7e9, 1.9e9), st.floats(0.0, MAX_GAP_S))
def test_pieces_cover_the_time_once_and_never_cross_a_month(begin_s: float, length_s: float) -> None:
    found = pieces(begin_s, begin_s + length_s)
    assert found[0].begin == 0.0
    assert found[-1].end == 1.0
    for before, after in pairwise(found):
        assert before.end == after.begin
        assert before.slot + before.slots == after.slot
    for piece in found:
        assert piece.begin <= piece.end
        assert month_of(piece.slot) == month_of(piece.slot + piece.slots - 1)
    assert found[-1].slot == slot_of(begin_s + length_s)


def carried(daemon: Daemon, seconds: float, octets: int, times: int = 1) -> Daemon:
    """Let an EIP carry so much in each of so many readings."""
    for _ in range(times):
        daemon.kernel.carry(A, min(octets, 1), octets)
        daemon.kernel.wait(seconds)
        daemon.read()
    return daemon


def test_a_reading_across_a_border_is_shared_out_by_time() -> None:
    daemon = carried(started(A), 298.0, 298_000)
    carried(daemon, 5.0, 5_000)
    carried(daemon, 300.0, 0)
    assert daemon.disk.bytes_in() == {SLOT: 300_000, SLOT + 1: 3_000}


def test_slots_without_traffic_have_no_point_and_are_metered() -> None:
    daemon = carried(started(A), 5.0, 0, times=200)
    assert daemon.disk.points == []
    assert [(time.slot, time.slots) for time in daemon.disk.slots] == [(SLOT, 1), (SLOT + 1, 1), (SLOT + 2, 1)]
    assert [time.seconds for time in daemon.disk.slots] == pytest.approx([300.0] * 3)


@pytest.mark.parametrize("clean", [True, False])
def test_what_passed_while_the_daemon_was_away_is_spread_evenly(clean: bool) -> None:
    daemon = carried(started(A), 5.0, 1_000, times=60)
    daemon.restart(clean=clean)
    daemon.kernel.carry(A, 1, 3_600_000)
    daemon.kernel.wait(3600.0)
    daemon.read()
    carried(daemon, 300.0, 0)
    runs = {(point.slot, point.slots): point.values[0] for _, point in daemon.disk.points}
    assert runs == {(SLOT, 1): 60_000, (SLOT + 1, 1): 300_000, (SLOT + 2, 11): 3_300_000}
    assert sum(time.slots for time in daemon.disk.slots) == 14
    assert sum(time.seconds for time in daemon.disk.slots) == pytest.approx(300.0 + 3600.0 + 300.0)


def test_a_long_gap_across_a_month_is_one_run_a_month() -> None:
    daemon = started(A)
    daemon.kernel.wall_s = OCTOBER - 86400.0
    carried(daemon, 5.0, 0)
    daemon.restart()
    daemon.kernel.carry(A, 1, 2 * 86_400_000)
    daemon.kernel.wait(2 * 86400.0)
    daemon.read()
    runs = [(month_of(point.slot), point.slots, point.values[0]) for _, point in daemon.disk.points if point.slots > 1]
    assert [(month, slots) for month, slots, _ in runs] == [("2026-09", 287), ("2026-10", 288)]
    assert all(octets == pytest.approx(slots * 300_000, abs=1) for _, slots, octets in runs)


def test_a_clock_set_forward_meters_nothing_in_the_time_that_never_was() -> None:
    daemon = carried(started(A), 5.0, 1_000, times=10)
    daemon.kernel.wall_s += 3600.0
    carried(daemon, 5.0, 1_000, times=120)
    slots = {time.slot: time.seconds for time in daemon.disk.slots}
    assert set(slots) == {SLOT, SLOT + 12, SLOT + 13}
    assert slots[SLOT] == pytest.approx(50.0)
    assert daemon.disk.bytes_in() == {SLOT: 10_000, SLOT + 12: 50_000, SLOT + 13: 60_000}


def test_a_clock_set_back_meters_a_slot_for_longer_and_not_faster() -> None:
    daemon = carried(started(A), 5.0, 1_000, times=90)
    daemon.kernel.wall_s -= 300.0
    carried(daemon, 5.0, 1_000, times=120)
    seconds: dict[int, float] = {}
    octets: dict[int, int] = {}
    for time in daemon.disk.slots:
        seconds[time.slot] = seconds.get(time.slot, 0.0) + time.seconds
    for _, point in daemon.disk.points:
        octets[point.slot] = octets.get(point.slot, 0) + point.values[0]
    assert seconds == pytest.approx({SLOT: 450.0, SLOT + 1: 450.0})
    assert {slot: octets[slot] / seconds[slot] for slot in seconds} == pytest.approx({SLOT: 200.0, SLOT + 1: 200.0})


def test_a_clock_that_was_never_set_is_no_gap_of_years() -> None:
    slot = OpenSlot(0, 5.0)
    _, times = slot.advance(NOON, NOON)
    assert sum(time.slots for time in times) * SLOT_S <= MAX_GAP_S + 2 * SLOT_S
