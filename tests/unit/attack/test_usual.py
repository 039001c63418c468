"""What is usual: slow to learn, quick to be left behind, and never more than was seen."""

from __future__ import annotations

import pytest

from anycastd.attack.usual import Pace, Usual
from anycastd.model.attack_config import EIP_BOUNDS, DetectConfig

CONFIG = DetectConfig()
FLOOR = EIP_BOUNDS.floor_packets


def known(packets: float) -> Usual:
    return Usual(packets=packets, known_s=CONFIG.warm_up_s)


def learn(usual: Usual, packets: float, seconds: float, *, alarmed: bool = False, each_s: float = 5.0) -> float:
    for _ in range(int(seconds / each_s)):
        usual.learn(packets, 0.0, None, Pace.of(CONFIG, each_s), EIP_BOUNDS, CONFIG, alarmed=alarmed)
    return usual.packets


@pytest.mark.parametrize(
    ("seen", "seconds", "after"),
    [
        (1e6, 3600.0, 20_000.0),
        (1e6, 7200.0, 40_000.0),
        (12_000.0, 3600.0, 12_000.0),
        (0.0, 86400.0, 5_000.0),
        (9_000.0, 86400.0, 9_000.0),
    ],
    ids=["doubles in an hour", "and again", "not above what is seen", "halves in a day", "not below what is seen"],
)
def test_how_fast_it_follows(seen: float, seconds: float, after: float) -> None:
    assert learn(known(10_000.0), seen, seconds) == pytest.approx(after, rel=0.01)


def test_while_nothing_is_known_it_follows_within_a_minute() -> None:
    usual = Usual()
    assert not usual.is_known(CONFIG)
    assert learn(usual, 100_000.0, 60.0) > 90_000.0
    learn(usual, 100_000.0, CONFIG.warm_up_s)
    assert usual.is_known(CONFIG)


def test_an_attack_is_not_learnt_in_an_hour_and_a_new_customer_is_in_days() -> None:
    assert learn(known(10_000.0), 1e6, 3600.0, alarmed=True) < 10_300.0
    assert learn(known(10_000.0), 80_000.0, 3 * 86400.0, alarmed=True, each_s=60.0) == pytest.approx(80_000.0, rel=0.01)


def test_what_is_too_little_to_matter_is_followed_at_once() -> None:
    assert learn(known(0.0), 2_000.0, 5.0) == 2_000.0
    assert FLOOR / CONFIG.attack_times > 2_000.0


def test_idle_time_counts_as_a_time_of_zeros() -> None:
    slept, awake = known(10_000.0), known(10_000.0)
    slept.idle_until(3600.0, CONFIG)
    learn(awake, 0.0, 3600.0)
    assert slept.packets == pytest.approx(awake.packets)
    assert (slept.at_s, slept.known_s) == (awake.at_s, awake.known_s)


@pytest.mark.parametrize("each_s", [1.0, 5.0, 60.0])
def test_how_often_it_is_read_makes_no_difference(each_s: float) -> None:
    assert learn(known(10_000.0), 1e6, 3600.0, each_s=each_s) == pytest.approx(20_000.0, rel=0.001)
