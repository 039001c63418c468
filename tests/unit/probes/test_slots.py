"""When probes start."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from anycastd.model.address import CheckId
from anycastd.model.checks import Timing
from anycastd.probes.slots import Slots, share_of

INTERVALS = st.floats(0.1, 3600.0)
TIMES = st.floats(0.0, 1e7)


@given(st.text(min_size=1), INTERVALS, TIMES)
def test_first_start_comes_soon(check: str, interval_s: float, now_s: float) -> None:
    """Within min(interval, 1 s), however long the interval."""
    first_s = Slots(share_of(CheckId(check)), Timing(interval_s=interval_s)).first(now_s)
    assert now_s <= first_s <= now_s + min(interval_s, 1.0) + 1e-6


def test_of_ten_thousand_that_begin_together_no_tenth_of_a_second_has_more_than_one_core_takes() -> None:
    every = [
        Slots(share_of(CheckId(f"self/{n}/a")), Timing(interval_s=10.0)).first(50.0, 10_000) for n in range(10_000)
    ]
    assert min(every) >= 50.0 and max(every) <= 52.0
    tenths = Counter(int((first_s - 50.0) * 10) for first_s in every)
    assert max(tenths.values()) < 700


@given(st.floats(0.0, 0.999), INTERVALS, TIMES, st.floats(0.0, 0.4))
def test_steady(share: float, interval_s: float, now_s: float, late: float) -> None:
    """One probe each interval, in the same phase, also when each is a little late."""
    slots = Slots(share, Timing(interval_s=interval_s))
    slot_s = slots.following(now_s, now_s, fast=False)
    for _ in range(5):
        after_s = slots.following(slot_s, slot_s + late * interval_s, fast=False)
        assert abs(after_s - slot_s - interval_s) < 1e-5
        slot_s = after_s


@given(st.floats(0.0, 0.999), INTERVALS, TIMES, st.floats(1.0, 1000.0))
def test_missed_slots_are_left_out(share: float, interval_s: float, now_s: float, missed: float) -> None:
    """After a stop there is one next slot, in the future, in the old phase."""
    slots = Slots(share, Timing(interval_s=interval_s))
    slot_s = slots.following(now_s, now_s, fast=False)
    back_s = slot_s + missed * interval_s
    after_s = slots.following(slot_s, back_s, fast=False)
    assert back_s - 1e-6 <= after_s <= back_s + interval_s + 1e-6
    turns = (after_s - slot_s) / interval_s
    assert abs(turns - round(turns)) < 1e-3


def test_fast() -> None:
    """While a change is pending the fast interval counts, and late ones are not caught up on."""
    slots = Slots(0.0, Timing(interval_s=10.0, fast_interval_s=0.5))
    assert slots.following(100.0, 100.1, fast=True) == 100.5
    assert slots.following(100.0, 107.0, fast=True) == 107.5
    assert slots.following(100.0, 100.1, fast=False) == 110.0


def test_phase_is_of_the_id() -> None:
    """The same after each restart, on each machine, and spread."""
    assert share_of(CheckId("tunnel/fra/t1/ping")) == share_of(CheckId("tunnel/fra/t1/ping"))
    shares = sorted(share_of(CheckId(f"backend/fra/b{n}/http@fra/t1")) for n in range(1000))
    assert max(b - a for a, b in pairwise(shares)) < 0.02


def test_in_flight() -> None:
    """As many as fit into the timeout, and one."""
    timing = Timing(interval_s=1.0, timeout_s=2.5, fast_interval_s=0.5)
    assert Slots(0.0, timing).in_flight(fast=False) == 4
    assert Slots(0.0, timing).in_flight(fast=True) == 6
