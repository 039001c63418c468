"""Many prefixes at once: a bite at a time, the worst first, and none forgotten."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

from hypothesis import given
from hypothesis.strategies import integers, lists

from anycastd.model.decision import Level
from anycastd.model.probe import ProbeResult, Why
from anycastd.runtime.loop.backlog import BITE, Backlog
from tests.unit.runtime.world import UP, World, config

MANY = [ip_network(f"45.{n // 256}.{n % 256}.0/24") for n in range(3 * BITE)]


def settle(world: World) -> None:
    """Run the loop as often as it asks for it now."""
    while any(at_s <= world.now_s for at_s in world.due):
        world.due = [at_s for at_s in world.due if at_s > world.now_s]
        world.control.on_due(world.now_s)
        world.speaker.ack()
        world.control.on_observed(world.now_s)


def announced() -> World:
    """Return a world that announces many prefixes."""
    world = World(config(prefixes=MANY))
    settle(world)
    for _ in range(3):
        world.now_s += 1.0
        give(world, Why.ANSWERED)
        settle(world)
    assert len((world.speaker.observed.routes or {})[UP]) == len(MANY)
    return world


def give(world: World, why: Why) -> None:
    """Give one result to every check."""
    for id_ in list(world.probes.specs):
        world.control.on_result(ProbeResult(id_, why, world.now_s - 0.01, world.now_s), world.now_s)


def at_depref(world: World) -> int:
    return sum(level is Level.DEPREF for level in world.control.levels.values())


def test_a_result_that_turns_many_decides_a_bite_and_asks_to_go_on() -> None:
    world = announced()
    assert at_depref(world) == 0
    world.due.clear()
    for _ in range(3):
        world.now_s += 1.0
        give(world, Why.REFUSED)
    assert 0 < at_depref(world) < len(MANY)
    assert any(at_s <= world.now_s for at_s in world.due)
    settle(world)
    assert at_depref(world) == len(MANY)
    assert all(len(route.as_path) == 4 for route in (world.speaker.observed.routes or {})[UP].values())


def test_what_waits_keeps_its_place_and_its_time() -> None:
    backlog = Backlog()
    backlog.add(MANY[:2], 1.0)
    backlog.add(MANY[1:], 2.0)
    first = backlog.bite()
    assert list(first) == MANY[:BITE]
    assert [first[MANY[1]], first[MANY[2]]] == [1.0, 2.0]
    backlog.keep(MANY[: BITE + 1])
    assert list(backlog.bite()) == [MANY[BITE]]
    assert not backlog


def test_a_timer_that_went_off_for_one_is_set_for_the_next() -> None:
    world = announced()
    for _ in range(3):
        world.now_s += 1.0
        give(world, Why.REFUSED)
    settle(world)
    coming = {decision.wake_at_s for decision in world.control.decisions.values() if decision.wake_at_s}
    world.due.clear()
    world.control.on_observed(world.now_s)
    assert min(world.due) <= min(coming)


def test_a_row_that_waits_keeps_its_place_and_what_was_taken_of_it_waits_again_behind() -> None:
    backlog = Backlog()
    backlog.add(MANY[-1:], 0.5)
    backlog.add_rows([MANY], 1.0)
    assert backlog.is_many
    assert backlog.bite() == dict.fromkeys(MANY[:BITE], 1.0)
    backlog.add_rows([MANY], 2.0)
    taken: list[tuple[IPv4Network | IPv6Network, float]] = []
    while backlog:
        taken += backlog.bite().items()
    times = [*[1.0] * (2 * BITE - 1), 0.5, *[2.0] * BITE]
    assert taken == list(zip([*MANY[BITE:], *MANY[:BITE]], times, strict=True))


def test_of_a_row_only_what_is_configured_is_kept() -> None:
    backlog = Backlog()
    backlog.add_rows([MANY[: BITE + 5], MANY[BITE + 5 :]], 1.0)
    backlog.bite()
    backlog.keep(MANY[BITE + 3 : BITE + 7])
    assert backlog.bite() == dict.fromkeys(MANY[BITE + 3 : BITE + 7], 1.0)
    assert not backlog


@given(lists(lists(integers(0, 2), max_size=3), max_size=30))
def test_of_rows_none_is_forgotten_and_none_waits_twice(rounds: list[list[int]]) -> None:
    """Each round lets some rows wait and takes one bite; a model remembers what must come out."""
    rows = [MANY[: BITE + 3], MANY[BITE + 3 : 2 * BITE], MANY[2 * BITE :]]
    backlog, waits = Backlog(), set[IPv4Network | IPv6Network]()
    for asked in rounds:
        backlog.add_rows((rows[number] for number in asked), 1.0)
        waits.update(prefix for number in asked for prefix in rows[number])
        some = backlog.bite() if backlog else {}
        assert some.keys() <= waits
        waits -= some.keys()
    while backlog:
        some = backlog.bite()
        assert some.keys() <= waits
        waits -= some.keys()
    assert not waits
