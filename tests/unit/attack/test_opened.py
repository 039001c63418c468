"""New connections of each EIP: read only when they can matter, judged beside packets and bits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anycastd.attack.eips import EipWatch
from anycastd.attack.opened import Opened, least, opened_of
from anycastd.attack.suspects import Suspects
from anycastd.attack.usual import Pace, Usual
from anycastd.model.address import Address
from anycastd.model.attack import AttackReason, AttackState
from anycastd.model.attack_config import EIP_BOUNDS, DetectConfig
from anycastd.model.nft import Count, Counters, NftSet
from anycastd.model.traffic import Totals
from tests.unit.attack.readings import SIX, A, B, Eips

NORMAL, ELEVATED, ATTACK = AttackState
CONFIG = replace(DetectConfig(), warm_up_s=0.0)
FEW = Totals(in_packets=6_000, in_bytes=360_000)


def counters(at_s: float, counts: dict[Address, int]) -> Counters:
    """Return a reading of new connections."""
    elements = {
        name: {address: Count(n, 40 * n) for address, n in counts.items() if address.version == version}
        for name, version in ((NftSet.NEW4, 4), (NftSet.NEW6, 6))
    }
    return Counters(at_s, elements)


def test_too_few_in_all_are_not_read_and_the_next_reading_only_begins() -> None:
    opened, few = Opened(), least(CONFIG) - 1.0
    opened.note(few)
    opened.note(None)
    assert not opened.matter(CONFIG)
    opened.note(few + 1.0)
    opened.note(0.0)
    assert opened.matter(CONFIG), "the most of all seconds since it was asked last"
    assert opened.rates(counters(10.0, {A: 100, SIX: 7})) is None
    opened.note(1e6)
    assert opened.matter(CONFIG)
    assert opened.rates(counters(15.0, {A: 600, SIX: 7, B: 9})) == {A: 100.0}, "nothing is known of who is new"
    opened.note(0.0)
    assert not opened.matter(CONFIG)
    assert opened.rates(counters(20.0, {A: 900})) is None


def test_counters_that_begin_anew_and_readings_of_one_moment_say_nothing() -> None:
    opened = Opened()
    assert opened.rates(counters(10.0, {A: 100})) is None
    assert opened.rates(counters(15.0, {A: 40})) == {}
    assert opened.rates(counters(15.0, {A: 90})) is None


def test_the_least_is_what_changes_no_judgement() -> None:
    assert least(CONFIG) == EIP_BOUNDS.floor_connections / CONFIG.attack_times
    low = replace(CONFIG, eip=replace(EIP_BOUNDS, level_connections=100))
    assert least(low) == 50.0


@pytest.mark.parametrize("victim", [A, SIX])
def test_a_flood_of_connections_in_few_packets_is_one(victim: Address) -> None:
    eips, watch = Eips(A, SIX), EipWatch()
    both = {A: FEW, SIX: FEW}
    for _ in range(3):
        watch.feed(eips.reading(5.0, both), (), CONFIG, {})
    assert not watch.tracks
    watch.feed(eips.reading(5.0, both), (), CONFIG, {victim: 6000.0})
    assert {one: track.state for one, track in watch.tracks.items()} == {victim: ATTACK}
    assert watch.tracks[victim].reasons == (AttackReason.CONNECTIONS_ABOVE_USUAL,)
    assert watch.rates[victim].connections == 6000.0
    # half of what made it: it stays; below that for calm: one step at a time
    for _ in range(20):
        watch.feed(eips.reading(5.0, both), (), CONFIG, {victim: 2600.0})
    assert watch.tracks[victim].state is ATTACK
    for _ in range(30):
        watch.feed(eips.reading(5.0, both), (), CONFIG, None)
    assert not watch.tracks


def test_a_level_is_one_also_below_the_floors() -> None:
    config = replace(CONFIG, eip=replace(EIP_BOUNDS, level_connections=300, level_packets=9_000))
    for opened, packets, reason in (
        (301.0, 10, AttackReason.CONNECTIONS_ABOVE_LEVEL),
        (None, 9_001, AttackReason.PACKETS_ABOVE_LEVEL),
    ):
        eips, watch = Eips(A), EipWatch()
        for _ in range(3):
            watch.feed(eips.reading(5.0, {A: Totals(in_packets=packets)}), (), config, {A: opened} if opened else None)
        assert watch.tracks[A].state is ATTACK
        assert watch.tracks[A].reasons == (reason,)


def test_what_is_usual_of_them_is_learnt_and_falls_where_nobody_counts() -> None:
    usual = Usual(known_s=CONFIG.warm_up_s)
    pace = Pace.of(CONFIG, 5.0)
    for _ in range(720):
        usual.learn(1000.0, 1e6, 3000.0, pace, EIP_BOUNDS, CONFIG, alarmed=False)
    learnt = usual.connections
    assert EIP_BOUNDS.floor_connections / CONFIG.attack_times < learnt < 3000.0
    for _ in range(int(CONFIG.halves_s / 5.0)):
        usual.learn(1000.0, 1e6, None, pace, EIP_BOUNDS, CONFIG, alarmed=False)
    assert usual.connections == pytest.approx(learnt / 2, rel=0.01)


def test_a_suspect_is_judged_by_its_new_connections_too() -> None:
    watch, suspects = EipWatch({A: Usual(packets=6000.0, bits=3e6)}), Suspects(0.0)
    for second in range(4):
        arrived = {NftSet.IN4: {A: Count(6000 * second, 360_000 * second)}}
        begun = counters(float(second), {A: 7000 * second})
        reading = Counters(float(second), {**arrived, **begun.elements})
        suspects.feed(reading, [A, B], watch, (), CONFIG)
    assert watch.tracks[A].state is ATTACK
    assert watch.rates[A].connections == 7000.0
    assert B not in watch.rates
    assert opened_of(Counters(0.0), A) is None
