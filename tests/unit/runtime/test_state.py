"""The status: each state a prefix can be in, and the whole made from the control loop."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anycastd.model.address import Family, NeighborName, Prefix, RegionName
from anycastd.model.bgp import BgpObserved, Route, Routes, SessionState, SessionView, SpeakerState
from anycastd.model.decision import Decision, Level, NeighborLevel, PrefixState, Reason
from anycastd.model.probe import Why
from anycastd.model.status import LoopView, Status
from anycastd.runtime.alarms import Alarms, Reported
from anycastd.runtime.journal.follow import Followed
from anycastd.runtime.state import Circumstances, build, state_of
from tests.unit.runtime.world import UP, A, B, World, config

OTHER = NeighborName("transit-b")
ROUTE = Route(A, "192.0.2.2", (64500,))
LONGER = Route(A, "192.0.2.2", (64500,) * 4)
N, D, W = Level.NORMAL, Level.DEPREF, Level.WITHDRAWN
READY, ABSENT, STARTING, SYNCING = SpeakerState.READY, SpeakerState.ABSENT, SpeakerState.STARTING, SpeakerState.SYNCING
UP_, DOWN = SessionState.ESTABLISHED, SessionState.DOWN
DEAD = {UP: DOWN, OTHER: DOWN}
BOTH = {UP: UP_, OTHER: UP_}
HELD = {UP: {A: ROUTE}, OTHER: {A: ROUTE}}

Row = tuple[
    Level,
    Level,
    Reason | None,
    SpeakerState,
    Routes | None,
    dict[NeighborName, SessionState],
    tuple[tuple[NeighborName, Prefix], ...],
    str,
    tuple[str, ...],
]
TABLE: dict[str, Row] = {
    # level, wanted, hold, speaker, routes, sessions, in flight -> state, confirmed
    "serving": (N, N, None, READY, HELD, BOTH, (), "ANNOUNCED", (UP, OTHER)),
    "one neighbor is enough": (N, N, None, READY, HELD, {UP: UP_, OTHER: DOWN}, (), "ANNOUNCED", (UP,)),
    "the other has another": (N, N, None, READY, {UP: {A: LONGER}, OTHER: {A: ROUTE}}, BOTH, (), "ANNOUNCED", (OTHER,)),
    "acknowledged, no session": (N, N, None, READY, HELD, DEAD, (), "FAILED", ()),
    "sessions unheard of": (N, N, None, READY, HELD, {}, (), "FAILED", ()),
    "not there": (N, N, None, READY, {UP: {}, OTHER: {}}, BOTH, (), "FAILED", ()),
    "on its way": (N, N, None, READY, {UP: {}}, BOTH, ((OTHER, A),), "PENDING", ()),
    "another's is on its way": (N, N, None, READY, {UP: {}}, BOTH, ((UP, B),), "FAILED", ()),
    "depreferenced": (D, W, Reason.SETTLING, READY, HELD, BOTH, (), "ANNOUNCED", (UP, OTHER)),
    "exabgp never dumped": (N, N, None, ABSENT, None, {}, (), "PENDING", ()),
    "exabgp starts": (N, N, None, STARTING, {}, {}, (), "PENDING", ()),
    "exabgp synchronises": (N, N, None, SYNCING, {}, {}, (), "PENDING", ()),
    "exabgp is gone": (N, N, None, ABSENT, {}, {}, (), "FAILED", ()),
    "leaving": (W, W, None, READY, {OTHER: {A: ROUTE}}, BOTH, (), "WITHDRAWING", ()),
    "left": (W, W, None, READY, {UP: {}}, BOTH, (), "WITHDRAWN", ()),
    "left, another is there": (W, W, None, READY, {UP: {B: ROUTE}}, BOTH, (), "WITHDRAWN", ()),
    "no verdict yet": (W, W, Reason.FIRST_CHECKS, READY, {}, BOTH, (), "PENDING", ()),
    "kernel not ready": (W, N, Reason.DATA_PLANE_NOT_READY, READY, {}, BOTH, (), "PENDING", ()),
    "not observed": (W, N, Reason.OBSERVATION_MISSING, ABSENT, None, {}, (), "PENDING", ()),
    "unknown, absent stays absent": (W, W, Reason.HEALTH_UNKNOWN, READY, {}, BOTH, (), "WITHDRAWN", ()),
}


@pytest.mark.parametrize("case", TABLE)
def test_state_of_a_prefix(case: str) -> None:
    level, wanted, hold, speaker, routes, sessions, flying, state, confirmed = TABLE[case]
    decision = Decision(A, level, wanted, hold or Reason.SERVING, hold, 0.0, ())
    views = {name: SessionView(session) for name, session in sessions.items()}
    bgp = BgpObserved(speaker=speaker, routes=routes, sessions=views, in_flight=frozenset(flying))
    route = None if level is W else ROUTE
    assert state_of(decision, {UP: route, OTHER: route}, bgp) == (PrefixState(state), confirmed)


def test_the_table_reaches_every_state() -> None:
    assert {PrefixState(row[7]) for row in TABLE.values()} == set(PrefixState)


def status(world: World, *, error: str = "") -> Status:
    about = Circumstances("1.2", 900.0, 950.0, error, LoopView(1.0, 2.0))
    followed = Followed(lambda timer: None)
    return build(world.control, about, followed, Alarms(), Reported(), world.now_s, 1_790_000_000.0)


def test_before_exabgp_was_read_nothing_is_wanted_and_all_is_pending() -> None:
    world = World()
    world.control.adopted = False
    world.speaker.observed = BgpObserved()
    found = status(world)
    assert found.wanted_routes == {}
    assert {view.state for view in found.prefixes.values()} == {PrefixState.PENDING}


def test_a_serving_pop() -> None:
    world = World()
    world.answer("")
    found = status(world, error="line 3: no")
    assert found.config is world.control.config
    assert (found.version, found.started_s, found.config_loaded_s) == ("1.2", 900.0, 950.0)
    assert (found.config_error, found.loop, found.stopping) == ("line 3: no", LoopView(1.0, 2.0), False)
    assert found.unwanted == ()
    assert found.alarms == ()
    assert found.kernel_missing == 0
    assert found.wanted_kernel_routes == found.kernel.routes
    assert found.wanted_kernel_rules == found.kernel.rules
    assert set(found.checks) == {spec.id for spec in config().probes}
    for prefix in (A, B):
        view = found.prefixes[prefix]
        assert view.state is PrefixState.ANNOUNCED
        assert view.confirmed == view.carriers == (UP,)
        assert found.tunnel_orders[RegionName("eu"), 4].best == "eu/a"
        assert view.memory.level is view.decision.level is Level.NORMAL
        assert found.wanted_routes[UP][prefix] == world.speaker.holds(prefix)


def test_a_pop_that_cannot_serve_and_then_leaves() -> None:
    world = World()
    world.answer("")
    world.answer("backend/", Why.REFUSED)
    world.wait(3.0)
    found = status(world)
    assert found.prefixes[A].state is PrefixState.WITHDRAWN
    assert found.prefixes[B].state is PrefixState.ANNOUNCED
    assert found.prefixes[B].decision.hold is Reason.STATIC_GUARD
    world.control.stop(world.now_s)
    found = status(world)
    assert found.stopping
    assert found.prefixes[B].state is PrefixState.WITHDRAWING
    world.settle()
    assert status(world).prefixes[B].state is PrefixState.WITHDRAWN


def test_a_copy_of_the_checks_is_not_changed_by_what_comes_later() -> None:
    world = World()
    world.answer("")
    before = status(world)
    checks = dict(before.checks)
    world.answer("", Why.TIMEOUT)
    assert before.checks == checks


def test_an_end_of_rib_that_is_owed_does_not_make_a_prefix_pending() -> None:
    world = World()
    world.answer("")
    owed = frozenset({(UP, Family.IPV4_UNICAST)})
    world.speaker.observed = replace(world.speaker.observed, eor_owed=owed)
    assert status(world).prefixes[A].state is PrefixState.ANNOUNCED


def test_a_prefix_whose_every_neighbor_is_drained_has_not_failed() -> None:
    drained = (NeighborLevel(UP, W, None),)
    decision = Decision(A, N, N, Reason.SERVING, None, 0.0, (), drained=drained)
    sessions = {UP: SessionView(UP_)}
    told: Routes
    for told, state in (({UP: {A: ROUTE}}, PrefixState.WITHDRAWING), ({UP: {}}, PrefixState.WITHDRAWN)):
        assert state_of(decision, {UP: None}, BgpObserved(READY, told, sessions)) == (state, ())
    # one that is still told less than the others must be there
    assert state_of(decision, {UP: LONGER}, BgpObserved(READY, {UP: {}}, sessions)) == (PrefixState.FAILED, ())
