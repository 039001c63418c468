"""What holds of every history, however the facts behave: the invariants of the ladder, with the default timers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.model.decision import Decision, Level, Memory, Reason, Truth
from anycastd.model.topology import PrefixSpec, PrefixTimers
from anycastd.policy.budget import PLAIN_LIMIT, STRICT_LIMIT
from anycastd.policy.draft import Facts
from anycastd.policy.engine import decide
from tests.property.histories import (
    ANY_TIMERS,
    CHANGES,
    CHOOSY,
    CONDITIONS,
    DAY_S,
    DWELL_S,
    HARD_CHANGES,
    LEAVE,
    MEMORIES,
    SPECS,
    STAY,
    Change,
    Moment,
    play,
    play_against,
    restless,
    spiteful,
    until,
)
from tests.property.routers import routers, tell

SOME = settings(max_examples=120, deadline=None)


def never_suppressed(moments: list[Moment], mrai_s: float = 0.0) -> None:
    for router in routers():
        assert not tell(router, moments, mrai_s).suppressed, (type(router).__name__, router.highest)


@given(SPECS, HARD_CHANGES)
@SOME
def test_no_router_with_default_damping_suppresses_the_prefix(spec: PrefixSpec, changes: list[Change]) -> None:
    never_suppressed(play(spec, changes))


@pytest.mark.slow
@pytest.mark.parametrize("spec", [STAY, LEAVE])
@pytest.mark.parametrize(("bad_s", "fine_s", "nap_s"), [(0.5, 0.5, 20.0), (3.0, 0.5, 7.0), (400.0, 1.0, 30.0)])
def test_a_prefix_that_fails_whenever_it_is_normal_is_not_suppressed(
    spec: PrefixSpec, bad_s: float, fine_s: float, nap_s: float
) -> None:
    moments = play_against(spec, spiteful(bad_s, fine_s, nap_s), DAY_S)
    assert sum(moment.moved for moment in moments) > 20
    never_suppressed(moments)


@pytest.mark.slow
@pytest.mark.parametrize("bad_s", [2.5, 9.0, 30.0])
def test_a_prefix_that_fails_whenever_it_is_announced_is_not_suppressed(bad_s: float) -> None:
    moments = play_against(LEAVE, restless(bad_s), DAY_S / 4)
    assert sum(moment.moved for moment in moments) > 10
    never_suppressed(moments)


@pytest.mark.slow
def test_the_second_router_behind_an_mrai_timer_does_not_suppress_either() -> None:
    for adversary in (spiteful(3.0, 0.5, 7.0), spiteful(400.0, 1.0, 30.0), restless(9.0)):
        never_suppressed(play_against(LEAVE, adversary, DAY_S), mrai_s=30.0)


@given(SPECS, HARD_CHANGES)
@SOME
def test_our_own_figure_is_what_a_router_computes(spec: PrefixSpec, changes: list[Change]) -> None:
    moments = play(spec, changes)
    plain, _, strict = (tell(router, moments) for router in routers())
    last = moments[-1].after.penalty
    for router, ours, limit in ((plain, last.plain, PLAIN_LIMIT), (strict, last.strict, STRICT_LIMIT)):
        router.decay(max(last.at_s, router.updated_s))
        assert ours == pytest.approx(router.figure, abs=0.01)
        assert ours < limit


@given(SPECS, CHANGES)
@SOME
def test_depreferencing_never_waits(spec: PrefixSpec, changes: list[Change]) -> None:
    for moment in play(spec, changes):
        if moment.facts.condition is Truth.FALSE and moment.facts.bgp_observed:
            assert moment.decision.level <= Level.DEPREF


@given(CHANGES)
@SOME
def test_health_never_takes_a_prefix_that_stays_off_the_air(changes: list[Change]) -> None:
    announced = False
    for moment in play(STAY, changes):
        assert moment.decision.level is not Level.GSHUT
        assert not announced or moment.decision.level is not Level.WITHDRAWN
        announced = announced or moment.decision.level is not Level.WITHDRAWN


@given(SPECS, CHANGES)
@SOME
def test_unknown_changes_nothing(spec: PrefixSpec, changes: list[Change]) -> None:
    for moment in play(spec, changes):
        if moment.facts.condition is Truth.UNKNOWN:
            assert not moment.moved
            assert moment.decision.hold in (Reason.HEALTH_UNKNOWN, Reason.FIRST_CHECKS)


@given(SPECS, CHANGES, st.booleans())
@SOME
def test_healthier_never_means_less_announced(spec: PrefixSpec, changes: list[Change], suspect: bool) -> None:
    """The ladder is monotone: at any point of any history, being able to serve announces no less than not being."""
    memory = play(spec, changes)[-1].after
    facts = Facts(now_s=2e6, spec=spec, condition=Truth.TRUE, checker_suspect=suspect)
    level = {truth: decide(replace(facts, condition=truth), memory)[0].level for truth in Truth}
    assert level[Truth.TRUE] >= level[Truth.UNKNOWN] >= level[Truth.FALSE]
    assert level[Truth.TRUE] > Level.WITHDRAWN


@given(SPECS, CHANGES)
@SOME
def test_nothing_changes_before_exabgp_was_seen(spec: PrefixSpec, changes: list[Change]) -> None:
    for moment in play(spec, changes):
        assert moment.facts.bgp_observed or not moment.moved


@given(SPECS, CHANGES)
@SOME
def test_an_absent_prefix_appears_only_when_all_is_ready(spec: PrefixSpec, changes: list[Change]) -> None:
    for moment in play(spec, changes):
        if moment.before.level is Level.WITHDRAWN and moment.after.level is not Level.WITHDRAWN:
            assert moment.facts.condition is Truth.TRUE
            assert moment.facts.data_plane_ready
            assert moment.facts.bgp_observed


@given(CHANGES)
@SOME
def test_a_suspect_checker_withdraws_nothing(changes: list[Change]) -> None:
    for moment in play(LEAVE, changes):
        if moment.facts.checker_suspect and moment.before.level is not Level.WITHDRAWN:
            assert moment.after.level is not Level.WITHDRAWN


@given(SPECS, CHANGES)
@SOME
def test_steadily_fine_becomes_normal_in_bounded_time(spec: PrefixSpec, changes: list[Change]) -> None:
    moments = play(spec, changes)
    last = moments[-1]
    begun_s = last.facts.now_s + changes[-1].for_s
    # the longest hold, then the longest wait for the budget: from below 2000 to 950 takes 0.97 half-lives
    end_s = begun_s + 1800.0 + 900.0 * 2
    facts = Facts(now_s=begun_s, spec=spec, condition=Truth.TRUE)
    final = until(end_s, facts, last.after)
    assert final[-1].decision.level is Level.NORMAL
    assert final[-1].decision.wake_at_s is None
    assert len(final) <= 8


@given(st.sampled_from((STAY, LEAVE)), CHANGES)
@SOME
def test_steadily_bad_comes_to_rest_in_few_decisions(spec: PrefixSpec, changes: list[Change]) -> None:
    last = play(spec, changes)[-1]
    begun_s = last.facts.now_s + changes[-1].for_s
    final = until(begun_s + 2 * DAY_S, Facts(now_s=begun_s, spec=spec, condition=Truth.FALSE), last.after)
    resting = Level.DEPREF if spec is STAY else Level.WITHDRAWN
    assert final[-1].decision.level in (resting, Level.WITHDRAWN)
    assert final[-1].decision.wake_at_s is None
    assert len(final) <= 8


@given(CONDITIONS, st.booleans(), st.booleans(), st.booleans(), st.booleans(), MEMORIES, ANY_TIMERS, SPECS)
@settings(max_examples=400, deadline=None)
def test_every_situation_has_an_explained_decision(
    condition: Truth,
    ready: bool,
    observed: bool,
    suspect: bool,
    stopping: bool,
    memory: Memory,
    timers: PrefixTimers,
    spec: PrefixSpec,
) -> None:
    facts = Facts(
        now_s=2e6,
        spec=replace(spec, timers=timers),
        condition=condition,
        data_plane_ready=ready,
        bgp_observed=observed,
        checker_suspect=suspect,
        stopping=stopping,
    )
    decision, after = decide(facts, memory)
    assert (decision, after) == decide(facts, memory)
    explained(decision, memory)
    assert after.level is decision.level
    assert decision.wake_at_s is None or decision.wake_at_s > facts.now_s


def explained(decision: Decision, memory: Memory) -> None:
    """The trail leads from what was to what is; what is not as wanted says what holds it."""
    assert decision.trail
    at = memory.level
    for step in decision.trail:
        assert step.before is at
        at = step.after
    assert at is decision.level
    assert decision.hold is None or decision.hold.holds
    if decision.level is not decision.wanted:
        assert decision.hold is not None
        assert decision.hold in {step.reason for step in decision.trail}


@given(SPECS, CHANGES, st.lists(st.floats(0.0, 1.0), max_size=10))
@SOME
def test_looking_more_often_changes_no_decision(spec: PrefixSpec, changes: list[Change], looks: list[float]) -> None:
    plain = play(spec, changes)
    cut = [replace(change, for_s=change.for_s / 4.0) for change in changes for _ in range(4)]
    often = play(spec, cut)
    assert [m.after.level for m in plain if m.moved] == [m.after.level for m in often if m.moved]


@given(
    st.lists(st.builds(Change, for_s=DWELL_S, condition=st.just(Truth.TRUE), well=CONDITIONS), min_size=1, max_size=40)
)
@SOME
def test_what_is_only_degraded_never_withdraws(changes: list[Change]) -> None:
    for moment in play(CHOOSY, changes):
        assert moment.decision.level is not Level.WITHDRAWN
        if moment.facts.well is Truth.FALSE:
            assert (moment.decision.level, moment.decision.reason) == (Level.DEPREF, Reason.DEGRADED)
    for moment in play(LEAVE, changes):
        assert moment.decision.level is Level.NORMAL


def test_a_flapping_backend_costs_one_change() -> None:
    up_down = [Change(1.0, Truth.FALSE if second % 2 else Truth.TRUE) for second in range(60)]
    before = play(LEAVE, [Change(10.0, Truth.TRUE)])
    assert before[-1].decision.level is Level.NORMAL
    moments = play(LEAVE, up_down, before[-1].after)
    assert [moment.after.level for moment in moments if moment.moved] == [Level.DEPREF]


def test_a_day_of_fast_flapping_costs_few_changes() -> None:
    moments = play(LEAVE, [Change(30.0, Truth.FALSE if n % 2 else Truth.TRUE) for n in range(2880)])
    # a withdrawal and its return each time the budget allows: one in about 15 minutes
    assert sum(moment.moved for moment in moments) <= 2 * 24 * 4 + 10
