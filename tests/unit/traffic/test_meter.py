"""The meter: what it makes of readings when counters begin anew, EIPs come and go, and the daemon with them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.model.address import Address
from anycastd.model.eip import EipId
from anycastd.model.nft import Count, NamedCounter, NftSet
from anycastd.model.traffic import Direction, DropCause, EipStanding, Sample
from anycastd.traffic.meter import BITE, KEEP_GONE_S, Meter
from tests.unit.traffic.kernel import NOON, SIX, STANDINGS, A, B, Disk, Kernel


class Daemon:
    """A meter with its disk; a restart makes a new meter of what the disk has."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel, self.disk, self.boot = kernel, Disk(), "boot-1"
        self.eips: dict[Address, EipStanding] = dict(STANDINGS)
        self.meter = Meter(self.boot)

    def read(self) -> Sample:
        sample = self.meter.feed(self.kernel.reading(), self.eips, self.kernel.wall_s)
        self.disk.write(self.meter.take_batch())
        return sample

    def restart(self, *, clean: bool = True) -> None:
        if clean:
            self.disk.write(self.meter.last_batch())
        self.meter = Meter(self.boot, self.disk.saved())


def started(*addresses: Address) -> Daemon:
    """Return a daemon that has read the counters of EIPs that carried nothing yet."""
    daemon = Daemon(Kernel().allocate(*(addresses or (A, B, SIX))))
    daemon.read()
    return daemon


def test_totals_rates_and_drops_of_both_directions_and_families() -> None:
    daemon = started()
    kernel = daemon.kernel
    for address in (A, SIX):
        kernel.carry(address, 1000, 1_250_000)
        kernel.carry(address, 500, 625_000, NftSet.OUT4)
        for tally, packets in ((NftSet.LIMIT_IN4, 7), (NftSet.LIMIT_OUT4, 5), (NftSet.IDLE4, 3), (NftSet.DARK4, 2)):
            kernel.carry(address, packets, packets * 10, tally)
    kernel.named = {NamedCounter.UNBOUND4: Count(4, 400)}
    kernel.wait(4.0)
    sample = daemon.read()
    for address in (A, SIX):
        found = sample.eips[address]
        assert found.totals.passed(Direction.IN) == Count(1000, 1_250_000)
        assert found.totals.passed(Direction.OUT) == Count(500, 625_000)
        assert found.totals.dropped(Direction.IN) == {
            DropCause.LIMIT: Count(7, 70),
            DropCause.UNBOUND: Count(3, 30),
            DropCause.NO_PATH: Count(2, 20),
        }
        assert found.totals.dropped(Direction.OUT) == {DropCause.LIMIT: Count(5, 50)}
        assert found.rates == (2_500_000.0, 250.0, 1_250_000.0, 125.0)
    assert sample.eips[A].utilisation_percent(Direction.IN) == 25.0
    assert sample.eips[A].utilisation_percent(Direction.OUT) is None
    assert sample.eips[SIX].utilisation_percent(Direction.OUT) == 6.25
    assert sample.eips[B].totals == (0,) * 12
    assert sample.pop.passed(Direction.IN) == Count(2000, 2_500_000)
    assert sample.pop_rates.in_bps == 5_000_000.0
    assert sample.named == {NamedCounter.UNBOUND4: Count(4, 400)}


def test_a_rate_is_of_the_interval_that_it_was_and_goes_back_to_nothing() -> None:
    daemon = started()
    daemon.kernel.carry(A, 100, 1000)
    daemon.kernel.wait(20.0)
    assert daemon.read().eips[A].rates.in_bps == 400.0
    assert daemon.read().eips[A].rates.in_bps == 400.0, "the same reading again says nothing new"
    daemon.kernel.wait(5.0)
    assert daemon.read().eips[A].rates == (0.0, 0.0, 0.0, 0.0)


def test_a_counter_that_began_anew_counts_from_nothing() -> None:
    daemon = started()
    daemon.kernel.carry(A, 100)
    daemon.kernel.wait(5.0)
    daemon.read()
    daemon.kernel.reset(A)
    daemon.kernel.carry(A, 30)
    daemon.kernel.wait(5.0)
    assert daemon.read().eips[A].totals.in_packets == 130


