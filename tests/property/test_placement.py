"""What holds of every placement: exact quotas, no dependence on any order, rest, and no harm by better health."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from anycastd.model.eip import Binding, Placement, PlacementReason, Spread
from anycastd.model.health import Health
from anycastd.model.nft import BUCKETS
from anycastd.policy.allotment import largest_remainder
from tests.property.eip_histories import ANY_STATE, BINDINGS, NAMES
from tests.unit.policy.eips import BAD, BLIND, NEW, OK, placed

pytestmark = pytest.mark.slow
SOME = settings(max_examples=120, deadline=None)
STATES = st.dictionaries(st.sampled_from(NAMES), ANY_STATE, max_size=8)
DIALS = st.dictionaries(st.sampled_from(("eu", "us", "ap")), st.sampled_from((0, 1, 30, 50, 99, 100)), max_size=3)
MS = st.dictionaries(st.sampled_from(("eu", "us", "ap")), st.sampled_from((1.0, 8.0, 15.0, 40.0)), max_size=3)
Situation = tuple[dict[str, Health], dict[str, int], dict[str, float], bool]
PARTS = st.lists(st.integers(0, 255), min_size=1, max_size=BUCKETS).filter(any)
SITUATIONS = st.tuples(STATES, DIALS, MS, st.sampled_from((False, False, False, True)))


def at(binding: Binding, situation: Situation, before: Placement | None = None, now_s: float = 0.0) -> Placement:
    states, dials, latency_ms, suspect = situation
    return placed(binding, states, dials=dials, latency_ms=latency_ms, suspect=suspect, before=before, now_s=now_s)


def played(binding: Binding, history: list[Situation]) -> list[Placement]:
    found: list[Placement] = []
    for now_s, situation in enumerate(history):
        found.append(at(binding, situation, found[-1] if found else None, float(now_s)))
    return found


HISTORIES = st.lists(SITUATIONS, min_size=1, max_size=5)


@given(BINDINGS, HISTORIES)
@SOME
def test_quotas_are_exact_and_every_placement_explains_itself(binding: Binding, history: list[Situation]) -> None:
    for placement in played(binding, history):
        assert sum(share.buckets for share in placement.shares) == (BUCKETS if placement.shares else 0)
        assert all(share.buckets > 0 for share in placement.shares)
        assert len({share.path.mark for share in placement.shares}) == len(placement.shares)
        assert {share.path.backend for share in placement.shares} <= {target.backend for target in binding.targets}
        assert (placement.reason is PlacementReason.NO_PATH) == (not placement.shares)
        assert placement.detail


@given(BINDINGS, HISTORIES)
@SOME
def test_placing_again_changes_nothing(binding: Binding, history: list[Situation]) -> None:
    last = played(binding, history)[-1]
    again = at(binding, history[-1], last, 99.0)
    assert (again.shares, again.since_s) == (last.shares, last.since_s)
    assert at(binding, history[-1], again, 100.0) is again


@given(BINDINGS, HISTORIES)
@SOME
def test_the_order_of_the_targets_does_not_matter_unless_it_is_the_order(
    binding: Binding, history: list[Situation]
) -> None:
    assume(binding.spread is not Spread.ORDERED)
    wanted = [placement.shares for placement in played(binding, history)]
    for targets in list(permutations(binding.targets))[1:4]:
        found = played(replace(binding, targets=targets), history)
        assert [placement.shares for placement in found] == wanted


# of backends only: through a tunnel that comes back a backend may be seen to be bad of which nothing was known
@given(BINDINGS, HISTORIES, st.sampled_from([name for name in NAMES if "-" in name or "six" in name]))
@SOME
def test_better_health_never_takes_the_last_path(binding: Binding, history: list[Situation], better: str) -> None:
    *past, (states, dials, latency_ms, suspect) = history
    before = next(reversed(played(binding, past)), None)
    worse = at(binding, (states | {better: BAD}, dials, latency_ms, suspect), before)
    good = at(binding, (states | {better: OK}, dials, latency_ms, suspect), before)
    assert good.shares or not worse.shares


@given(BINDINGS, DIALS, MS)
@SOME
def test_with_everything_healthy_nothing_gets_packets_that_should_not(
    binding: Binding, dials: dict[str, int], latency_ms: dict[str, float]
) -> None:
    placement = at(binding, ({}, dials, latency_ms, False))
    if placement.reason in (PlacementReason.LAST_RESORT, PlacementReason.NO_PATH):
        return
    weights: dict[str, int] = {}
    for target in binding.targets:
        weights[target.backend] = weights.get(target.backend, 0) + target.weight
    for share in placement.shares:
        assert weights[share.path.backend] > 0
        assert dials.get(share.path.region, 100) > 0


@given(BINDINGS, HISTORIES, DIALS)
@SOME
def test_a_bad_backend_gets_packets_only_when_no_other_is_good(
    binding: Binding, history: list[Situation], dials: dict[str, int]
) -> None:
    last, (states, _, latency_ms, _) = played(binding, history)[-1], history[-1]
    placement = at(binding, (states, dials, latency_ms, False), last)
    bad = {"ap/web-1": _bad(states, "ap/web-1", "ap"), "us/web-1": _bad(states, "us/web-1", "us")}
    if any(bad.get(share.path.backend, False) for share in placement.shares):
        assert placement.reason in (PlacementReason.FAIL_OPEN, PlacementReason.AWAITS_CHECKS)


def _bad(states: dict[str, Health], backend: str, region: str) -> bool:
    tunnel = states.get(region, OK)
    return tunnel is BAD or (tunnel is OK and states.get(backend, OK) is BAD)


@given(BINDINGS, HISTORIES)
@SOME
def test_what_is_not_known_begins_nothing_beside_what_is_proven(binding: Binding, history: list[Situation]) -> None:
    last = played(binding, history)[-1]
    used = {share.path for share in last.shares}
    fog = {name: state for name, state in history[-1][0].items() if state in (BLIND, NEW)}
    after = at(binding, ({**fog, "us": BLIND}, {}, {}, False), last)
    if after.reason in (PlacementReason.AWAITS_CHECKS, PlacementReason.FAIL_OPEN):
        return
    for share in after.shares:
        assert share.path.region != "us" or share.path in used


@given(PARTS)
@SOME
def test_whatever_has_a_weight_gets_a_bucket_and_nobody_far_from_its_part(parts: list[int]) -> None:
    shares = largest_remainder(dict(enumerate(parts)), BUCKETS)
    assert sum(shares.values()) == BUCKETS
    assert all((count > 0) == (parts[key] > 0) for key, count in shares.items())
    exact = [Fraction(part * BUCKETS, sum(parts)) for part in parts]
    helped = sum(0 < part < 1 for part in exact)
    assert all(-1 - helped < count - exact[key] < 1 for key, count in shares.items() if parts[key])
    ranked = sorted((part, shares[key]) for key, part in enumerate(parts))
    assert [count for _, count in ranked] == sorted(shares.values()), "a larger weight never gets less"
