"""The 95th percentile against a model that does it by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycastd.model.traffic import Point, SlotTime, Volume
from anycastd.traffic.percentile import monthly_rate, percentile_95, rank_of
from anycastd.traffic.slots import month_slots

SEPTEMBER = month_slots("2026-09")
BEGIN_S = SEPTEMBER.start * 300.0


@pytest.mark.parametrize(("points", "left_out"), [(1, 0), (2, 1), (19, 1), (20, 1), (100, 5), (8640, 432), (8928, 447)])
def test_how_many_points_are_left_out(points: int, left_out: int) -> None:
    assert points - rank_of(points) == left_out


@given(st.lists(st.integers(0, 10**6), max_size=300), st.integers(0, 300))
def test_it_is_the_highest_that_remains_when_the_top_is_thrown_away(rates: list[int], silent: int) -> None:
    points = sorted([*rates, *([0] * silent)])
    for _ in range(len(points) - max(len(points) * 95 // 100, 1)):
        points.pop()
    assert percentile_95(rates, len(rates) + silent) == (points[-1] if points else 0)


def month(*points: Point, times: tuple[SlotTime, ...] = (), since_s: float = 0.0) -> tuple[int, int, int, int]:
    times = times or (SlotTime(SEPTEMBER.start, len(SEPTEMBER), len(SEPTEMBER) * 300.0),)
    rate = monthly_rate("2026-09", points, times, since_s)
    return rate.points, rate.in_bps, rate.out_bps, rate.larger_bps


def busy(slot: int, in_bytes: int, out_bytes: int = 0, slots: int = 1) -> Point:
    return Point(SEPTEMBER.start + slot, slots, Volume(in_bytes=in_bytes, out_bytes=out_bytes))


def test_a_burst_of_a_day_and_a_half_is_not_billed_and_one_slot_more_is() -> None:
    burst = [busy(slot, 300_000_000) for slot in range(432)]
    assert month(*burst) == (8640, 0, 0, 0)
    assert month(*burst, busy(432, 300_000)) == (8640, 8_000, 0, 8_000)


def test_each_direction_has_its_own_order_and_the_larger_is_told() -> None:
    points = [busy(slot, (slot + 1) * 300, (8640 - slot) * 600) for slot in range(8640)]
    assert month(*points) == (8640, 8208 * 8, 8208 * 16, 8208 * 16)


def test_a_run_is_that_many_even_points() -> None:
    assert month(busy(0, 8640 * 300, slots=8640)) == (8640, 8, 0, 8)
    assert month(busy(0, 433 * 300, slots=433)) == (8640, 8, 0, 8)
    assert month(busy(0, 432 * 300, slots=432)) == (8640, 0, 0, 0)


def test_only_metered_slots_since_the_eip_is_known_count() -> None:
    points = [busy(slot, 3000) for slot in range(100, 200)]
    assert month(*points, since_s=BEGIN_S + 100 * 300)[:2] == (8540, 0)
    metered = (SlotTime(SEPTEMBER.start, 200, 200 * 300.0),)
    assert month(*points, times=metered)[:2] == (200, 80)
    assert month(*points, times=metered, since_s=BEGIN_S + 100 * 300)[:2] == (100, 80)


def test_the_neighbouring_months_are_not_counted() -> None:
    around = (SlotTime(SEPTEMBER.start - 10, 8660, 8660 * 300.0),)
    assert month(busy(-5, 10**9), busy(8640, 10**9), times=around) == (8640, 0, 0, 0)


def test_a_slot_metered_for_longer_is_no_peak_and_one_metered_for_less_neither() -> None:
    twice = (SlotTime(SEPTEMBER.start, 1, 600.0),)
    assert month(busy(0, 6000), times=twice)[1] == 80
    brief = (SlotTime(SEPTEMBER.start, 1, 10.0),)
    assert month(busy(0, 3000), times=brief)[1] == 80
