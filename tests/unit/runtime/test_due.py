"""Which decisions are made again, and when."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from anycastd.model.decision import Decision, Reason
from anycastd.runtime.loop.due import EACH_S, FEW, Due
from tests.unit.runtime.test_backlog import announced
from tests.unit.runtime.world import A, B

WAITING = Reason.DATA_PLANE_NOT_READY


def decision() -> Decision:
    return next(iter(announced().control.decisions.values()))


ONE = replace(decision(), prefix=A, hold=None, wake_at_s=None)


def test_what_falls_due_is_given_once_and_only_by_its_newest_time() -> None:
    due = Due()
    due.note(replace(ONE, wake_at_s=10.0))
    due.note(replace(ONE, prefix=B, wake_at_s=20.0))
    due.note(replace(ONE, wake_at_s=30.0))
    assert due.next_s() == 20.0
    assert due.take(25.0) == [B]
    assert due.take(29.0) == []
    assert due.take(30.0) == [A]
    assert due.next_s() is None


def test_a_time_that_passed_is_given_again_if_the_decision_names_it_again() -> None:
    due = Due()
    for _ in range(2):
        due.note(replace(ONE, wake_at_s=10.0))
        assert due.take(11.0) == [A]


def test_a_time_without_end_never_falls_due() -> None:
    due = Due()
    due.note(replace(ONE, wake_at_s=float("inf")))
    assert due.next_s() is None


def test_what_waits_for_an_observation_is_given_when_something_was_observed() -> None:
    due = Due()
    due.note(replace(ONE, hold=WAITING))
    assert due.take(1.0) == []
    due.ask()
    assert due.take(1.0) == [A]
    due.note(ONE)
    due.ask()
    assert due.take(2.0) == []


def test_thousands_that_wait_are_not_looked_at_all_the_time_and_not_forgotten() -> None:
    due, many = Due(), 10 * FEW
    for number in range(many):
        due.note(replace(ONE, prefix=ip_network(f"45.{number // 256}.{number % 256}.0/24"), hold=WAITING))
    due.ask()
    assert len(due.take(1.0)) == many
    due.ask()
    assert due.take(1.0) == []
    again_s = due.next_s()
    assert again_s == 1.0 + EACH_S * (many - FEW)
    assert len(due.take(again_s)) == many


def test_what_left_the_configuration_is_forgotten() -> None:
    due = Due()
    due.note(replace(ONE, hold=WAITING, wake_at_s=5.0))
    due.forget(A)
    due.ask()
    assert due.take(10.0) == []
    assert due.next_s() is None


def test_times_that_changed_a_thousand_times_do_not_pile_up() -> None:
    due = Due()
    for number in range(10_000):
        due.note(replace(ONE, wake_at_s=1e6 - number))
    assert len(due._heap) < 2000
    assert due.next_s() == 1e6 - 9999
