"""What holds of a plane of EIPs in every history: increments add up, and it converges from anywhere without a gap."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.model.eip import EipStatus
from anycastd.model.nft import DropElement, NftSet
from anycastd.policy import elements, paths
from anycastd.reconcile.eip_plane import EipPlane
from anycastd.resources.tasks import SETTLED
from tests.property.eip_histories import (
    ADDRESSES,
    ANYTHING,
    CALM_STEPS,
    STEPS,
    History,
    Step,
)
from tests.unit.reconcile.filter import Tables, Way, apply, observed, tables, ways

SOME = settings(max_examples=15, deadline=None)
MANY = settings(max_examples=250, deadline=None)


def converged(plane: EipPlane, there: Tables, resync: int = 0) -> Tables:
    """Do what the plane says until it says nothing more."""
    for _ in range(3):
        changes = plane.changes(observed(there, resync))
        if not changes:
            return there
        apply(there, changes)
    raise AssertionError(changes)


@given(STEPS)
@SOME
def test_the_increments_add_up(steps: list[Step]) -> None:
    history = History()
    for step in steps:
        history.take(step)
        assert history.plane.wanted == history.expected()
        assert history.is_at_rest()


@pytest.mark.slow
@given(STEPS, st.integers(8, 30), st.integers(40, 60))
@MANY
def test_the_increments_add_up_also_when_numbers_collide(steps: list[Step], pools: int, paths_in_region: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elements, "POOL_NUMBERS", pools)
        patch.setattr(paths, "PATH_NUMBERS", paths_in_region)
        history, there = History(), tables()
        for step in steps:
            history.take(step)
            assert history.plane.wanted == history.expected()
            assert history.is_at_rest()
            assert converged(history.plane, there) == history.plane.wanted


@given(STEPS, STEPS, ANYTHING)
@SOME
def test_it_converges_from_anywhere_also_by_what_it_changed_alone(
    before: list[Step], after: list[Step], there: Tables
) -> None:
    history = History()
    for step in before:
        history.take(step)
    assert converged(history.plane, there) == history.plane.wanted
    for step in after:
        history.take(step)
        assert converged(history.plane, there) == history.plane.wanted
    for view in history.plane.views(observed(there)):
        assert view.status in (EipStatus.BIND, EipStatus.UNBIND, EipStatus.OFFLINING)
        assert view.detail


@pytest.mark.slow
@given(STEPS, STEPS, st.floats(0.0, 1.0))
@MANY
def test_a_crash_between_any_two_changes_is_repaired(before: list[Step], after: list[Step], part: float) -> None:
    history, there = History(), tables()
    for step in before:
        history.take(step)
    converged(history.plane, there)
    for step in after:
        history.take(step)
    changes = history.plane.changes(observed(there))
    apply(there, changes[: round(part * len(changes))])
    plane = history.restarted()
    assert converged(plane, there) == plane.wanted
    plane.wake(history.now_s + 86400.0)
    assert converged(plane, there) == plane.wanted


@pytest.mark.slow
@given(STEPS)
@MANY
def test_a_flushed_ruleset_is_put_back_whole(steps: list[Step]) -> None:
    history, there = History(), tables()
    for step in steps:
        history.take(step)
    converged(history.plane, there)
    assert history.plane.changes(observed(tables())) == ()
    assert converged(history.plane, tables(), resync=1) == there


@pytest.mark.slow
@given(CALM_STEPS)
@MANY
def test_a_restart_changes_nothing(steps: list[Step]) -> None:
    history, there = History(), tables()
    for step in steps:
        history.take(step)
    converged(history.plane, there)
    assert history.restarted().changes(observed(there)) == ()


@given(STEPS, STEPS)
@SOME
def test_who_has_a_way_before_and_after_has_one_of_them_at_every_step(before: list[Step], after: list[Step]) -> None:
    history, there = History(), tables()
    for step in before:
        history.take(step)
    converged(history.plane, there)
    for step in after:
        history.take(step)
    changes = history.plane.changes(observed(there))
    end = tables(there)
    apply(end, changes)
    kept = {one: (ways(there, one), ways(end, one)) for one in ADDRESSES}
    for change in changes:
        apply(there, (change,))
        if isinstance(change, DropElement) and isinstance(change.key, IPv4Network):
            continue  # prefixes that overlap cannot be there together: their changes belong into one transaction
        for address, (was, will_be) in kept.items():
            if was is not None and will_be is not None:
                now = ways(there, address)
                assert now is not None, (address, change)
                assert _legs(now) <= _legs(was) | _legs(will_be), (address, change)


@given(STEPS, STEPS)
@SOME
def test_what_is_told_as_done_is_done_at_every_step(before: list[Step], after: list[Step]) -> None:
    told_truly(before, after)


@pytest.mark.slow
@given(STEPS, STEPS)
@MANY
def test_what_is_told_as_done_is_done_at_every_step_of_many(before: list[Step], after: list[Step]) -> None:
    told_truly(before, after)


def told_truly(before: list[Step], after: list[Step]) -> None:
    """Whatever part of the changes the kernel has: a status that ends a task says that it has all of the EIP."""
    history, there = History(), tables()
    for step in before:
        history.take(step)
    converged(history.plane, there)
    for step in after:
        history.take(step)
    wanted = history.plane.wanted
    for change in history.plane.changes(observed(there)):
        for view in history.plane.views(observed(there)):
            address = view.eip.address
            # one that is dropped is nobody's task
            if view.status in SETTLED and history.plane.knows(address):
                held = {name: there[name][address] for name in NftSet if address in there[name]}
                assert held == {name: wanted[name][address] for name in NftSet if address in wanted[name]}
                assert ways(there, address) == ways(wanted, address), (view, change)
        apply(there, (change,))


def _legs(them: frozenset[Way]) -> set[object]:
    """Marks with the backend they lead to, and marks with the address they hide behind."""
    return {(way.mark, way.backend) for way in them} | {(way.mark, "as", way.hidden_as) for way in them}
