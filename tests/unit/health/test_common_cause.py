"""Many targets turning bad at once: us, or the world? (S4)"""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from anycastd.health.common_cause import CommonCause
from anycastd.model.address import CheckId, RegionName
from anycastd.model.health import CheckState, Health
from anycastd.model.topology import SelfTest

EU, US = RegionName("eu"), RegionName("us")
SPEC = SelfTest(window_s=10.0, hold_s=60.0, min_targets=5, min_regions=2)
FAILING = (CheckState(CheckId("self/gateway/path"), Health.UNHEALTHY),)
FINE = (CheckState(CheckId("self/gateway/path"), Health.HEALTHY),)


def after(targets: int, regions: int, apart_s: float = 0.1) -> CommonCause:
    """Return the machine after that many targets turned bad, spread over the regions."""
    cause = CommonCause(SPEC)
    for number in range(targets):
        region = RegionName(f"region-{number % regions}")
        cause = cause.saw_bad(100.0 + number * apart_s, ip_address(f"10.0.0.{number + 1}"), region)
    return cause


@pytest.mark.parametrize(
    ("targets", "regions", "failing", "suspect"),
    [(5, 2, True, True), (9, 3, True, True), (4, 2, True, False), (9, 1, True, False), (9, 3, False, False)],
)
def test_who_is_suspected(targets: int, regions: int, failing: bool, suspect: bool) -> None:
    cause = after(targets, regions).wake(101.0, FAILING if failing else FINE)
    assert (cause.suspect_until_s is not None) is suspect
    assert bool(cause.detail) is suspect


def test_without_self_test_targets_nothing_is_ever_suspected() -> None:
    assert after(20, 5).wake(101.0, ()).suspect_until_s is None


def test_failures_further_apart_than_the_window_do_not_count_together() -> None:
    assert after(9, 3, apart_s=3.0).wake(124.0, FAILING).suspect_until_s is None


def test_the_same_target_counts_once() -> None:
    cause = CommonCause(SPEC)
    for number in range(9):
        cause = cause.saw_bad(100.0, ip_address(f"10.0.0.{number % 3}"), (EU, US)[number % 3 % 2])
    assert len(cause.turned_bad) == 3
    assert cause.wake(100.0, FAILING).suspect_until_s is None


def test_the_same_address_in_two_regions_is_two_targets() -> None:
    cause = CommonCause(SPEC)
    for number in range(3):
        for region in (EU, US):
            cause = cause.saw_bad(100.0, ip_address(f"10.0.0.{number}"), region)
    assert cause.wake(100.0, FAILING).suspect_until_s == 160.0


def test_suspicion_ends_after_its_time_once_the_self_test_answers() -> None:
    cause = after(5, 2).wake(101.0, FAILING)
    assert cause.suspect_until_s == 161.0
    assert cause.wake(160.9, FINE).suspect_until_s == 161.0
    assert cause.wake(170.0, FAILING).suspect_until_s == 161.0
    ended = cause.wake(170.1, FINE)
    assert (ended.suspect_until_s, ended.detail) == (None, "")


def test_the_view_shows_the_worst_self_test() -> None:
    cause = CommonCause(SPEC)
    assert cause.view(()).health is Health.INITIAL
    assert cause.view((*FINE, *FAILING)).health is Health.UNHEALTHY
    assert cause.view(FINE).health is Health.HEALTHY
