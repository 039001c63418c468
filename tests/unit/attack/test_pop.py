"""The POP as a whole: its rates, its jumps, what hurts it, and how often every EIP may be read."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from anycastd.attack.allowance import AT_ONCE, Allowance
from anycastd.attack.hurts import Hurts, Vitals
from anycastd.attack.pop import PopWatch
from anycastd.attack.words import detail, rate_words
from anycastd.model.attack import AttackReason, AttackState, Rate, Shape, Share
from anycastd.model.attack_config import DetectConfig
from anycastd.model.conntrack import ConntrackStats
from tests.unit.attack.readings import PopCounters

NORMAL, ELEVATED, ATTACK = AttackState
CONFIG = replace(DetectConfig(), warm_up_s=30.0)
WHY = AttackReason


def watched(seconds: int = 60, packets: float = 20_000.0) -> tuple[PopWatch, PopCounters, list[bool]]:
    """Return a watch of a POP that carries so much with some noise, and whether it ever jumped."""
    watch, counters, luck = PopWatch(), PopCounters(), Random(5)
    jumps = []
    for _ in range(seconds):
        watch.feed(counters.after(1.0, packets * luck.uniform(0.9, 1.1), connections=200.0), (), CONFIG)
        jumps.append(watch.jumped)
    return watch, counters, jumps


def test_a_flood_is_seen_with_the_second_reading_and_the_first_asks_for_eips() -> None:
    watch, counters, jumps = watched()
    assert not any(jumps)
    assert watch.track.state is NORMAL
    assert not watch.feed(counters.after(1.0, 400_000.0, connections=200.0), (), CONFIG)
    assert watch.jumped
    assert watch.feed(counters.after(1.0, 400_000.0, connections=200.0), (), CONFIG)
    assert (watch.track.state, watch.track.reasons) == (ATTACK, (WHY.PACKETS_ABOVE_USUAL, WHY.BITS_ABOVE_USUAL))


def test_a_flood_of_connections_with_few_packets() -> None:
    watch, counters, _ = watched()
    for _ in range(2):
        watch.feed(counters.after(1.0, 40_000.0, connections=15_000.0), (), CONFIG)
    assert (watch.track.state, watch.track.reasons) == (ATTACK, (WHY.CONNECTIONS_ABOVE_USUAL,))


def test_a_flood_that_is_small_against_the_pop_still_jumps() -> None:
    watch, counters, jumps = watched(packets=20_000.0)
    watch.feed(counters.after(1.0, 45_000.0), (), CONFIG)
    assert watch.jumped
    assert not any(jumps)


def test_counters_that_begin_anew_are_no_reading() -> None:
    watch, counters, _ = watched()
    before = watch.rate
    assert not watch.feed(replace(counters.after(1.0, 0.0), packets=5), (), CONFIG)
    assert watch.rate == before
    counters.now = replace(counters.now, packets=5)
    watch.feed(counters.after(1.0, 20_000.0), (), CONFIG)
    assert watch.rate.packets == 20_000.0


def test_what_is_dropped_and_a_filter_whose_counter_goes() -> None:
    watch, counters, _ = watched()
    watch.feed(counters.after(1.0, 20_000.0, dropped=700.0), (), CONFIG)
    assert watch.rate.dropped_packets == 700.0
    counters.now = replace(counters.now, dropped_packets=0)
    watch.feed(counters.after(1.0, 20_000.0), (), CONFIG)
    assert (watch.rate.packets, watch.rate.dropped_packets) == (20_000.0, 0.0)


def test_an_attack_in_the_first_seconds_is_not_called_one_and_levels_are() -> None:
    watch, counters = PopWatch(), PopCounters()
    level = replace(CONFIG, pop=replace(CONFIG.pop, level_packets=300_000))
    for _ in range(3):
        watch.feed(counters.after(1.0, 250_000.0), (), level)
    assert watch.track.state is NORMAL
    for _ in range(2):
        watch.feed(counters.after(1.0, 310_000.0), (), level)
    assert watch.track.reasons == (WHY.PACKETS_ABOVE_LEVEL,)


FULL, HALF = ConntrackStats(96, 100), ConntrackStats(50, 100)


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (Vitals(0.0, 5, 5, HALF), Vitals(1.0, 90, 90, HALF), ()),
        (Vitals(0.0, 5, 5, HALF), Vitals(1.0, 300, 5, HALF), (WHY.DROPPED_BY_DEVICE,)),
        (Vitals(0.0, 5, 5, HALF), Vitals(1.0, 5, 300, HALF), (WHY.DROPPED_BY_SOFTIRQ,)),
        (Vitals(0.0, 5, 5, HALF), Vitals(1.0, 5, 5, FULL), (WHY.CONNTRACK_FULL,)),
        (Vitals(0.0, 5, 5, HALF), Vitals(1.0, 5, 5, replace(HALF, dropped=1)), (WHY.CONNTRACK_FULL,)),
        (Vitals(0.0), Vitals(1.0), ()),
        (Vitals(0.0, 5, None), Vitals(1.0, None, 900), ()),
    ],
)
def test_what_hurts(before: Vitals, after: Vitals, found: tuple[AttackReason, ...]) -> None:
    hurts = Hurts()
    assert hurts.feed(before, 10_000.0, CONFIG) == ()
    assert hurts.feed(after, 10_000.0, CONFIG) == found


def test_checks_that_take_far_longer_than_usual() -> None:
    hurts = Hurts()
    for second in range(60):
        assert hurts.feed(Vitals(float(second), latency_ms=8.0), 0.0, CONFIG) == ()
    assert hurts.feed(Vitals(60.0, latency_ms=39.0), 0.0, CONFIG) == ()
    assert hurts.feed(Vitals(61.0, latency_ms=45.0), 0.0, CONFIG) == (WHY.CHECKS_SLOW,)


def test_readings_beyond_the_usual_cost_one_percent_of_a_core() -> None:
    allowance, cost_s, taken = Allowance(), 0.08, 0
    for step in range(36_000):
        taken += allowance.take(1000.0 + step * 0.1, cost_s)
    assert 3600 * 0.01 / cost_s <= taken <= 3600 * 0.01 / cost_s + AT_ONCE
    assert all(Allowance().take(0.0, cost) for cost in (0.0, 10.0))


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0, "0 pps"), (999.0, "999 pps"), (6100.0, "6.10 kpps"), (184_000.0, "184 kpps"), (1.9e9, "1.90 Gpps")],
)
def test_rates_in_words(value: float, words: str) -> None:
    assert rate_words(value, "pps") == words


def test_the_sentence_that_is_read_at_night() -> None:
    shape = Shape(200, 1228.0, (Share("udp", 98.0),), (Share("80", 97.0),), (Share("192.0.2.0/24", 40.0),))
    reasons = (WHY.CONNECTIONS_ABOVE_USUAL,)
    assert detail(Rate(184_000.0, 1.8e9, 9000.0, 92_000.0), Rate(6100.0, 40e6, 0.0), reasons, shape) == (
        "184 kpps (usual 6.10 kpps, 30.2 times), 1.80 Gbit/s (usual 40.0 Mbit/s, 45 times), new connections "
        "9.00 k/s (usual: nothing), 50 % dropped, udp 98 % to port 80, 1228 bytes, most from 192.0.2.0/24 (40 %)"
    )
