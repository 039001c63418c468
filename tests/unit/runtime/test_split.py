"""A prefix that a reload splits, or joins with another: its addresses are never without a route."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_network

import pytest

from anycastd.model.address import Prefix
from anycastd.model.bgp import Announce, Withdraw
from anycastd.model.decision import Level, Reason
from anycastd.model.probe import Why
from anycastd.model.topology import Config, LastResort
from tests.unit.runtime.world import UP, A, World, config

HALVES: tuple[Prefix, ...] = tuple(A.subnets())


def world_of(*prefixes: Prefix) -> World:
    world = World(staying(prefixes))
    world.answer("")
    world.settle()
    return world


def staying(prefixes: Iterable[Prefix], last_resort: LastResort = LastResort.STAY) -> Config:
    base = config(prefixes=prefixes)
    return replace(base, prefixes={p: replace(s, last_resort=last_resort) for p, s in base.prefixes.items()})


def held(world: World) -> set[Prefix]:
    return set((world.speaker.observed.routes or {}).get(UP, {}))


@pytest.mark.parametrize(("before", "after"), [((A,), HALVES), (HALVES, (A,))], ids=["split", "joined"])
def test_the_old_is_withdrawn_only_when_the_new_is_announced(
    before: tuple[Prefix, ...], after: tuple[Prefix, ...]
) -> None:
    world = world_of(*before)
    assert held(world) == set(before)
    # the kernel takes its time: the new is not ready before its routes were read back
    world.kernel.refuses = True
    world.configure(staying(after))
    world.settle()
    world.wait(5.0)
    assert held(world) == set(before)
    world.kernel.refuses = False
    said = len(world.speaker.said)
    world.control.step(world.now_s)
    while world.speaker.queue:
        assert [one for one in world.speaker.queue if isinstance(one, Withdraw)] == [] or held(world) >= set(after)
        world.speaker.ack()
        world.control.on_observed(world.now_s)
    assert held(world) == set(after)
    kinds = [type(one) for one in world.speaker.said[said:]]
    assert kinds == [Announce] * len(after) + [Withdraw] * len(before)


def test_what_has_nothing_to_do_with_the_new_does_not_wait() -> None:
    other = ip_network("198.51.100.0/24")
    world = world_of(A, other)
    world.kernel.refuses = True
    world.configure(staying(HALVES))
    world.settle()
    assert held(world) == {A}


def test_a_pop_that_cannot_serve_goes_on_depreferenced_with_the_new() -> None:
    world = world_of(A)
    world.answer("backend/", Why.REFUSED)
    world.wait(3.0)
    assert world.control.levels == {A: Level.DEPREF}
    world.configure(staying(HALVES))
    world.settle()
    assert held(world) == set(HALVES)
    assert world.control.levels == dict.fromkeys(HALVES, Level.DEPREF)
    assert {one.hold for one in world.control.decisions.values()} == {Reason.STATIC_GUARD}


def test_what_may_be_dark_by_the_file_goes() -> None:
    world = world_of(A)
    world.answer("backend/", Why.REFUSED)
    world.configure(staying(HALVES, LastResort.WITHDRAW))
    world.settle()
    world.wait(3.0)
    assert held(world) == set()


def test_a_stop_waits_for_nothing_new() -> None:
    world = world_of(A)
    world.kernel.refuses = True
    world.configure(staying(HALVES))
    world.settle()
    assert held(world) == {A}
    world.control.stop(world.now_s)
    world.settle()
    assert held(world) == set()


def test_the_old_waits_no_longer_than_its_packets_are_carried() -> None:
    world = world_of(A)
    world.kernel.refuses = True
    world.configure(staying(HALVES))
    world.settle()
    world.wait(290.0)
    assert held(world) == {A}
    world.wait(20.0)
    assert held(world) == set()
