"""Orders of operators in the control loop: what the neighbors are sent, where packets go, what a restart does."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from anycastd.model.address import NeighborName, Prefix, RegionName
from anycastd.model.bgp import BgpAction, EndOfRib, Route, SessionState, SessionView, SpeakerState
from anycastd.model.decision import Level, Reason
from anycastd.model.eip import PlacementReason
from anycastd.model.operator import (
    Drain,
    DrainPhase,
    DrainScope,
    Freeze,
    Interventions,
    Override,
    OverrideKind,
    State,
)
from anycastd.model.probe import Why
from anycastd.model.topology import Config
from anycastd.policy.desired import route_for
from anycastd.runtime.followed.drain_progress import refusal_of, seen_of, would_change
from anycastd.runtime.loop.frozen import Frozen
from tests.unit.runtime.world import UP, A, B, Speaker, World, config, eip_of

UP2 = NeighborName("transit-b")
FROZEN = Interventions(freeze=Freeze(owner="ann", reason="maintenance"))


def healthy(its_config: Config | None = None, speaker: Speaker | None = None) -> World:
    world = World(its_config, speaker=speaker)
    world.answer("")
    assert world.control.levels == {A: Level.NORMAL, B: Level.NORMAL}
    return world


def ordered(world: World, orders: Interventions) -> None:
    world.control.take(orders, world.now_s)
    world.control.step(world.now_s)
    world.settle()


def drain(scope: DrainScope, name: str = "", phase: DrainPhase = DrainPhase.DEPREF, *, forced: bool = False) -> Drain:
    return Drain(
        id="drain-1",
        scope=scope,
        name=name,
        owner="ann",
        reason="work on the router",
        began_s=0.0,
        phase=phase,
        phase_since_s=0.0,
        forced=forced,
    )


def of_pop(phase: DrainPhase, *, forced: bool = False) -> Interventions:
    return Interventions((drain(DrainScope.POP, "", phase, forced=forced),))


def said_since(world: World, count: int) -> list[BgpAction]:
    return [action for action in world.speaker.said[count:] if not isinstance(action, EndOfRib)]


def two_neighbors() -> Config:
    base = config()
    other = replace(base.neighbors[UP], name=UP2, address=ip_address("192.0.2.9"))
    specs = {prefix: replace(spec, neighbors=(UP, UP2)) for prefix, spec in base.prefixes.items()}
    return replace(base, neighbors={UP: base.neighbors[UP], UP2: other}, prefixes=specs)


def with_two() -> World:
    speaker = Speaker()
    up = SessionView(SessionState.ESTABLISHED)
    speaker.observed = replace(speaker.observed, routes={UP: {}, UP2: {}}, sessions={UP: up, UP2: up})
    return healthy(two_neighbors(), speaker=speaker)


def at(world: World, name: NeighborName) -> Route | None:
    return (world.speaker.observed.routes or {}).get(name, {}).get(B)


def level(world: World, level_: Level) -> Route | None:
    return route_for(world.control.config.neighbors[UP], world.control.config.prefixes[B], level_)


def test_a_pop_drain_without_force_stays_at_depref_and_says_why_where_the_guard_holds_it() -> None:
    world = healthy()
    for phase in (DrainPhase.DEPREF, DrainPhase.GSHUT, DrainPhase.WITHDRAW):
        ordered(world, of_pop(phase))
        held = world.control.decisions[B]
        assert (held.level, held.reason, held.hold) == (Level.DEPREF, Reason.DRAINING, Reason.STATIC_GUARD)
    # the file lets A leave: last_resort: withdraw
    world.wait(3600.0)
    assert world.control.levels[A] is Level.WITHDRAWN
    assert any("nobody to ask" in step.evidence for step in world.control.decisions[B].trail)


def test_a_forced_pop_drain_goes_through_every_phase_and_returns_by_slow_start() -> None:
    world = healthy()
    ordered(world, of_pop(DrainPhase.DEPREF, forced=True))
    assert world.speaker.holds(B) == level(world, Level.DEPREF)
    ordered(world, of_pop(DrainPhase.GSHUT, forced=True))
    gshut = world.speaker.holds(B)
    assert gshut is not None
    assert "65535:0" in gshut.communities
    world.wait(120.0)
    ordered(world, of_pop(DrainPhase.WITHDRAW, forced=True))
    assert world.speaker.holds(B) is None
    ordered(world, Interventions())
    assert world.control.levels[B] is Level.DEPREF
    assert world.control.decisions[B].hold is Reason.SLOW_START
    world.wait(1200.0)
    assert world.control.levels[B] is Level.NORMAL
    assert world.control.memories[B].relapses == 0, "a drain that was ordered says nothing against the prefix"


def test_a_withdrawal_that_the_budget_does_not_allow_yet_waits_at_gshut() -> None:
    world = healthy()
    for phase in (DrainPhase.DEPREF, DrainPhase.GSHUT, DrainPhase.WITHDRAW):
        ordered(world, of_pop(phase, forced=True))
    assert (world.control.levels[B], world.control.decisions[B].hold) == (Level.GSHUT, Reason.CHANGE_BUDGET)
    world.wait(120.0)
    assert world.control.levels[B] is Level.WITHDRAWN


def test_a_drained_neighbor_alone_is_told_less_and_only_past_another_one() -> None:
    world = with_two()
    ordered(world, Interventions((drain(DrainScope.NEIGHBOR, UP, DrainPhase.WITHDRAW),)))
    assert at(world, UP) is None
    assert at(world, UP2) == level(world, Level.NORMAL)
    assert world.control.levels[B] is Level.NORMAL
    # the other one goes away: the drained one gets the prefix back, at once and depreferenced
    down = {UP: SessionView(SessionState.ESTABLISHED), UP2: SessionView(SessionState.DOWN, world.now_s)}
    world.speaker.observed = replace(world.speaker.observed, sessions=down)
    world.settle()
    assert at(world, UP) == level(world, Level.DEPREF)
    (told,) = world.control.decisions[B].drained
    assert told.hold is Reason.ONLY_NEIGHBOR
    (order,) = world.control.orders.drains
    assert seen_of(world.control, order, world.now_s).set_back


def test_the_only_neighbor_is_held_at_depref_unless_forced() -> None:
    world = healthy()
    ordered(world, Interventions((drain(DrainScope.NEIGHBOR, UP, DrainPhase.WITHDRAW),)))
    assert world.speaker.holds(B) == level(world, Level.DEPREF)
    ordered(world, Interventions((drain(DrainScope.NEIGHBOR, UP, DrainPhase.WITHDRAW, forced=True),)))
    assert world.speaker.holds(B) is None


def test_a_neighbor_whose_sessions_are_not_known_after_a_restart_stays_withdrawn() -> None:
    world = with_two()
    orders = Interventions((drain(DrainScope.NEIGHBOR, UP, DrainPhase.DRAINED),))
    ordered(world, orders)
    said = len(world.speaker.said)
    unknown = {UP: SessionView(SessionState.UNKNOWN), UP2: SessionView(SessionState.UNKNOWN)}
    world.speaker.observed = replace(world.speaker.observed, sessions=unknown)
    world.settle()
    assert said_since(world, said) == []
    assert at(world, UP) is None


def test_a_drained_tunnel_gives_its_packets_away_and_takes_them_back() -> None:
    world = healthy()
    assert world.device_of(A) == "eu-a"
    ordered(world, Interventions((drain(DrainScope.TUNNEL, "eu/a", DrainPhase.DRAINING),)))
    assert world.device_of(A) == "eu-b"
    assert "drained: eu/a" in world.control.forwarder.routes.orders[RegionName("eu"), 4].reason
    assert world.nft.flushed == [], "the drained tunnel works: connections over it go on"
    # a last resort all the same
    world.answer("tunnel/eu/b", Why.TIMEOUT)
    assert world.device_of(A) == "eu-a"


def test_a_drained_backend_or_region_sends_new_connections_elsewhere_and_ends_none() -> None:
    for orders in (
        Interventions((drain(DrainScope.BACKEND, "eu/web-1", DrainPhase.DRAINING),)),
        Interventions((drain(DrainScope.REGION, "eu", DrainPhase.DRAINING),)),
    ):
        world = healthy()
        flushed = len(world.nft.flushed)
        ordered(world, orders)
        assert world.device_of(A) == "us-a"
        view = world.control.forwarder.steering.view(eip_of(A), world.nft.observed)
        assert view is not None
        assert view.placement is not None
        assert view.placement.reason is PlacementReason.DRAINED
        assert world.nft.flushed[flushed:] == []
        assert world.control.levels[A] is Level.NORMAL
        ordered(world, Interventions())
        assert world.device_of(A) == "eu-a"


def test_what_would_leave_a_prefix_without_a_region_is_refused_and_told() -> None:
    world = healthy()
    first = drain(DrainScope.REGION, "eu", DrainPhase.DRAINED)
    ordered(world, Interventions((first,)))
    last = drain(DrainScope.REGION, "us", DrainPhase.DRAINING)
    orders = Interventions((first, last))
    refusal = refusal_of(world.control, orders, last, world.now_s)
    assert refusal is not None
    assert "(drained: eu, us)" in refusal.first.message
    assert any("could be served no more" in words for words in would_change(world.control, orders, world.now_s))
    # forced: what is drained is no use, and is not taken for a fault
    ordered(world, orders)
    decision = world.control.decisions[B]
    assert (decision.level, decision.reason) == (Level.DEPREF, Reason.UNABLE_TO_SERVE)
    assert "(drained: eu, us)" in decision.detail
    assert all(view.health.value == "HEALTHY" for view in world.control.beliefs.view.regions.values())


def test_while_frozen_health_moves_packets_and_no_route() -> None:
    world = healthy()
    ordered(world, FROZEN)
    said = len(world.speaker.said)
    world.answer("", Why.TIMEOUT)
    world.wait(3600.0)
    assert said_since(world, said) == []
    decision = world.control.decisions[A]
    assert (decision.level, decision.wanted, decision.hold) == (Level.NORMAL, Level.WITHDRAWN, Reason.FROZEN)
    assert "it would be" in decision.trail[-1].evidence
    ordered(world, Interventions())
    assert world.control.levels[A] is Level.WITHDRAWN or world.control.levels[A] is Level.DEPREF


def test_an_exabgp_that_dies_while_frozen_is_told_what_it_had() -> None:
    world = healthy()
    had = (world.speaker.holds(A), world.speaker.holds(B))
    ordered(world, FROZEN)
    world.answer("", Why.TIMEOUT)
    for speaker, routes in ((SpeakerState.ABSENT, None), (SpeakerState.READY, {UP: {}})):
        world.speaker.observed = replace(world.speaker.observed, speaker=speaker, routes=routes)
        world.settle()
    assert (world.speaker.holds(A), world.speaker.holds(B)) == had


def test_a_frozen_daemon_that_restarts_sends_nothing_not_even_of_another_configuration() -> None:
    before = healthy()
    speaker = Speaker(observed=replace(before.speaker.observed, eor_owed=frozenset()))
    other = config(prefixes=(A,))
    other = replace(
        other, neighbors={UP: replace(other.neighbors[UP], export=replace(other.neighbors[UP].export, med=7))}
    )
    world = World(other, speaker=speaker, memories=before.control.memories, orders=FROZEN)
    world.answer("")
    world.wait(3600.0)
    assert said_since(world, 0) == []
    assert world.speaker.holds(B) == before.speaker.holds(B)


def test_what_was_lost_with_the_machine_comes_back_though_frozen() -> None:
    before = healthy()
    world = World(memories=before.control.memories, orders=FROZEN)
    world.answer("")
    assert world.speaker.holds(B) is not None
    assert world.control.levels[B] is Level.NORMAL


def test_an_override_sets_the_level_and_withdraws_only_past_the_guard() -> None:
    world = healthy()

    def to(level_: Level, *, forced: bool = False) -> Interventions:
        return Interventions(overrides=(order(OverrideKind.PREFIX, str(B), level=level_, forced=forced),))

    ordered(world, to(Level.DEPREF))
    assert (world.control.levels[B], world.control.decisions[B].reason) == (Level.DEPREF, Reason.OVERRIDDEN)
    assert world.control.levels[A] is Level.NORMAL
    out = to(Level.WITHDRAWN)
    refusal = refusal_of(world.control, out, out.overrides[0], world.now_s)
    assert refusal is not None
    assert refusal.first.status == 409
    ordered(world, out)
    assert world.control.decisions[B].hold is Reason.STATIC_GUARD
    ordered(world, to(Level.WITHDRAWN, forced=True))
    assert world.speaker.holds(B) is None
    # by hand it needs no slow start, and no health
    world.answer("", Why.TIMEOUT)
    world.wait(1800.0)
    ordered(world, to(Level.NORMAL))
    world.wait(900.0)
    assert world.control.levels[B] is Level.NORMAL


def order(
    kind: OverrideKind, name: str, *, level: Level | None = None, state: State | None = None, forced: bool = False
) -> Override:
    return Override(
        id="override-1",
        kind=kind,
        name=name,
        level=level,
        state=state,
        owner="ann",
        reason="",
        forced=forced,
        began_s=0.0,
    )


def test_an_overridden_tunnel_or_backend_is_believed_whatever_its_checks_say() -> None:
    world = healthy()
    ordered(world, Interventions(overrides=(order(OverrideKind.TUNNEL, "eu/a", state=State.DOWN),)))
    assert world.device_of(A) == "eu-b"
    view = next(one for one in world.control.beliefs.view.tunnels.values() if one.id == "eu/a")
    assert (view.health.value, view.reason.value) == ("UNHEALTHY", "overridden")
    ordered(world, Interventions(overrides=(order(OverrideKind.BACKEND, "eu/web-1", state=State.DOWN),)))
    assert world.device_of(A) == "us-a"
    world.answer("tunnel/eu", Why.TIMEOUT)
    ordered(world, Interventions(overrides=(order(OverrideKind.TUNNEL, "eu/b", state=State.UP),)))
    assert world.device_of(A) == "eu-b"


def test_what_is_sent_while_frozen_follows_a_decision_as_if_it_were_made_anew() -> None:
    world = healthy()
    routes = {UP: dict(world.control.announcer.wanted[UP])}
    kept = Frozen({UP: {A: routes[UP][A]}})
    held = kept.routes({UP: {}}, {})
    others: tuple[dict[NeighborName, dict[Prefix, Route]], ...] = ({UP: {B: routes[UP][B]}}, {UP: {}}, {UP: routes[UP]})
    for wanted in others:
        for shut in ({}, {B: frozenset({UP})}, {}):
            kept.follow(held, wanted, shut, (A, B))
            assert held == kept.routes(wanted, shut)


def test_a_drain_of_a_neighbor_decides_again_only_what_something_was_heard_of() -> None:
    world = healthy()
    ordered(world, Interventions((drain(DrainScope.NEIGHBOR, str(UP)),)))
    before = dict(world.control.decisions)
    world.control.on_observed(world.now_s, frozenset())
    assert all(world.control.decisions[prefix] is before[prefix] for prefix in before)
    world.control.on_observed(world.now_s, frozenset({A}))
    assert world.control.decisions[A] is not before[A]
    assert world.control.decisions[B] is before[B]


def test_the_end_of_a_drain_of_the_only_neighbor_is_not_followed_while_frozen() -> None:
    world, freeze = healthy(), FROZEN.freeze
    drains = (drain(DrainScope.NEIGHBOR, str(UP), DrainPhase.WITHDRAW, forced=True),)
    ordered(world, Interventions(drains))
    assert world.speaker.holds(B) is None
    ordered(world, Interventions(drains, freeze=freeze))
    said = len(world.speaker.said)
    ordered(world, Interventions(freeze=freeze))
    world.wait(3600.0)
    assert said_since(world, said) == []
    ordered(world, Interventions())
    assert world.speaker.holds(B) is not None


def test_an_exabgp_that_is_half_told_when_the_freeze_comes_is_told_the_rest() -> None:
    world = with_two()
    full = world.speaker.observed.routes or {}
    world.speaker.observed = replace(world.speaker.observed, routes={UP: dict(full[UP]), UP2: {}})
    ordered(world, FROZEN)
    assert world.speaker.observed.routes == full