def test_an_element_that_was_away_for_two_readings_counts_from_nothing_even_if_it_comes_back_larger() -> None:
    daemon = started()
    daemon.kernel.carry(A, 100)
    daemon.kernel.wait(5.0)
    daemon.read()
    del daemon.kernel.elements[NftSet.IN4][A]
    for _ in range(2):
        daemon.kernel.wait(5.0)
        daemon.read()
    daemon.kernel.carry(A, 400)
    daemon.kernel.wait(5.0)
    assert daemon.read().eips[A].totals.in_packets == 500


@pytest.mark.parametrize("gaps", [1, 3])
def test_an_element_that_a_reading_passed_over_is_not_counted_twice(gaps: int) -> None:
    daemon = started()
    daemon.kernel.carry(A, 100)
    daemon.kernel.carry(B, 100)
    daemon.kernel.wait(5.0)
    daemon.read()
    for _ in range(gaps):
        hidden = daemon.kernel.elements[NftSet.IN4].pop(A)
        daemon.kernel.wait(5.0)
        daemon.read()
        daemon.kernel.elements[NftSet.IN4][A] = hidden
        daemon.kernel.carry(A, 1)
        daemon.kernel.wait(5.0)
        daemon.read()
    assert daemon.read().eips[A].totals.in_packets == 100 + gaps


def test_a_set_that_was_not_read_changes_nothing() -> None:
    daemon = started()
    daemon.kernel.carry(A, 100)
    daemon.kernel.wait(5.0)
    daemon.read()
    daemon.kernel.wait(5.0)
    daemon.meter.feed(replace(daemon.kernel.reading(), elements={}), daemon.eips, daemon.kernel.wall_s)
    daemon.kernel.carry(A, 1)
    daemon.kernel.wait(5.0)
    assert daemon.read().eips[A].totals.in_packets == 101


def test_a_limit_that_changes_is_shown_at_once() -> None:
    daemon = started()
    daemon.eips[A] = replace(STANDINGS[A], in_limit_bps=1)
    daemon.kernel.wait(5.0)
    assert daemon.read().eips[A].standing.in_limit_bps == 1


def test_an_eip_that_is_gone_is_not_shown_and_goes_on_if_it_comes_back_soon() -> None:
    daemon = started()
    daemon.kernel.carry(A, 100)
    daemon.kernel.wait(5.0)
    daemon.read()
    del daemon.eips[A]
    daemon.kernel.elements[NftSet.IN4].clear()
    daemon.kernel.wait(5.0)
    assert set(daemon.read().eips) == {B, SIX}
    daemon.eips[A] = STANDINGS[A]
    daemon.kernel.carry(A, 5)
    daemon.kernel.wait(5.0)
    assert daemon.read().eips[A].totals.in_packets == 105


def test_an_eip_that_is_gone_for_long_is_forgotten_and_the_pop_remembers() -> None:
    daemon = started()
    daemon.kernel.carry(A, 100)
    daemon.kernel.wait(5.0)
    number = daemon.read().eips[A].number
    del daemon.eips[A]
    for elements in daemon.kernel.elements.values():
        elements.pop(A, None)
    for seconds in (5.0, KEEP_GONE_S + 5.0, 300.0):
        daemon.kernel.wait(seconds)
        sample = daemon.read()
    assert number not in daemon.disk.records
    assert sample.pop.in_packets == 100
    daemon.eips[A] = STANDINGS[A]
    daemon.kernel.allocate(A).wait(5.0)
    again = daemon.read().eips[A]
    assert (again.totals.in_packets, again.number == number) == (0, False)


def test_an_eip_that_the_kernel_still_counts_is_never_counted_twice() -> None:
    daemon = started()
    daemon.kernel.carry(A, 100)
    daemon.kernel.wait(5.0)
    daemon.read()
    del daemon.eips[A]
    for seconds in (5.0, KEEP_GONE_S + 5.0, 5.0):
        daemon.kernel.wait(seconds)
        assert daemon.read().pop.in_packets == 100


def test_recent_readings_are_found_after_an_address_went_to_another_eip() -> None:
    daemon = started()
    daemon.eips[A] = EipStanding(EipId("eip-ffffffff"))
    for _ in range(2):
        daemon.kernel.carry(A, 3)
        daemon.kernel.carry(B, 4)
        daemon.kernel.wait(5.0)
        sample = daemon.read()
    for address, packets in ((A, 3), (B, 4)):
        frames = daemon.meter.frames(sample.eips[address].number, 0.0)
        assert frames[-1].volume.in_packets == packets


