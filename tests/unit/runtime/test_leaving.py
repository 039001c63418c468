"""SIGTERM: what may leave leaves, and what may not stays with ExaBGP."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from anycastd.model.address import NeighborName
from anycastd.model.bgp import BgpObserved, SpeakerState
from anycastd.model.decision import Level
from anycastd.model.topology import LastResort
from anycastd.runtime.control import Control
from anycastd.runtime.orders import leaving
from tests.unit.runtime.fleet_world import RR, Pop, config
from tests.unit.runtime.world import UP, A, B, World


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "WITHIN_S", 0.1)


class Acking:
    """ExaBGP: acknowledges what it was told each time that it is looked at, and the loop follows."""

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def observed(self) -> BgpObserved:
        self._world.settle()
        return self._world.speaker.observed


def left(control: Control, world: World) -> bool:
    return asyncio.run(leaving.leave(control, Acking(world)))


def test_a_pop_alone_leaves_with_everything() -> None:
    world = World()
    world.answer("")
    assert left(world.control, world)
    assert (world.speaker.observed.routes or {})[UP] == {}


def test_a_pop_whose_others_nobody_confirms_stays_depreferenced_and_says_so() -> None:
    pop = Pop(config("fra"), 7)
    pop.world.answer("", times=2)
    assert pop.level(A) is Level.NORMAL
    assert not left(pop.world.control, pop.world)
    assert {pop.level(A), pop.level(B)} == {Level.DEPREF}
    assert len((pop.world.speaker.observed.routes or {})[UP]) == 2


def test_our_beacon_does_not_keep_us() -> None:
    pop = Pop(config("fra"), 7)
    old = pop.world.control.config
    may = {prefix: replace(spec, last_resort=LastResort.WITHDRAW) for prefix, spec in old.prefixes.items()}
    new = replace(old, prefixes=may)
    pop.link.configure(new)
    pop.world.configure(new)
    pop.world.answer("", times=2)
    assert left(pop.world.control, pop.world)
    routes = pop.world.speaker.observed.routes or {}
    assert routes[UP] == {}
    assert routes[NeighborName(RR)], "it goes last: it says that we are gone"


class Silent:
    """ExaBGP as it is while it starts, or while its bridge does: it runs, and has not said what it holds."""

    def __init__(self, state: SpeakerState) -> None:
        self.observed = BgpObserved(speaker=state)


def test_what_exabgp_has_not_told_yet_is_not_gone_where_others_must_confirm_it() -> None:
    """Told to end in the second after its start, a daemon would else withdraw everything without asking (I1)."""
    pop = Pop(config("fra"), 7)
    pop.world.answer("", times=2)
    pop.world.speaker.observed = BgpObserved(speaker=SpeakerState.SYNCING)
    pop.world.control.on_observed(pop.world.now_s)
    assert not asyncio.run(leaving.leave(pop.world.control, Silent(SpeakerState.SYNCING)))


def test_where_no_exabgp_runs_nothing_is_left_to_wait_for() -> None:
    pop = Pop(config("fra"), 7)
    assert asyncio.run(leaving.leave(pop.world.control, Silent(SpeakerState.ABSENT)))


def test_a_pop_alone_ends_an_exabgp_that_says_nothing() -> None:
    world = World()
    assert asyncio.run(leaving.leave(world.control, Silent(SpeakerState.SYNCING)))
