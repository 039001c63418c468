"""Verdicts over reloads: what did not change keeps its own."""

from __future__ import annotations

from dataclasses import replace

from anycastd.health.tracker import Tracker
from anycastd.model.address import CheckId
from anycastd.model.health import Health
from anycastd.model.probe import ProbeResult, Why
from tests.unit.policy.pops import TWO, pop

SPECS = pop({"eu": TWO}).probes
FIRST, SECOND = SPECS[0], SPECS[1]


def risen() -> Tracker:
    tracker = Tracker()
    tracker.configure((FIRST, SECOND), 1.0)
    for spec in (FIRST, SECOND):
        for number in range(3):
            tracker.feed(ProbeResult(spec.id, Why.ANSWERED, number, number + 0.1))
    return tracker


def test_each_result_gives_the_state_before_and_after() -> None:
    tracker = Tracker()
    tracker.configure((FIRST,), 1.0)
    fed = tracker.feed(ProbeResult(FIRST.id, Why.ANSWERED, 1.0, 1.1))
    assert fed is not None
    assert [state.passed for state in fed] == [0, 1]


def test_a_result_of_a_check_that_is_not_configured_is_nothing() -> None:
    assert risen().feed(ProbeResult(CheckId("tunnel/x/y/path"), Why.ANSWERED, 1.0, 1.1)) is None


def test_an_unchanged_check_keeps_its_verdict_and_a_changed_one_begins_anew() -> None:
    tracker = risen()
    changed = replace(SECOND, check=replace(SECOND.check, timing=replace(SECOND.check.timing, fall=9)))
    tracker.configure((FIRST, changed), 9.0)
    assert tracker.states[FIRST.id].health is Health.HEALTHY
    assert (tracker.states[SECOND.id].health, tracker.states[SECOND.id].since_s) == (Health.INITIAL, 9.0)


def test_a_removed_check_is_forgotten() -> None:
    tracker = risen()
    tracker.configure((FIRST,), 9.0)
    assert list(tracker.states) == [FIRST.id]
    assert tracker.spec(SECOND.id) is None
    assert tracker.feed(ProbeResult(SECOND.id, Why.ANSWERED, 1.0, 1.1)) is None
