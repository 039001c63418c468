"""Rise/fall against a dumb model that looks at the whole list of results every time."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.health.rise_fall import feed
from anycastd.model.address import CheckId
from anycastd.model.checks import Timing
from anycastd.model.health import CheckState, Health
from anycastd.model.probe import Outcome, ProbeResult, Why

CHECK = CheckId("tunnel/eu/a/path")
WHYS = st.sampled_from((Why.ANSWERED, Why.ANSWERED, Why.TIMEOUT, Why.REFUSED, Why.NO_DEVICE, Why.LOOP_LATE))


def result(why: Why, number: int) -> ProbeResult:
    return ProbeResult(CHECK, why, float(number), number + 0.25)


def played(whys: list[Why], timing: Timing) -> list[CheckState]:
    states = [CheckState(CHECK)]
    for number, why in enumerate(whys):
        states.append(feed(states[-1], result(why, number), timing))
    return states


def verdict(whys: list[Why], timing: Timing) -> Health:
    """The rule as it is written down, applied to every beginning of the list in turn."""
    health, cut = Health.INITIAL, 0
    for end in range(1, len(whys) + 1):
        told = [why.outcome for why in whys[cut:end] if why.outcome is not Outcome.BROKEN]
        last = [why.outcome for why in whys[:end]]
        if health is not Health.UNKNOWN and last[-timing.fall :] == [Outcome.BROKEN] * timing.fall:
            # what was heard of the target before we went blind counts no more
            health, cut = Health.UNKNOWN, end
        elif last[-1] is Outcome.OK and told[-timing.rise :] == [Outcome.OK] * timing.rise:
            health = Health.HEALTHY
        elif last[-1] is Outcome.FAILED and told[-timing.fall :] == [Outcome.FAILED] * timing.fall:
            health = Health.UNHEALTHY
    return health


@given(st.lists(WHYS, max_size=40), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=400, deadline=None)
def test_the_verdict_is_what_the_rule_says(whys: list[Why], rise: int, fall: int) -> None:
    timing = Timing(rise=rise, fall=fall)
    assert played(whys, timing)[-1].health is verdict(whys, timing)


@given(st.lists(WHYS, max_size=40), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=200, deadline=None)
def test_a_verdict_changes_only_on_a_result_that_agrees(whys: list[Why], rise: int, fall: int) -> None:
    agrees = {
        Outcome.OK: Health.HEALTHY,
        Outcome.FAILED: Health.UNHEALTHY,
        Outcome.BROKEN: Health.UNKNOWN,
    }
    states = played(whys, Timing(rise=rise, fall=fall))
    for number, (before, after) in enumerate(pairwise(states)):
        if before.health is after.health:
            assert after.since_s == before.since_s
        else:
            assert after.health is agrees[whys[number].outcome]
            assert after.since_s == number + 0.25
        assert after.last == result(whys[number], number)


def test_latency_is_smoothed_over_passing_probes_only() -> None:
    states = [CheckState(CHECK)]
    for took_s, why in ((0.1, Why.ANSWERED), (0.2, Why.ANSWERED), (5.0, Why.TIMEOUT)):
        states.append(feed(states[-1], ProbeResult(CHECK, why, 0.0, took_s), Timing()))
    assert [state.latency_ms for state in states] == [None, 100.0, 112.5, 112.5]
