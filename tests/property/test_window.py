"""The window against a dumb recomputation of all that is in it, and its limits against the streaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.health.tracker import Tracker
from anycastd.health.window import Window
from anycastd.model.address import CheckId
from anycastd.model.checks import CheckKind, CheckSpec, IcmpOptions, Limit, Limits, ProbeSpec, Timing
from anycastd.model.health import CheckState, Health, Measured
from anycastd.model.probe import ProbeResult, Why

CHECK = CheckId("tunnel/eu/a/path")
TIMING = Timing(rise=3, fall=3)


def result(why: Why, number: int, took_us: int = 1000, *, overtaken: bool = False) -> ProbeResult:
    return ProbeResult(CHECK, why, float(number), number + took_us / 1e6, "", number, overtaken)


def naive(kept: Sequence[ProbeResult]) -> Measured:
    """Return the sums of these results, each made anew from the list."""
    answered = [round((one.ended_s - one.started_s) * 1e6) for one in kept if one.why is Why.ANSWERED]
    differences = [abs(after - before) for before, after in pairwise(answered)]
    failed = sum(one.why is not Why.ANSWERED for one in kept)
    lost = sum(one.why is Why.TIMEOUT for one in kept)
    return Measured(len(kept), failed, lost, len(answered), sum(answered), len(differences), sum(differences))


@given(
    st.integers(1, 9),
    st.lists(
        st.tuples(st.sampled_from((Why.ANSWERED, Why.ANSWERED, Why.TIMEOUT, Why.REFUSED)), st.integers(0, 10**7)),
        max_size=60,
    ),
)
@settings(max_examples=150, deadline=None)
def test_the_sums_are_those_of_the_last_results(size: int, told: list[tuple[Why, int]]) -> None:
    window, kept = Window(size), []
    for number, (why, took_us) in enumerate(told, start=1):
        one = result(why, number, took_us)
        window.take(one, 1000)
        kept.append(one)
        assert window.measured == naive(kept[-size:])


@given(st.integers(1, 4), st.lists(st.tuples(st.booleans(), st.integers(1, 9)), max_size=12))
@settings(max_examples=100, deadline=None)
def test_a_failing_streak_counts_for_its_first_probes(fall: int, runs: list[tuple[bool, int]]) -> None:
    window, number, expected = Window(1000), 0, 0
    for passes, length in _merged(runs):
        for _ in range(length):
            number += 1
            window.take(result(Why.ANSWERED if passes else Why.TIMEOUT, number), fall)
        expected += 0 if passes else min(length, fall)
    assert window.measured.failed == expected


def _merged(runs: list[tuple[bool, int]]) -> list[tuple[bool, int]]:
    found: list[tuple[bool, int]] = []
    for passes, length in runs:
        if found and found[-1][0] is passes:
            found[-1] = (passes, found[-1][1] + length)
        else:
            found.append((passes, length))
    return found


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 3), st.integers(0, 12))
@settings(max_examples=100, deadline=None)
def test_losses_that_come_in_late_count_as_those_in_time(passes: list[bool], fall: int, late: int) -> None:
    """With a timeout of `late` intervals, an answer overtakes the losses before it; the share is the same."""
    told: list[tuple[int, int, bool]] = []
    for number, passed in enumerate(passes, start=1):
        told.append((number if passed else number + late, number, passed))
    told.sort(key=lambda one: (one[0], not one[2], one[1]))
    in_time, window, newest = Window(100), Window(100), 0
    for number, passed in enumerate(passes, start=1):
        in_time.take(result(Why.ANSWERED if passed else Why.TIMEOUT, number), fall)
    for _, number, passed in told:
        overtaken, newest = number < newest, max(number, newest)
        window.take(result(Why.ANSWERED if passed else Why.TIMEOUT, number, overtaken=overtaken), fall)
    assert (window.measured.results, window.measured.lost) == (in_time.measured.results, in_time.measured.lost)


@dataclass
class Fed:
    """A tracker of one check that is fed results a second apart."""

    limits: Limits

    def __post_init__(self) -> None:
        check = CheckSpec(name="path", kind=CheckKind.ICMP, options=IcmpOptions(), timing=TIMING, limits=self.limits)
        self.tracker, self.number, self.states = Tracker(), 0, list[CheckState]()
        self.tracker.configure([ProbeSpec(id=CHECK, check=check, target=IPv4Address("192.0.2.1"))], 0.0)

    def take(self, *whys: Why, took_us: int = 1000) -> CheckState:
        for why in whys:
            self.number += 1
            fed = self.tracker.feed(result(why, self.number, took_us))
            assert fed is not None
            self.states.append(fed[1])
        return self.states[-1] if self.states else CheckState(CHECK)

    @property
    def changes(self) -> list[Health]:
        """Return the verdicts, each once for as long as it stood."""
        found = [Health.INITIAL]
        for state in self.states:
            if state.health is not found[-1]:
                found.append(state.health)
        return found


OK, LOST, REFUSED = Why.ANSWERED, Why.TIMEOUT, Why.REFUSED
DEFAULT = Limits(failures=Limit(40.0, 20.0))
QUALITY = Limits(
    failures=Limit(40.0, 20.0), loss=Limit(5.0, 2.5), latency_ms=Limit(80.0, 40.0), jitter_ms=Limit(20, 10)
)


@given(st.lists(st.sampled_from((OK, OK, OK, LOST, REFUSED, Why.LOOP_LATE)), max_size=120))
@settings(max_examples=150, deadline=None)
def test_without_an_exceeded_limit_the_verdict_is_that_of_the_streaks(whys: list[Why]) -> None:
    limited, free = Fed(DEFAULT), Fed(Limits())
    for why in whys:
        mine, theirs = limited.take(why), free.take(why)
        if mine.exceeded:
            assert mine.health in (Health.UNHEALTHY, Health.UNKNOWN)
        elif not any(state.exceeded for state in limited.states):
            assert (mine.health, mine.since_s) == (theirs.health, theirs.since_s)
        assert mine.health is not Health.DEGRADED


@pytest.mark.parametrize("begun", [0, 3, 100])
def test_a_brownout_of_every_second_probe_is_seen_once(begun: int) -> None:
    """Peers count streaks only and never see it. A thousand probes: one change of verdict, and one back."""
    fed = Fed(DEFAULT)
    fed.take(*[OK] * begun)
    seen = next(number for number in range(1, 1000) if fed.take(LOST if number % 2 else OK).exceeded)
    assert seen == 17
    assert fed.take(*[LOST, OK] * 500).health is Health.UNHEALTHY
    assert fed.take(*[OK] * 16).health is Health.HEALTHY
    first = [Health.INITIAL, Health.HEALTHY] if begun else [Health.INITIAL]
    assert fed.changes == [*first, Health.UNHEALTHY, Health.HEALTHY]
    assert Fed(Limits()).take(*[OK] * 3, *[LOST, OK] * 500).health is Health.HEALTHY


def test_an_outage_is_over_after_rise_probes_however_long_it_was() -> None:
    for outage in (3, 4, 17, 500):
        fed = Fed(DEFAULT)
        fed.take(*[OK] * 30)
        assert fed.take(*[LOST] * outage).health is Health.UNHEALTHY
        assert fed.take(OK, OK).health is Health.UNHEALTHY
        assert fed.take(OK).health is Health.HEALTHY


def test_a_brownout_by_chance_does_not_flap() -> None:
    """Half of the probes fail, drawn at random with a fixed seed: streaks alone change the verdict all the time."""
    seed, drawn = 7, []
    for _ in range(2000):
        seed = seed * 1103515245 + 12345 & 0x7FFFFFFF
        drawn.append(OK if seed >> 16 & 1 else REFUSED)
    with_share, without = Fed(DEFAULT), Fed(Limits())
    with_share.take(*drawn)
    without.take(*drawn)
    assert len(without.changes) > 100
    assert len(with_share.changes) < len(without.changes) / 10


def test_our_own_faults_are_left_out() -> None:
    fed = Fed(DEFAULT)
    fed.take(*[OK] * 20)
    fed.take(*[Why.LOOP_LATE, OK] * 40)
    assert fed.tracker.measured[CHECK].results == 20
    assert fed.tracker.measured[CHECK].failed == 0


def test_loss_degrades_and_is_over_at_the_lower_limit() -> None:
    fed = Fed(QUALITY)
    assert fed.take(*[OK] * 30, LOST).health is Health.HEALTHY
    state = fed.take(*[OK] * 5, LOST)
    assert (state.health, state.since_s) == (Health.DEGRADED, 37 + 1000 / 1e6)
    assert [(one.measure.value, one.limit, one.since_s) for one in state.exceeded] == [("loss", 5.0, state.since_s)]
    # one of twenty is 5 %: not above the limit, and not yet below the lower one
    assert fed.take(*[OK] * 14).health is Health.DEGRADED
    assert fed.tracker.measured[CHECK].loss_percent == 5.0
    assert fed.take(*[OK] * 6).health is Health.HEALTHY


def test_refused_is_no_loss() -> None:
    fed = Fed(QUALITY)
    assert fed.take(*[OK] * 30, REFUSED, OK, REFUSED, OK, OK).health is Health.HEALTHY
    assert fed.tracker.measured[CHECK].failures_percent == 10.0


def test_latency_and_jitter_degrade() -> None:
    slow = Fed(QUALITY)
    slow.take(*[OK] * 20, took_us=50_000)
    assert slow.take(*[OK] * 20, took_us=100_000).health is Health.DEGRADED
    assert [one.measure.value for one in slow.states[-1].exceeded] == ["latency"]
    varied = Fed(QUALITY)
    for number in range(20):
        varied.take(OK, took_us=1_000 + 30_000 * (number % 2))
    assert [one.measure.value for one in varied.states[-1].exceeded] == ["jitter"]
    assert varied.tracker.measured[CHECK].jitter_ms == pytest.approx(30.0)


def test_worse_than_degraded_is_unhealthy_and_back() -> None:
    fed = Fed(QUALITY)
    fed.take(*[OK] * 30, LOST, OK, LOST, OK)
    assert fed.take(*[LOST] * 3).health is Health.UNHEALTHY
    assert fed.take(*[OK] * 3).health is Health.DEGRADED
    assert fed.take(*[OK] * 20).health is Health.HEALTHY
    assert fed.changes == [Health.INITIAL, Health.HEALTHY, Health.DEGRADED, Health.UNHEALTHY, Health.DEGRADED,
                           Health.HEALTHY]  # fmt: skip


def test_broken_checks_are_unknown_whatever_the_window_says() -> None:
    fed = Fed(QUALITY)
    fed.take(*[OK] * 3, *[LOST, OK] * 20)
    assert fed.take(*[Why.NO_DEVICE] * 3).health is Health.UNKNOWN
    assert fed.take(*[OK] * 3).health is Health.UNHEALTHY
