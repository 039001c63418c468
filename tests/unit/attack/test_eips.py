"""EIPs: what arrived counts, each is judged by its own past, and who is gone is forgotten."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anycastd.attack.eips import EipWatch
from anycastd.model.address import Address
from anycastd.model.attack import AttackReason, AttackState
from anycastd.model.attack_config import DetectConfig
from anycastd.model.traffic import Totals
from tests.unit.attack.readings import SIX, A, B, Eips

NORMAL, ELEVATED, ATTACK = AttackState
CONFIG = replace(DetectConfig(), warm_up_s=0.0)
QUIET = Totals(in_packets=1000, in_bytes=500_000)


class Watched:
    """A watch and what it is told; `said` are changes of state with their times since the start."""

    def __init__(self, *addresses: Address, config: DetectConfig = CONFIG) -> None:
        self.eips, self.watch, self.config = Eips(*addresses), EipWatch(), config
        self.said: list[tuple[float, Address, AttackState]] = []
        for _ in range(2):
            self.run(5.0, dict.fromkeys(addresses, QUIET))

    def run(
        self,
        seconds: float,
        rates: dict[Address, Totals],
        *,
        each_s: float = 5.0,
        hurts: tuple[AttackReason, ...] = (),
    ) -> None:
        for _ in range(int(seconds / each_s)):
            before = {one: track.state for one, track in self.watch.tracks.items()}
            self.watch.feed(self.eips.reading(each_s, rates), hurts, self.config)
            for address in self.watch.changed:
                state = self.of(address)
                if state is not before.get(address, NORMAL):
                    self.said.append((self.eips.now_s - 1000.0, address, state))

    def of(self, address: Address) -> AttackState:
        track = self.watch.tracks.get(address)
        return track.state if track else NORMAL


@pytest.mark.parametrize(
    "flood",
    [
        Totals(in_packets=30_000, in_bytes=2_000_000),
        Totals(in_packets=1000, limit_in_packets=29_000, limit_in_bytes=2_000_000),
        Totals(unbound_packets=30_000, unbound_bytes=2_000_000),
        Totals(no_path_packets=30_000, no_path_bytes=2_000_000),
        Totals(in_packets=5000, in_bytes=60_000_000),
    ],
    ids=["let through", "above the limit", "to what is not bound", "without a path", "few and large"],
)
@pytest.mark.parametrize("victim", [A, SIX], ids=["v4", "v6"])
def test_a_flood_is_seen_whatever_becomes_of_it(flood: Totals, victim: Address) -> None:
    pop = Watched(A, B, SIX)
    pop.run(60.0, {A: QUIET, B: QUIET, SIX: QUIET})
    quiet = {one: QUIET for one in (A, B, SIX) if one != victim}
    pop.run(5.0, quiet | {victim: flood})
    assert pop.said == [(75.0, victim, ATTACK)]
    pop.run(300.0, {A: QUIET, B: QUIET, SIX: QUIET})
    assert [state for _, _, state in pop.said] == [ATTACK, ELEVATED, NORMAL]
    assert pop.watch.tracks == {}
    assert pop.watch.rates == {}


def test_one_that_falls_silent_is_calm_too() -> None:
    pop = Watched(A)
    pop.run(5.0, {A: Totals(in_packets=30_000, in_bytes=2_000_000)})
    pop.run(300.0, {})
    assert [state for _, _, state in pop.said] == [ATTACK, ELEVATED, NORMAL]
    assert pop.watch.tracks == {}


def test_readings_of_a_second_take_two() -> None:
    pop = Watched(A)
    pop.run(3.0, {A: Totals(in_packets=30_000, in_bytes=2_000_000)}, each_s=1.0)
    assert pop.said == [(12.0, A, ATTACK)]


def test_a_limit_that_drops_more_than_half_of_usual_traffic_is_elevated() -> None:
    pop = Watched(A)
    busy = Totals(in_packets=25_000, in_bytes=12_000_000)
    pop.watch.usual[A].packets, pop.watch.usual[A].bits = 25_000.0, 96e6
    pop.run(60.0, {A: busy})
    assert pop.said == []
    pop.run(5.0, {A: Totals(in_packets=10_000, in_bytes=5_000_000, limit_in_packets=15_000, limit_in_bytes=7_000_000)})
    assert pop.watch.tracks[A].reasons == (AttackReason.DROPPED_BY_LIMIT,)
    assert pop.of(A) is ELEVATED


def test_pains_of_the_pop_make_an_attack_of_what_is_unusual_and_nothing_of_what_is_not() -> None:
    pop, loud = Watched(A, B), Totals(in_packets=25_000, in_bytes=2_000_000)
    pop.watch.usual[A].packets = 5000.0
    pop.run(5.0, {A: loud, B: QUIET}, hurts=(AttackReason.CHECKS_SLOW, AttackReason.CONNTRACK_FULL))
    assert pop.said == [(15.0, A, ATTACK)]
    assert pop.watch.tracks[A].reasons == (AttackReason.PACKETS_ABOVE_USUAL, AttackReason.CHECKS_SLOW)


def test_another_eip_at_the_address_begins_with_nothing_known() -> None:
    pop = Watched(A)
    pop.run(5.0, {A: Totals(in_packets=30_000, in_bytes=2_000_000)})
    pop.eips.anew(A)
    pop.run(5.0, {A: QUIET})
    assert pop.said[-1] == (20.0, A, NORMAL)
    assert A not in pop.watch.usual


def test_who_is_released_is_forgotten() -> None:
    pop = Watched(A, B)
    pop.run(5.0, {A: Totals(in_packets=30_000, in_bytes=2_000_000), B: QUIET})
    pop.eips.release(A)
    pop.run(5.0, {B: QUIET})
    assert set(pop.watch.usual) == {B}
    assert pop.watch.tracks == {}
    assert pop.said[-1] == (20.0, A, NORMAL)


def test_a_new_eip_is_not_judged_by_what_is_usual_until_it_is_known() -> None:
    moved = Totals(in_packets=90_000, in_bytes=60_000_000)
    pop = Watched(A, config=DetectConfig())
    pop.run(3600.0, {A: moved})
    assert pop.said == []
    assert pop.watch.usual[A].packets == pytest.approx(90_000.0, rel=0.01)


def test_nothing_is_read_twice() -> None:
    pop = Watched(A)
    same = pop.eips.reading(5.0, {A: Totals(in_packets=30_000)})
    for _ in range(3):
        pop.watch.feed(same, (), CONFIG)
    assert pop.of(A) is ATTACK
    assert pop.watch.usual[A].at_s == 1015.0
