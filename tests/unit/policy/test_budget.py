"""The arithmetic of the change budget (I7)."""

from __future__ import annotations

import pytest

from anycastd.model.decision import Level, Penalty
from anycastd.policy.budget import (
    MARGIN,
    PLAIN_LIMIT,
    STRICT_LIMIT,
    charged,
    decayed,
    return_fits_in_s,
    withdrawal_fits_in_s,
)

HALF_S = 900.0
W, G, D, N = Level.WITHDRAWN, Level.GSHUT, Level.DEPREF, Level.NORMAL


def test_half_is_left_after_a_half_life() -> None:
    assert decayed(Penalty(1000.0, 2000.0, 100.0), 1000.0, HALF_S) == Penalty(500.0, 1000.0, 1000.0)


def test_a_clock_that_seems_to_go_back_decays_nothing() -> None:
    assert decayed(Penalty(1000.0, 1000.0, 100.0), 50.0, HALF_S).plain == 1000.0


@pytest.mark.parametrize(
    ("before", "after", "was_announced", "plain", "strict"),
    [
        (W, N, False, 0.0, 0.0),
        (W, D, True, 0.0, 1000.0),
        (N, D, True, 500.0, 500.0),
        (D, N, True, 500.0, 500.0),
        (D, G, True, 500.0, 500.0),
        (D, W, True, 1000.0, 1000.0),
        (N, W, True, 1000.0, 1000.0),
        (N, N, True, 0.0, 0.0),
    ],
)
def test_what_each_change_costs(before: Level, after: Level, was_announced: bool, plain: float, strict: float) -> None:
    penalty = charged(Penalty(), before, after, was_announced=was_announced, now_s=5.0, half_life_s=HALF_S)
    assert (penalty.plain, penalty.strict) == (plain, strict)


def test_a_withdrawal_fits_when_it_and_its_return_stay_below_both_limits() -> None:
    plain_room, strict_room = PLAIN_LIMIT - MARGIN - 1000.0, STRICT_LIMIT - MARGIN - 2000.0
    assert withdrawal_fits_in_s(Penalty(plain_room, strict_room), 0.0, HALF_S) == 0.0
    for penalty in (Penalty(plain_room + 1.0, 0.0), Penalty(0.0, strict_room + 1.0)):
        assert withdrawal_fits_in_s(penalty, 0.0, HALF_S) > 0.0


def test_a_return_leaves_room_for_the_depreference_after_it() -> None:
    plain_room, strict_room = PLAIN_LIMIT - MARGIN - 1000.0, STRICT_LIMIT - MARGIN - 1000.0
    assert return_fits_in_s(Penalty(plain_room, strict_room), 0.0, HALF_S) == 0.0
    for penalty in (Penalty(plain_room + 1.0, 0.0), Penalty(0.0, strict_room + 1.0)):
        assert return_fits_in_s(penalty, 0.0, HALF_S) > 0.0


@pytest.mark.parametrize("plain", [951.0, 1000.0, 1234.5, 1900.0, 1e6])
@pytest.mark.parametrize("now_s", [0.0, 1e6 + 1 / 3])
def test_what_must_wait_fits_when_the_wait_is_over(plain: float, now_s: float) -> None:
    penalty = Penalty(plain, 0.0, now_s)
    wait_s = withdrawal_fits_in_s(penalty, now_s, HALF_S)
    assert wait_s > 0.0
    assert withdrawal_fits_in_s(penalty, now_s + wait_s, HALF_S) == 0.0
    assert withdrawal_fits_in_s(penalty, now_s + wait_s - 0.1, HALF_S) > 0.0


def test_twice_the_room_waits_one_half_life() -> None:
    room = PLAIN_LIMIT - MARGIN - 1000.0
    assert withdrawal_fits_in_s(Penalty(2 * room, 0.0), 0.0, HALF_S) == pytest.approx(HALF_S)
