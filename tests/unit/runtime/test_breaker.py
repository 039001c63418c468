"""S28: whatever the cause, only so many prefixes leave within a minute, and a restart does not change that."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from ipaddress import ip_network

import pytest

from anycastd.model.address import Prefix
from anycastd.model.decision import Level, Reason
from anycastd.model.operator import DrainPhase, DrainScope, Interventions, Override, OverrideKind
from anycastd.model.probe import Why
from anycastd.model.safety import BreakerConfig, SafetyConfig
from anycastd.model.status import Alarm, Status
from anycastd.model.topology import Config, LastResort
from anycastd.runtime.alarms import Alarms, Reported
from anycastd.runtime.journal.follow import Followed
from anycastd.runtime.kept.memory_file import Clocks, decode, encode
from anycastd.runtime.state import Circumstances, build
from tests.unit.runtime.test_orders import drain
from tests.unit.runtime.world import Speaker, World, config

W, D, N = Level.WITHDRAWN, Level.DEPREF, Level.NORMAL


def many(count: int, breaker: BreakerConfig | None = None) -> Config:
    """Return a POP with so many prefixes, all of which health may withdraw."""
    prefixes: list[Prefix] = [ip_network(f"198.18.{number}.0/24") for number in range(count)]
    base = config(prefixes=prefixes)
    specs = {prefix: replace(spec, last_resort=LastResort.WITHDRAW) for prefix, spec in base.prefixes.items()}
    return replace(base, prefixes=specs, safety=SafetyConfig(breaker=breaker or BreakerConfig()))


def serving(its_config: Config) -> World:
    world = World(its_config)
    world.answer("")
    assert set(world.control.levels.values()) == {N}
    return world


def counted(world: World) -> dict[Level, int]:
    return Counter(world.control.levels.values())


def status_of(world: World) -> Status:
    about, followed = Circumstances("0", 0.0, 0.0), Followed(lambda timer: None)
    return build(world.control, about, followed, Alarms(), Reported(), world.now_s, 0.0)


def test_the_limit_is_three_or_a_tenth() -> None:
    assert [BreakerConfig().limit(prefixes) for prefixes in (1, 30, 39, 40, 8000)] == [3, 3, 3, 4, 800]


def cut(world: World, for_s: float = 30.0) -> None:
    """Let every check fail, which takes every prefix down."""
    world.answer("", Why.TIMEOUT)
    world.wait(for_s)


@pytest.mark.parametrize(
    ("prefixes", "breaker", "leave"),
    [
        (3, BreakerConfig(), 3),
        (8, BreakerConfig(), 3),
        (8, BreakerConfig(withdrawals=5), 5),
        (8, BreakerConfig(percent=50), 4),
        (8, BreakerConfig(percent=100), 8),
        (8, BreakerConfig(withdrawals=1, percent=0), 1),
    ],
)
def test_as_many_leave_as_may_and_the_rest_stays_depreferenced(
    prefixes: int, breaker: BreakerConfig, leave: int
) -> None:
    world = serving(many(prefixes, breaker))
    cut(world)
    assert counted(world) == {W: leave, D: prefixes - leave} if leave < prefixes else {W: leave}
    holds = Counter(decision.hold for decision in world.control.decisions.values())
    assert holds[Reason.CIRCUIT_BREAKER] == prefixes - leave
    view = status_of(world).breaker
    assert (view.tripped_s is not None, view.left, view.limit, view.held) == (
        leave < prefixes, leave, breaker.limit(prefixes), prefixes - leave,
    )  # fmt: skip


def test_it_does_not_let_more_go_as_time_passes_and_the_alarm_stands() -> None:
    world = serving(many(8))
    cut(world, for_s=3600.0)
    assert counted(world) == {W: 3, D: 5}
    raised = {view.alarm: view.detail for view in status_of(world).alarms}
    assert "too many would be withdrawn at once" in raised[Alarm.CIRCUIT_BREAKER]
    decision = next(one for one in world.control.decisions.values() if one.hold is Reason.CIRCUIT_BREAKER)
    assert decision.trail[-1].evidence == "3 prefixes left within 60 s; no more may go at once"
    assert "anycastd breaker reset -> as many more may go" in decision.would_change


def test_what_is_ordered_by_hand_is_neither_counted_nor_held() -> None:
    world = serving(many(8, BreakerConfig(withdrawals=1, percent=0, window_s=10.0)))
    orders = Interventions()
    for number in range(4):
        down = Override(
            id=f"o-{number}", kind=OverrideKind.PREFIX, name=f"198.18.{number}.0/24", level=W,
            owner="ann", reason="", forced=False, began_s=0.0,
        )  # fmt: skip
        orders = replace(orders, overrides=(*orders.overrides, down))
    world.control.take(orders, world.now_s)
    world.control.step(world.now_s)
    world.settle()
    assert counted(world) == {W: 4, N: 4}
    assert status_of(world).breaker.tripped_s is None


def test_it_lets_through_again_when_none_wanted_to_go_for_a_while() -> None:
    world = serving(many(8))
    cut(world)
    world.answer("", Why.ANSWERED)
    assert status_of(world).breaker.tripped_s is not None
    world.wait(61.0)
    world.control.step(world.now_s)
    assert status_of(world).breaker.held == 0
    assert not world.control.breaker.is_tripped
    # what had been held had been DEPREF all the while, so it leaves again when it fails again, within the budget
    world.wait(3600.0)
    assert counted(world) == {N: 8}


def test_an_operator_resets_it_and_as_many_go_again() -> None:
    world = serving(many(8))
    cut(world)
    world.control.breaker.reset()
    world.control.step(world.now_s)
    world.settle()
    assert counted(world) == {W: 6, D: 2}
    assert world.control.breaker.is_tripped


def test_a_limit_that_is_raised_by_a_reload_lets_the_rest_go() -> None:
    world = serving(many(8))
    cut(world)
    world.configure(many(8, BreakerConfig(percent=100)))
    world.settle()
    assert counted(world) == {W: 8}
    assert not world.control.breaker.is_tripped


def test_a_restart_lets_none_of_the_rest_go() -> None:
    world = serving(many(8))
    cut(world)
    clocks = Clocks("boot", world.now_s, 0.0)
    memories = decode(encode(world.control.memories, clocks), clocks)
    speaker = Speaker()
    speaker.observed = replace(world.speaker.observed, in_flight=frozenset())
    again = World(many(8), speaker=speaker, memories=memories, now_s=world.now_s + 300.0)
    cut(again, for_s=600.0)
    assert counted(again) == {W: 3, D: 5}
    assert again.control.breaker.is_tripped
    again.answer("", Why.ANSWERED)
    again.wait(61.0)
    again.control.step(again.now_s)
    assert not again.control.breaker.is_tripped


def test_a_prefix_that_leaves_the_configuration_is_not_waited_for() -> None:
    world = serving(many(8))
    cut(world)
    gone = {prefix: spec for prefix, spec in world.control.config.prefixes.items() if world.control.levels[prefix] is W}
    assert len(gone) == 3
    world.configure(replace(world.control.config, prefixes=gone, eips={}))
    world.settle()
    world.control.step(world.now_s)
    world.now_s += 61.0
    world.control.step(world.now_s)
    assert not world.control.breaker.is_tripped


def test_a_drain_passes_down_to_its_phase() -> None:
    world = serving(many(8))
    cut(world)
    for phase, lowest in ((DrainPhase.GSHUT, Level.GSHUT), (DrainPhase.WITHDRAW, W)):
        world.control.take(Interventions((drain(DrainScope.POP, "", phase),)), world.now_s)
        world.control.step(world.now_s)
        world.settle()
        world.wait(3600.0)
        assert set(world.control.levels.values()) <= {W, lowest}


def test_a_stop_is_not_held() -> None:
    world = serving(many(8))
    cut(world)
    world.control.stop(world.now_s)
    world.settle()
    assert counted(world) == {W: 8}