def test_another_eip_at_the_same_address_begins_at_nothing() -> None:
    daemon = started()
    daemon.kernel.carry(A, 100)
    daemon.kernel.wait(5.0)
    before = daemon.read().eips[A]
    daemon.eips[A] = EipStanding(EipId("eip-ffffffff"))
    daemon.kernel.reset(A)
    daemon.kernel.carry(A, 3)
    daemon.kernel.wait(5.0)
    after = daemon.read().eips[A]
    assert (after.totals.in_packets, after.since_unix_s) == (3, daemon.kernel.wall_s)
    assert after.number > before.number
    daemon.restart()
    daemon.kernel.wait(5.0)
    assert daemon.read().eips[A].totals.in_packets == 3


def test_with_nothing_saved_the_first_reading_counts_in_totals_and_in_no_rate_and_no_point() -> None:
    daemon = Daemon(Kernel().allocate(A))
    daemon.kernel.carry(A, 10**9)
    first = daemon.read()
    assert first.eips[A].totals.in_packets == 10**9
    assert first.eips[A].rates.in_pps == first.pop_rates.in_pps == 0.0
    daemon.kernel.carry(A, 7)
    daemon.kernel.wait(300.0)
    daemon.read()
    daemon.kernel.wait(5.0)
    daemon.read()
    assert daemon.disk.bytes_in() == {int(NOON) // 300: 700}


def test_an_eip_allocated_later_counts_whole() -> None:
    daemon = started(B)
    daemon.kernel.allocate(A).carry(A, 7)
    daemon.kernel.wait(5.0)
    assert daemon.read().eips[A].rates.in_pps == 1.4


def test_a_reboot_lets_every_counter_begin_anew() -> None:
    daemon = started()
    daemon.kernel.carry(A, 100)
    daemon.kernel.named = {NamedCounter.NO_PATH: Count(50, 5000)}
    daemon.kernel.wait(5.0)
    daemon.read()
    daemon.boot = "boot-2"
    daemon.restart()
    daemon.kernel.reset(A)
    daemon.kernel.carry(A, 130)
    daemon.kernel.named = {NamedCounter.NO_PATH: Count(60, 6000)}
    daemon.kernel.now_s, daemon.kernel.wall_s = 20.0, daemon.kernel.wall_s + 60.0
    sample = daemon.read()
    assert sample.eips[A].totals.in_packets == 230
    assert sample.named[NamedCounter.NO_PATH] == Count(110, 11000)
    assert sample.interval_s == 60.0


def test_the_totals_of_pop_and_named_counters_go_on_after_a_restart() -> None:
    daemon = started()
    daemon.kernel.carry(A, 100)
    daemon.kernel.named = {NamedCounter.UNTRACKED: Count(5, 50)}
    daemon.kernel.wait(5.0)
    daemon.read()
    daemon.restart()
    daemon.kernel.carry(A, 1)
    daemon.kernel.named = {NamedCounter.UNTRACKED: Count(6, 60)}
    daemon.kernel.wait(5.0)
    sample = daemon.read()
    assert sample.pop.in_packets == 101
    assert sample.named == {NamedCounter.UNTRACKED: Count(6, 60)}


def test_what_passed_is_saved_at_once_when_a_counter_begins_anew() -> None:
    daemon = started()
    daemon.kernel.carry(A, 100)
    daemon.kernel.wait(5.0)
    daemon.read()
    daemon.kernel.reset(A)
    daemon.kernel.wait(5.0)
    daemon.read()
    daemon.restart(clean=False)
    daemon.kernel.carry(A, 1)
    daemon.kernel.wait(5.0)
    assert daemon.read().eips[A].totals.in_packets == 101


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("carry"), st.sampled_from([A, B, SIX]), st.integers(0, 3), st.integers(1, 10**6)),
        st.tuples(st.just("wait"), st.floats(0.5, 2000.0)),
        st.tuples(st.just("read")),
        st.tuples(st.just("reset"), st.sampled_from([A, B, SIX]), st.sampled_from([NftSet.IN4, NftSet.OUT4])),
        st.tuples(st.just("vanish"), st.sampled_from([A, B, SIX])),
        st.tuples(st.just("rebuild")),
        st.tuples(st.just("restart"), st.booleans()),
        st.tuples(st.just("clock"), st.floats(-5000.0, 5000.0)),
    ),
    max_size=40,
)


