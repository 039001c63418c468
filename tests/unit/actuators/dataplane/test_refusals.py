"""What the kernel did not do is told once, in words, and told to be over."""

from __future__ import annotations

import errno
from ipaddress import ip_address, ip_network

import pytest

from anycastd.actuators.dataplane.refusals import REMEMBERED, Refusals, error_for, subject_of
from anycastd.errors import ActuatorRejected, ActuatorTransient
from anycastd.model.kernel import (
    DeleteRoute,
    DeleteRule,
    KernelAction,
    KernelObserved,
    KernelRoute,
    PutRoute,
    PutRule,
    RouteKind,
    SourceRule,
)


def put(prefix: str) -> PutRoute:
    return PutRoute(KernelRoute(ip_network(prefix), RouteKind.BLACKHOLE, 9))


ONE, TWO = put("203.0.113.0/24"), put("198.51.100.0/24")


RULE, OTHER = (SourceRule(ip_address(f"10.0.0.{n}"), 1300, 1300) for n in (1, 2))


def refusals() -> tuple[Refusals, list[tuple[str, str | None]]]:
    told: list[tuple[str, str | None]] = []
    return Refusals(lambda subject, detail: told.append((subject, detail))), told


def test_the_same_reason_is_told_once_and_its_end_too() -> None:
    found, told = refusals()
    for _ in range(3):
        found.failed(ONE, errno.EINVAL, "Nexthop has invalid gateway")
    found.settled(ONE)
    found.settled(ONE)
    subject = "blackhole 203.0.113.0/24 metric 9 table 254"
    assert told == [(subject, "refused: put: EINVAL: Nexthop has invalid gateway"), (subject, None)]


def test_what_nobody_wants_any_more_is_settled() -> None:
    found, told = refusals()
    found.failed(ONE, errno.EINVAL, "x")
    found.failed(TWO, errno.EINVAL, "x")
    found.keep([subject_of(TWO)])
    assert told[2:] == [(subject_of(ONE), None)]


def test_what_came_about_some_other_way_is_settled() -> None:
    found, told = refusals()
    actions: list[KernelAction] = [ONE, DeleteRoute(TWO.route), PutRule(RULE), DeleteRule(OTHER)]
    for action in actions:
        found.failed(action, errno.EPERM, "x")
    found.review(KernelObserved(frozenset({TWO.route}), frozenset({OTHER})))
    assert len(told) == 4
    found.review(KernelObserved(frozenset({ONE.route}), frozenset({RULE})))
    assert told[4:] == [(subject_of(action), None) for action in actions]


def test_one_cause_of_ten_thousand_failures_is_not_ten_thousand_alarms() -> None:
    found, told = refusals()
    for number in range(10_000):
        found.failed(put(f"10.{number >> 8}.{number & 255}.0/24"), errno.EPERM, "Operation not permitted")
    assert len(told) == REMEMBERED


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (None, ActuatorTransient, "no answer"),
        (errno.ENETDOWN, ActuatorTransient, "ENETDOWN"),
        (errno.EPERM, ActuatorRejected, "EPERM"),
        (errno.EEXIST, ActuatorRejected, "another program's route"),
    ],
)
def test_by_whose_fault(code: int | None, kind: type[Exception], words: str) -> None:
    error = error_for(ONE, code, "no answer")
    assert isinstance(error, kind)
    assert words in str(error)
