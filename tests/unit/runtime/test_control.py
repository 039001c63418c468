"""The control loop, from probe results to what the neighbor is sent and the kernel forwards."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from anycastd.model.address import Family, NeighborName, RegionName
from anycastd.model.bgp import EndOfRib, SpeakerState, Withdraw
from anycastd.model.decision import Level, Memory, Reason
from anycastd.model.kernel import KernelObserved, RouteKind
from anycastd.model.nft import NftSet
from anycastd.model.probe import ProbeResult, Why
from anycastd.model.topology import Condition, Scope
from anycastd.policy.desired import route_for
from anycastd.runtime.loop.prefix_facts import routes_wanted
from tests.unit.runtime.world import UP, A, B, Speaker, World, config, eip_of


def healthy_world() -> World:
    world = World()
    world.answer("")
    assert world.control.levels == {A: Level.NORMAL, B: Level.NORMAL}
    return world


def test_nothing_is_announced_before_the_checks_have_risen() -> None:
    world = World()
    world.answer("", times=1)
    assert world.speaker.holds(A) is None
    assert world.control.decisions[A].hold is Reason.FIRST_CHECKS
    world.answer("", times=1)
    route = world.speaker.holds(A)
    assert route is not None
    assert route.as_path == (64500,)


def test_the_blackhole_is_in_the_kernel_before_the_prefix_is_announced() -> None:
    world = World()
    world.kernel.refuses = True
    world.kernel.observed = KernelObserved(routes=frozenset())
    world.answer("")
    assert world.speaker.said == []
    assert world.control.decisions[A].hold is Reason.DATA_PLANE_NOT_READY
    world.kernel.refuses = False
    world.control.step(world.now_s)
    world.settle()
    assert world.speaker.holds(A) is not None
    kinds = {route.kind for route in world.kernel.observed.routes or () if route.prefix == A}
    assert kinds == {RouteKind.BLACKHOLE}


def test_end_of_rib_waits_for_every_first_decision() -> None:
    world = World()
    world.answer("", times=1)
    assert not any(isinstance(action, EndOfRib) for action in world.speaker.said)
    world.answer("", times=1)
    assert world.speaker.said[-1] == EndOfRib(UP, Family.IPV4_UNICAST)
    assert world.speaker.observed.eor_owed == frozenset()


def test_end_of_rib_is_sent_when_the_restart_time_is_nearly_over() -> None:
    world = World()
    world.now_s += 111.0
    world.control.step(world.now_s)
    world.settle()
    assert world.speaker.said == [EndOfRib(UP, Family.IPV4_UNICAST)]


def test_a_dead_tunnel_moves_packets_and_nothing_else() -> None:
    world = healthy_world()
    before = len(world.speaker.said)
    assert world.device_of(A) == "eu-a"
    world.answer("tunnel/eu/a", Why.TIMEOUT)
    assert world.device_of(A) == "eu-b"
    assert len(world.speaker.said) == before


def test_a_dead_backend_moves_packets_to_the_other_region() -> None:
    world = healthy_world()
    before = len(world.speaker.said)
    world.answer("backend/eu/", Why.REFUSED)
    assert world.device_of(B) == "us-a"
    assert len(world.speaker.said) == before


def test_a_pop_that_cannot_serve_depreferences_at_once_and_only_a_may_go() -> None:
    world = healthy_world()
    world.answer("backend/", Why.BAD_STATUS)
    for prefix in (A, B):
        route = world.speaker.holds(prefix)
        assert route is not None
        assert route.as_path == (64500,) * 4
    world.wait(3.0)
    assert world.speaker.holds(A) is None
    assert world.speaker.holds(B) is not None
    assert world.control.decisions[B].hold is Reason.STATIC_GUARD
    stays = world.speaker.holds(B)
    assert stays is not None
    assert "65535:0" not in stays.communities


def test_with_nothing_usable_packets_keep_the_last_path() -> None:
    world = healthy_world()
    world.answer("tunnel/eu", Why.TIMEOUT)
    assert world.device_of(A) == "us-a"
    world.answer("us/a", Why.TIMEOUT)
    assert world.device_of(A) == "us-b"
    world.answer("us/b", Why.TIMEOUT)
    assert world.device_of(A) == "us-b"


def test_return_is_depreferenced_first_and_normal_after_the_hold_down() -> None:
    world = healthy_world()
    world.answer("backend/", Why.REFUSED)
    world.wait(3.0)
    assert world.speaker.holds(A) is None
    world.answer("backend/")
    route = world.speaker.holds(A)
    assert route is not None
    assert route.as_path == (64500,) * 4
    world.wait(290.0)
    assert world.control.levels == {A: Level.DEPREF, B: Level.DEPREF}
    world.wait(20.0)
    assert world.control.levels == {A: Level.DEPREF, B: Level.NORMAL}
    assert world.control.decisions[A].hold is Reason.CHANGE_BUDGET, "a withdrawal costs more than a depreference"
    world.wait(300.0)
    assert world.control.levels == {A: Level.NORMAL, B: Level.NORMAL}


def test_a_lost_command_is_said_again() -> None:
    world = healthy_world()
    world.answer("backend/", Why.REFUSED, times=2)
    world.wait(1.0)
    for id_ in [id_ for id_ in world.probes.specs if "backend/" in id_]:
        world.control.on_result(ProbeResult(id_, Why.REFUSED, world.now_s - 0.01, world.now_s), world.now_s)
    assert world.speaker.queue
    world.speaker.lose()
    world.settle()
    held = world.speaker.holds(B)
    assert held is not None
    assert held.as_path == (64500,) * 4


def test_a_route_nobody_wants_is_withdrawn() -> None:
    world = healthy_world()
    ours = world.speaker.holds(A)
    assert ours is not None
    stray = replace(ours, prefix=A.supernet())
    routes = {UP: {**(world.speaker.observed.routes or {})[UP], stray.prefix: stray}}
    world.speaker.observed = replace(world.speaker.observed, routes=routes)
    assert world.control.announcer.unwanted(routes_wanted(world.control)) == (f"{A.supernet()} to {UP}",)
    world.settle()
    assert world.speaker.holds(A.supernet()) is None


def test_a_restarted_daemon_takes_over_what_exabgp_holds() -> None:
    its_config = config()
    depref = route_for(its_config.neighbors[UP], its_config.prefixes[B], Level.DEPREF)
    normal = route_for(its_config.neighbors[UP], its_config.prefixes[A], Level.NORMAL)
    assert depref is not None
    assert normal is not None
    speaker = Speaker()
    speaker.observed = replace(speaker.observed, routes={UP: {A: normal, B: depref}}, eor_owed=frozenset())
    world = World(its_config, speaker=speaker)
    world.answer("")
    assert world.speaker.said == []
    assert world.control.levels == {A: Level.NORMAL, B: Level.DEPREF}
    world.wait(310.0)
    assert world.control.levels[B] is Level.NORMAL


def test_a_restarted_daemon_leaves_the_packets_on_the_tunnel_they_take() -> None:
    before = healthy_world()
    before.answer("tunnel/eu/a", Why.TIMEOUT)
    assert before.device_of(A) == "eu-b"
    before.kernel.done.clear()
    before.nft.done.clear()
    world = World(
        speaker=before.speaker,
        kernel=before.kernel,
        nft=before.nft,
        memories=before.control.memories,
        now_s=before.now_s,
    )
    assert (world.kernel.done, world.nft.done) == ([], [])
    world.answer("tunnel/eu/a", Why.TIMEOUT, times=2)
    world.answer("eu/b")
    world.answer("backend/eu/web-1/web@b")
    assert world.device_of(A) == "eu-b"
    world.answer("eu/a")
    assert world.device_of(A) == "eu-b", "not before a backend was seen through it"
    world.answer("")
    assert world.device_of(A) == "eu-a"
    assert [(before.tunnels[0], after.tunnels[0]) for before, after in world.notes.reroutes] == [("eu/b", "eu/a")]


def test_the_kernel_is_read_late_and_still_taken_over() -> None:
    before = healthy_world()
    held, before.kernel.observed = before.kernel.observed, KernelObserved()
    world = World(speaker=before.speaker, kernel=before.kernel, nft=before.nft)
    before.kernel.observed = held
    before.kernel.done.clear()
    before.nft.done.clear()
    world.settle()
    assert (world.kernel.done, world.nft.done) == ([], [])
    assert world.control.forwarder.routes.orders[RegionName("eu"), 4].tunnels[0] == "eu/a"


def test_a_reload_that_changes_the_condition_and_the_checks_leaves_the_packets_where_they_are() -> None:
    world = healthy_world()
    slower = config()
    probes = tuple(
        replace(probe, check=replace(probe.check, timing=replace(probe.check.timing, rise=5)))
        for probe in slower.probes
    )
    other = Condition(scope=Scope.TUNNELS)
    specs = {p: replace(spec, announce_when=other) for p, spec in slower.prefixes.items()}
    world.kernel.done.clear()
    world.nft.done.clear()
    world.control.configure(replace(slower, probes=probes, prefixes=specs), world.now_s)
    world.settle()
    assert (world.kernel.done, world.nft.done) == ([], [])
    assert world.control.levels == {A: Level.NORMAL, B: Level.NORMAL}


def test_a_refusal_before_exabgp_is_lost_does_not_wake_the_loop_again_and_again() -> None:
    world = healthy_world()
    world.control.announcer.refused((UP, A), world.now_s)
    world.speaker.observed = replace(world.speaker.observed, speaker=SpeakerState.ABSENT, routes=None)
    world.now_s += 20.0
    world.due.clear()
    world.control.on_observed(world.now_s)
    assert [at_s for at_s in world.due if at_s <= world.now_s] == []
    assert world.control.announcer.next_s() is None, "a time that is past would hide one to come"


def test_a_change_that_the_saved_memory_missed_is_charged() -> None:
    """A daemon killed between a command and the save, or a dead man that spoke: neighbors saw the change (I7)."""
    its_config = config()
    depref = route_for(its_config.neighbors[UP], its_config.prefixes[A], Level.DEPREF)
    assert depref is not None
    speaker = Speaker()
    speaker.observed = replace(speaker.observed, routes={UP: {A: depref}}, eor_owed=frozenset())
    saved = {
        A: Memory(level=Level.NORMAL, was_announced=True),
        B: Memory(level=Level.DEPREF, was_announced=True),
    }
    world = World(its_config, speaker=speaker, memories=saved)
    assert world.control.memories[A].penalty.plain == 500.0
    assert world.control.memories[B].penalty.plain == 1000.0
    assert world.control.levels == {A: Level.DEPREF, B: Level.WITHDRAWN}


def test_what_was_lost_with_exabgp_is_not_charged() -> None:
    saved = {A: Memory(level=Level.NORMAL, was_announced=True)}
    world = World(memories=saved)
    assert world.control.memories[A].penalty.plain == 0.0
    world.answer("")
    assert world.control.levels[A] is Level.NORMAL


def test_a_reload_changes_no_time_of_what_it_does_not_change() -> None:
    world = healthy_world()
    before = world.control.beliefs.view
    world.now_s += 100.0
    world.configure(config(prefixes=(B,)))
    after = world.control.beliefs.view
    assert {v.id: v.since_s for v in after.tunnels.values()} == {v.id: v.since_s for v in before.tunnels.values()}
    assert {v.name: v.since_s for v in after.regions.values()} == {v.name: v.since_s for v in before.regions.values()}


def test_our_own_fault_changes_no_announcement() -> None:
    world = healthy_world()
    before = list(world.speaker.said)
    world.answer("", Why.NO_PERMISSION, times=20)
    world.wait(1000.0)
    assert world.speaker.said == before
    assert world.control.levels == {A: Level.NORMAL, B: Level.NORMAL}


def test_a_stop_withdraws_everything() -> None:
    world = healthy_world()
    world.control.stop(world.now_s)
    assert {action.prefix for action in world.speaker.queue if isinstance(action, Withdraw)} == {A, B}
    world.settle()
    assert world.speaker.holds(A) is None
    assert world.speaker.holds(B) is None
    assert world.device_of(A) == "eu-a"


def test_exabgp_that_was_lost_and_came_back_is_told_everything_again() -> None:
    world = healthy_world()
    world.speaker.observed = replace(world.speaker.observed, speaker=SpeakerState.ABSENT, routes=None)
    world.control.on_observed(world.now_s)
    owed = frozenset({(UP, Family.IPV4_UNICAST)})
    world.speaker.observed = replace(world.speaker.observed, speaker=SpeakerState.READY, routes={UP: {}}, eor_owed=owed)
    world.settle()
    assert world.speaker.holds(A) is not None
    assert world.speaker.said[-1] == EndOfRib(UP, Family.IPV4_UNICAST)
    assert world.control.levels[A] is Level.NORMAL


def test_reload_touches_only_what_changed() -> None:
    world = healthy_world()
    before = len(world.speaker.said)
    world.configure(config(prefixes=(B,)))
    world.settle()
    assert [type(action) for action in world.speaker.said[before:]] == [Withdraw]
    assert world.speaker.holds(B) is not None
    assert world.device_of(A) == "eu-a", "it lingers"
    world.wait(310.0)
    world.control.step(world.now_s)
    assert set(world.nft.elements[NftSet.OWN4]) == {B}
    assert set(world.nft.elements[NftSet.EIP4]) == {eip_of(B)}


def test_a_prefix_lost_with_everything_comes_back_depreferenced_though_the_pop_cannot_serve() -> None:
    saved = {A: Memory(level=Level.NORMAL, was_announced=True), B: Memory(level=Level.DEPREF, was_announced=True)}
    world = World(memories=saved)
    world.answer("tunnel/")
    world.answer("backend/", Why.REFUSED)
    assert world.control.levels == {A: Level.WITHDRAWN, B: Level.DEPREF}
    assert world.control.decisions[B].hold is Reason.STATIC_GUARD
    assert world.speaker.holds(A) is None, "last_resort: withdraw"
    route = world.speaker.holds(B)
    assert route is not None
    assert route.as_path == (64500,) * 4


def test_a_pop_that_never_served_announces_nothing_while_it_cannot() -> None:
    world = World()
    world.answer("tunnel/")
    world.answer("backend/", Why.REFUSED)
    world.wait(1000.0)
    assert world.speaker.holds(B) is None


def test_the_start_after_a_stop_that_was_asked_for_is_a_first_one() -> None:
    world = healthy_world()
    world.control.stop(world.now_s)
    world.settle()
    again = World(memories=world.control.memories, now_s=world.now_s)
    again.answer("")
    assert again.control.levels == {A: Level.NORMAL, B: Level.NORMAL}


def test_a_restart_with_a_file_that_lost_most_prefixes_withdraws_none_of_them() -> None:
    world = healthy_world()
    world.speaker.said.clear()
    again = World(config(prefixes=()), speaker=world.speaker, kernel=world.kernel, nft=world.nft, now_s=world.now_s)
    again.answer("")
    assert world.speaker.said == []
    assert again.control.announcer.spared == {A, B}
    for _ in range(10):
        again.wait(100.0)
        again.control.step(again.now_s)
    assert world.device_of(A) == "eu-a", "what is announced is forwarded"
    assert [r for r in world.kernel.observed.routes or () if r.prefix == B and r.kind is RouteKind.BLACKHOLE]
    again.control.announcer.spared = frozenset()
    again.settle()
    assert world.speaker.holds(A) is None


def test_a_spared_prefix_that_comes_back_into_the_file_is_one_like_any_other() -> None:
    world = healthy_world()
    again = World(config(prefixes=()), speaker=world.speaker, kernel=world.kernel, nft=world.nft, now_s=world.now_s)
    assert again.control.announcer.spared == {A, B}
    again.configure(config(prefixes=(A,)))
    again.answer("")
    assert again.control.announcer.spared == {B}
    assert again.control.levels == {A: Level.NORMAL}
    again.answer("backend/", Why.REFUSED)
    again.wait(3.0)
    assert again.speaker.holds(A) is None, "A may be withdrawn"
    assert again.speaker.holds(B) is not None


def test_a_prefix_removed_and_added_again_still_has_its_penalty() -> None:
    world = healthy_world()
    world.configure(config(prefixes=(B,)))
    world.settle()
    world.configure(config())
    world.settle()
    assert world.control.memories[A].penalty.plain > 900.0
    world.answer("")
    assert world.speaker.holds(A) is not None, "announcing never asks the budget"


def test_a_level_that_one_neighbor_was_not_told_yet_is_still_what_was_decided() -> None:
    """A command was lost just before the daemon died: coming back at the other neighbor's level would be a flap."""
    its_config = config(prefixes=(A,))
    near = its_config.neighbors[UP]
    other = replace(near, name=NeighborName("transit-b"), address=ip_address("192.0.2.5"), asn=64497)
    spec = replace(its_config.prefixes[A], neighbors=(UP, other.name))
    its_config = replace(its_config, neighbors={UP: near, other.name: other}, prefixes={A: spec})
    told, not_told = route_for(near, spec, Level.DEPREF), route_for(other, spec, Level.NORMAL)
    assert told is not None
    assert not_told is not None
    speaker = Speaker()
    up = speaker.observed.sessions[UP]
    speaker.observed = replace(
        speaker.observed,
        routes={UP: {A: told}, other.name: {A: not_told}},
        sessions={UP: up, other.name: up},
        eor_owed=frozenset(),
    )
    world = World(its_config, speaker=speaker, memories={A: Memory(level=Level.DEPREF, was_announced=True)})
    assert world.control.levels == {A: Level.DEPREF}
    assert (world.speaker.observed.routes or {})[other.name][A] == route_for(other, spec, Level.DEPREF)
    assert (world.speaker.observed.routes or {})[UP][A] == told
