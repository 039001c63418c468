"""Faults found in our peers that no other test of ours names (docs/comparison.md has the whole list)."""

from __future__ import annotations

from dataclasses import replace

from anycastd.actuators.exabgp.queue import key_of
from anycastd.model.address import RegionName
from anycastd.model.bgp import Announce
from anycastd.model.decision import Level
from anycastd.model.probe import Why
from anycastd.model.topology import Condition
from tests.unit.runtime.world import A, B, World, config


def apart() -> World:
    """Return a world in which prefix A counts on region eu and prefix B on us, all healthy."""
    plain = config()
    when = {A: Condition(regions=(RegionName("eu"),)), B: Condition(regions=(RegionName("us"),))}
    prefixes = {one: replace(spec, announce_when=when[one]) for one, spec in plain.prefixes.items()}
    world = World(replace(plain, prefixes=prefixes))
    world.answer("")
    assert world.control.levels == {A: Level.NORMAL, B: Level.NORMAL}
    return world


def test_a_prefix_that_leaves_takes_no_other_along() -> None:
    """runityru/anycastd: services share one list of routes, so that one that fails withdraws those of the others."""
    world = apart()
    before = len(world.speaker.said)
    world.answer("backend/eu/", Why.REFUSED)
    world.wait(5.0)
    assert world.speaker.holds(A) is None
    stays = world.speaker.holds(B)
    assert stays is not None
    assert stays.as_path == (64500,)
    said = world.speaker.said[before:]
    assert {key_of(one)[1] for one in said} == {A}


def test_a_change_of_preference_is_one_word_and_no_withdrawal() -> None:
    """gobgp-anycast-controller deletes the route and adds it anew for each change: every change is an outage."""
    world = apart()
    before = len(world.speaker.said)
    world.answer("backend/us/", Why.REFUSED)
    world.wait(5.0)
    (said,) = world.speaker.said[before:]
    assert isinstance(said, Announce)
    assert said.route.prefix == B
    assert len(said.route.as_path) == 4


def test_one_failed_answer_moves_nothing() -> None:
    """gecio/anycastd, gocast and gobgp-anycast-controller withdraw at the first failed answer."""
    world = apart()
    before = len(world.speaker.said)
    for _ in range(5):
        world.answer("backend/", Why.TIMEOUT, times=2)
        world.answer("backend/", times=1)
    assert len(world.speaker.said) == before
