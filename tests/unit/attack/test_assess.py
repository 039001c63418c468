"""From rates to a state: what counts, and how long it must last."""

from __future__ import annotations

import pytest

from anycastd.attack.assess import CALM, Judged, Track, is_limited, judge, step
from anycastd.model.attack import AttackReason, AttackState, Rate
from anycastd.model.attack_config import Bounds, DetectConfig

NORMAL, ELEVATED, ATTACK = AttackState
WHY = AttackReason
CONFIG = DetectConfig()
BOUNDS = Bounds(
    floor_packets=1000, floor_bits=1_000_000, floor_connections=100,
    level_packets=100_000, level_bits=500_000_000, level_connections=50_000,
)  # fmt: skip
USUAL = Rate(packets=1000.0, bits=8_000_000.0, connections=50.0)


@pytest.mark.parametrize(
    ("rate", "hurts", "state", "reasons"),
    [
        (Rate(1000.0, 8e6, 50.0), (), NORMAL, ()),
        (Rate(4000.0, 8e6, 50.0), (), NORMAL, ()),
        (Rate(4001.0, 8e6, 50.0), (), ELEVATED, (WHY.PACKETS_ABOVE_USUAL,)),
        (Rate(8001.0, 8e6, 50.0), (), ATTACK, (WHY.PACKETS_ABOVE_USUAL,)),
        (Rate(1000.0, 70e6, 50.0), (), ATTACK, (WHY.BITS_ABOVE_USUAL,)),
        (Rate(1000.0, 8e6, 500.0), (), ATTACK, (WHY.CONNECTIONS_ABOVE_USUAL,)),
        (Rate(1000.0, 8e6, 300.0), (), ELEVATED, (WHY.CONNECTIONS_ABOVE_USUAL,)),
        (Rate(9000.0, 70e6, 50.0), (), ATTACK, (WHY.PACKETS_ABOVE_USUAL, WHY.BITS_ABOVE_USUAL)),
        (Rate(100_001.0, 8e6, 50.0), (), ATTACK, (WHY.PACKETS_ABOVE_LEVEL,)),
        (Rate(1000.0, 8e6, 50_001.0), (), ATTACK, (WHY.CONNECTIONS_ABOVE_LEVEL,)),
        # what hurts makes an attack of what is unusual, and nothing of what is not
        (Rate(4001.0, 8e6, 50.0), (WHY.CHECKS_SLOW,), ATTACK, (WHY.PACKETS_ABOVE_USUAL, WHY.CHECKS_SLOW)),
        (Rate(1000.0, 8e6, 50.0), (WHY.CHECKS_SLOW, WHY.DROPPED_BY_DEVICE), NORMAL, ()),
        (Rate(1000.0, 8e6, 50.0), (WHY.CONNTRACK_FULL,), ELEVATED, (WHY.CONNTRACK_FULL,)),
        (Rate(1000.0, 8e6, 50.0), (WHY.DROPPED_BY_LIMIT,), ELEVATED, (WHY.DROPPED_BY_LIMIT,)),
    ],
)
def test_what_a_reading_says(
    rate: Rate, hurts: tuple[AttackReason, ...], state: AttackState, reasons: tuple[AttackReason, ...]
) -> None:
    assert judge(rate, USUAL, BOUNDS, CONFIG, hurts) == Judged(state, reasons)


@pytest.mark.parametrize(
    ("rate", "state"), [(Rate(999.0, 0.9e6, 99.0), NORMAL), (Rate(1001.0), ATTACK), (Rate(bits=1.1e6), ATTACK)]
)
def test_an_idle_address_is_judged_by_the_floors(rate: Rate, state: AttackState) -> None:
    assert judge(rate, Rate(), BOUNDS, CONFIG).state is state


def test_what_is_usual_says_nothing_while_it_is_not_known_and_levels_do() -> None:
    assert judge(Rate(90_000.0), Rate(), BOUNDS, CONFIG, known=False) == CALM
    assert judge(Rate(100_001.0), Rate(), BOUNDS, CONFIG, known=False).state is ATTACK


@pytest.mark.parametrize(("limited", "is_so"), [(4000.0, False), (5001.0, True)])
def test_a_limit_that_drops_more_than_half(limited: float, is_so: bool) -> None:
    assert is_limited(Rate(packets=10_000.0), limited, BOUNDS) is is_so
    assert not is_limited(Rate(packets=900.0), 900.0, BOUNDS)


def history(*says: tuple[AttackState, float], span_s: float = 1.0) -> list[tuple[float, AttackState]]:
    """Return each change of state with its time, when readings say a state for so many seconds."""
    track, at_s, found = Track(), 0.0, []
    for state, seconds in says:
        for _ in range(int(seconds / span_s)):
            at_s += span_s
            before, track = track, step(track, Judged(state), state, at_s, span_s, CONFIG)
            if track.state is not before.state:
                found.append((at_s, track.state))
    return found


def test_two_readings_of_a_second_make_an_attack_and_one_does_not() -> None:
    assert history((NORMAL, 5), (ATTACK, 5)) == [(7.0, ATTACK)]
    assert history((NORMAL, 5), (ATTACK, 1), (NORMAL, 5), (ELEVATED, 1), (NORMAL, 9)) == []


def test_a_reading_of_five_seconds_is_enough() -> None:
    assert history((NORMAL, 5), (ATTACK, 5), span_s=5.0) == [(10.0, ATTACK)]


def test_it_goes_down_one_step_a_minute() -> None:
    assert history((ATTACK, 10), (NORMAL, 200)) == [(2.0, ATTACK), (70.0, ELEVATED), (130.0, NORMAL)]


def test_what_comes_back_within_the_minute_keeps_the_state() -> None:
    assert history((ATTACK, 10), *[(NORMAL, 59), (ATTACK, 1)] * 5) == [(2.0, ATTACK)]


def test_rates_just_below_what_made_it_hold_it_up() -> None:
    rate = Rate(packets=4500.0)
    now, stays = judge(rate, USUAL, BOUNDS, CONFIG), judge(rate, USUAL, BOUNDS, CONFIG, ease=0.5)
    assert (now.state, stays.state) == (ELEVATED, ATTACK)
    track = Track(ATTACK, 0.0, (WHY.PACKETS_ABOVE_USUAL,), restless_s=0.0)
    assert step(track, now, stays.state, 500.0, 1.0, CONFIG).state is ATTACK
