"""S14: a return in steps, as long as nothing goes wrong, and never so fast that a router suppresses the prefix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network

import pytest

from anycastd.api.views.prefixes import prefix as prefix_shape
from anycastd.model.bgp import Route
from anycastd.model.decision import Level, Memory, Penalty, Reason, Truth
from anycastd.model.probe import Why
from anycastd.model.topology import LastResort, PrefixSpec, PrefixTimers, WhenDegraded
from anycastd.policy.draft import Facts, Order
from anycastd.policy.engine import decide
from anycastd.runtime.kept.memory_file import Clocks, decode, encode
from anycastd.runtime.state import views
from tests.property.histories import Moment, play_against, restless, spiteful, until
from tests.simulation.router import Router
from tests.unit import status_builder
from tests.unit.runtime.world import B, World, config

PREFIX = ip_network("203.0.113.0/24")
STEPS = PrefixSpec(
    prefix=PREFIX, return_prepends=(2, 1), timers=PrefixTimers(return_step_s=60.0), when_degraded=WhenDegraded.DEPREF
)
LEAVE = replace(STEPS, last_resort=LastResort.WITHDRAW)
NOW_S = 10_000.0
DOWN = Memory(level=Level.DEPREF, level_since_s=NOW_S, was_announced=True, bad_since_s=NOW_S, relapses=1)


def facts(now_s: float, condition: Truth = Truth.TRUE, spec: PrefixSpec = STEPS, **more: object) -> Facts:
    return replace(Facts(now_s=now_s, spec=spec, condition=condition), **more)  # type: ignore[arg-type]


def path_of(moment: Moment) -> int | None:
    """Return the length of the AS path that is sent; None when it is withdrawn."""
    decision = moment.decision
    if decision.level is Level.WITHDRAWN:
        return None
    prepend = STEPS.depref_prepend if decision.prepend is None else decision.prepend
    return 1 if decision.level is Level.NORMAL else 1 + prepend


def returning(to_s: float, spec: PrefixSpec = STEPS, memory: Memory = DOWN) -> list[Moment]:
    """Return every decision of a return in which nothing goes wrong."""
    return until(NOW_S + to_s, facts(NOW_S, spec=spec), memory)


def test_the_way_back_is_three_steps_each_with_its_time_and_reason() -> None:
    moments = returning(1000.0)
    seen = [(round(m.facts.now_s - NOW_S), path_of(m), m.decision.hold) for m in moments]
    assert seen == [
        (0, 4, Reason.SLOW_START), (300, 3, Reason.SLOW_START), (360, 2, Reason.SLOW_START), (420, 1, None),
    ]  # fmt: skip
    assert [m.after.epoch for m in moments] == [0, 0, 0, 0], "a step is no new entry into DEPREF"
    # each step paid for
    assert moments[1].after.penalty.plain == 500.0
    assert moments[-1].after.penalty.plain == pytest.approx(
        1500 - 500 * (2 - 2 ** (-120 / 900) - 2 ** (-60 / 900)), abs=1
    )


def test_without_steps_nothing_is_different() -> None:
    moments = returning(1000.0, replace(STEPS, return_prepends=()))
    assert [path_of(m) for m in moments] == [4, 1]
    assert all(m.decision.prepend is None and m.after.return_step == 0 for m in moments)


@pytest.mark.parametrize(
    ("worse", "path"),
    [
        ({"condition": Truth.FALSE}, 4),
        ({"well": Truth.FALSE}, 4),
        ({"drain": Order(Level.DEPREF, False, "work")}, 4),
        ({"override": Order(Level.DEPREF, False, "by hand")}, 4),
        ({"override": Order(Level.NORMAL, False, "by hand")}, 1),
        ({"condition": Truth.UNKNOWN}, 3),
        ({"frozen": "maintenance"}, 3),
        ({"frozen": "maintenance", "condition": Truth.FALSE}, 3),
        ({"bgp_observed": False}, 3),
        ({"bgp_observed": False, "condition": Truth.FALSE}, 3),
    ],
)
def test_a_regress_ends_it_at_once_and_what_is_unknown_keeps_the_step(worse: dict[str, object], path: int) -> None:
    on_the_way = returning(330.0)[-1].after
    assert on_the_way.return_step == 1
    now = replace(facts(NOW_S + 340.0), **worse)  # type: ignore[arg-type]
    decision, after = decide(now, on_the_way)
    assert path_of(Moment(now, on_the_way, decision, after)) == path
    assert after.return_step == (1 if path == 3 else 0)
    if path == 4:
        # the slow start begins anew, from the whole prepend
        fine = facts(NOW_S + 350.0)
        assert path_of(Moment(fine, after, *decide(fine, after))) == 4
        assert after.penalty.plain == pytest.approx(500 * 2 ** (-40 / 900) + 500, abs=1)


def test_a_step_waits_for_the_budget() -> None:
    spent = replace(DOWN, penalty=Penalty(1400.0, 1400.0, NOW_S + 300.0))
    moments = until(
        NOW_S + 5000.0, facts(NOW_S + 300.0), replace(spent, level_since_s=NOW_S - 300.0, fine_since_s=NOW_S - 300.0)
    )
    assert moments[0].decision.hold is Reason.CHANGE_BUDGET
    assert path_of(moments[0]) == 4
    assert [path_of(m) for m in moments if m.decision.hold is not Reason.CHANGE_BUDGET] == [3, 2, 1]


def test_a_file_with_fewer_steps_goes_on_from_what_is_left() -> None:
    on_the_way = returning(370.0)[-1].after
    assert on_the_way.return_step == 2
    now = facts(NOW_S + 380.0, spec=replace(STEPS, return_prepends=(1,)))
    decision, after = decide(now, on_the_way)
    assert (after.return_step, decision.prepend) in ((1, 1), (0, None))
    assert decision.level in (Level.DEPREF, Level.NORMAL)


def test_a_step_outlives_the_daemon() -> None:
    on_the_way = returning(330.0)[-1].after
    clocks = Clocks("boot", NOW_S + 330.0, 0.0)
    (again,) = decode(encode({PREFIX: on_the_way}, clocks), clocks).values()
    assert again == on_the_way


def heard(moments: list[Moment]) -> Router:
    """Return a router with default damping that was told everything."""
    router, last = Router(), -1
    for moment in moments:
        length = path_of(moment)
        if length != last:
            route = None if length is None else Route(PREFIX, "192.0.2.2", (64500,) * length)
            router.update(moment.facts.now_s, PREFIX, route)
            last = length if length is not None else -1
    return router


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec", [STEPS, LEAVE, replace(LEAVE, timers=PrefixTimers(return_step_s=1.0, return_after_s=1.0))]
)
@pytest.mark.parametrize(
    "make",
    [
        lambda: spiteful(3.0, 0.5, 7.0),
        lambda: spiteful(400.0, 1.0, 30.0),
        lambda: restless(9.0),
        lambda: at_step(1),
        lambda: at_step(2),
    ],
)
def test_no_router_with_default_damping_suppresses_it_however_it_fails(
    spec: PrefixSpec, make: Callable[[], object]
) -> None:
    moments = play_against(spec, make(), 14_400.0)  # type: ignore[arg-type]
    router = heard(moments)
    assert router.suppressed == []
    assert len({path_of(moment) for moment in moments}) > 1


def at_step(step: int) -> Callable[[Memory], tuple[float, Truth]]:
    """Fail for a moment whenever the return has come to a step."""

    def adversary(memory: Memory) -> tuple[float, Truth]:
        if memory.return_step == step:
            return 1.0, Truth.FALSE
        return (2.0, Truth.TRUE) if memory.level is not Level.NORMAL else (5.0, Truth.FALSE)

    return adversary


def test_the_neighbors_are_sent_each_step_and_status_shows_it() -> None:
    base = config()
    specs = {p: replace(spec, return_prepends=(1,)) for p, spec in base.prefixes.items()}
    world = World(replace(base, prefixes=specs))
    world.answer("")
    world.answer("", Why.TIMEOUT)
    seen: list[int] = []
    world.answer("", times=2)
    for _ in range(70):
        route = world.speaker.holds(B)
        assert route is not None
        if not seen or seen[-1] != len(route.as_path):
            seen.append(len(route.as_path))
        if len(route.as_path) == 2:
            view = next(one for one in views(world.control) if one.prefix == B)
            status = replace(status_builder.serving(), config=world.control.config)
            assert prefix_shape(status, view)["preference"] == "DEPREF 1"
        world.wait(10.0)
    assert seen == [4, 2, 1]