class Truth:
    """What was really carried, and the checks against it."""

    def __init__(self) -> None:
        self.daemon = started()
        self.carried: dict[tuple[Address, NftSet], Count] = {}
        self.last: dict[Address, tuple[int, ...]] = {}

    def read(self) -> None:
        self.daemon.kernel.wait(1.0)
        sample = self.daemon.read()
        for address in (A, B, SIX):
            totals = sample.eips[address].totals
            carried = [self.carried.get((address, tally), Count()) for tally in (NftSet.IN4, NftSet.OUT4)]
            assert [totals.passed(way) for way in Direction] == carried
            assert all(map(int.__ge__, totals, self.last.get(address, totals))), "a total went down"
            self.last[address] = totals
        sums = [sum(n.bytes for (_, t), n in self.carried.items() if t is s) for s in (NftSet.IN4, NftSet.OUT4)]
        assert [sample.pop.in_bytes, sample.pop.out_bytes] == sums

    def act(self, verb: str, arguments: tuple[Any, ...]) -> None:
        daemon, kernel = self.daemon, self.daemon.kernel
        if verb == "carry":
            address, tally_number, packets = arguments
            tally = (NftSet.IN4, NftSet.OUT4, NftSet.LIMIT_IN4, NftSet.DARK4)[tally_number]
            kernel.carry(address, packets, tally=tally)
            key = (address, tally)
            self.carried[key] = self.carried.get(key, Count()) + Count(packets, packets * 100)
        elif verb == "wait":
            kernel.wait(arguments[0])
        elif verb == "clock":
            kernel.wall_s += arguments[0]
        elif verb == "restart":
            daemon.restart(clean=arguments[0])
            self.last.clear()
        else:
            # what passes between the last reading and the moment a counter begins anew nobody can know
            self.read()
            if verb == "reset":
                kernel.reset(*arguments)
            for elements in kernel.elements.values():
                if verb == "vanish":
                    elements.pop(arguments[0], None)
                elif verb == "rebuild":
                    elements.clear()
            self.read()
            self.read()

    def check_points(self) -> None:
        """Points and what is in the open slot are together all that passed, wherever clocks and restarts put it."""
        self.read()
        self.daemon.disk.write(self.daemon.meter.last_batch())
        disk = self.daemon.disk
        for record in disk.records.values():
            stored = sum(point.values[0] for number, point in disk.points if number == record.number)
            assert stored + record.total[1] - record.mark[1] == record.total[1]
            assert stored >= 0
        assert all(min(point.values) >= 0 for _, point in disk.points)


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_totals_are_the_true_traffic_whatever_happens(steps: list[tuple[Any, ...]]) -> None:
    truth = Truth()
    for verb, *arguments in steps:
        truth.act(verb, tuple(arguments))
    truth.check_points()


@pytest.mark.parametrize("eips", [0, 1, 255, 256, 257])
def test_the_steps_are_bites_and_end(eips: int) -> None:
    addresses = [A + number for number in range(eips)]
    kernel = Kernel().allocate(*addresses)
    standings = {address: EipStanding(EipId(str(address))) for address in addresses}
    meter = Meter("boot")
    steps = list(meter.steps(kernel.reading(), standings, kernel.wall_s))
    assert len(steps) >= eips // 256 * 3
    assert meter.sample is not None
    assert len(meter.sample.eips) == eips


class _Asked(dict[Address, EipStanding]):
    """Counts how many it was asked for, and refuses to tell all at once."""

    asked = 0

    def get(self, address: Address, default: Any = None) -> Any:
        self.asked += 1
        return super().get(address, default)

    def items(self) -> Any:
        raise AssertionError

    values = items


def test_no_bite_asks_for_the_standing_of_more_eips_than_belong_to_it() -> None:
    addresses = [A + number for number in range(1000)]
    kernel = Kernel().allocate(*addresses)
    standings, asked = _Asked({address: EipStanding(EipId(str(address))) for address in addresses}), [0]
    asked += [standings.asked for _ in Meter("boot").steps(kernel.reading(), standings, kernel.wall_s)]
    assert asked[-1] >= 1000
    assert max(after - before for before, after in pairwise(asked)) <= BITE
