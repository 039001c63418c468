"""Beacons from POP to POP: honest claims, echoes, who is counted; and what is said when to whom."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from itertools import pairwise

import pytest

from anycastd.fleet.codec import read
from anycastd.fleet.own import MAX_COUNTER
from anycastd.model.bgp import NO_EXPORT, Announce, Heard, Priority, SessionState, SessionView, SpeakerState, Withdraw
from anycastd.model.decision import Level, Reason
from anycastd.model.fleet import Claim, NotCounted, Part
from anycastd.model.fleet_view import Guard
from anycastd.model.operator import Interventions
from anycastd.model.probe import ProbeResult, Why
from anycastd.model.status import Alarm
from anycastd.runtime.fleet.calls import BeaconCalls
from anycastd.runtime.fleet.link import LOWER_GAP_S, FleetLink
from anycastd.runtime.fleet.trust import refusal
from anycastd.runtime.loop.ports import NoFleet
from tests.unit.runtime.fleet_world import NETWORK, POPS, RR, FleetOfPops, Pop, config, line
from tests.unit.runtime.world import UP, A, B, World
from tests.unit.runtime.world import config as plain


def said(pop: Pop) -> Part:
    """Return the head of the beacon that the observer has of a POP."""
    (prefix,) = pop.beacon
    return read(pop.link.spec, prefix, pop.beacon[prefix].large_communities)


def claims(pop: Pop) -> set[Claim]:
    return {one.claim for one in said(pop).said.values()}


@pytest.fixture
def fleet() -> FleetOfPops:
    """Three POPs that announce everything normally and have heard each other."""
    three = FleetOfPops("fra", "sin", "iad")
    three.serve()
    assert all(pop.level(A) is Level.NORMAL for pop in three.pops.values())
    return three


def test_each_pop_is_heard_by_the_others(fleet: FleetOfPops) -> None:
    for name, pop in fleet.pops.items():
        view = pop.link.report()
        assert view.guard is Guard.ECHO
        assert {one.name: one.why for one in view.pops} == dict.fromkeys(POPS.keys() - {name})
        assert {one.by for one in view.pops} == {(RR,)}
        assert view.others[A].normal == tuple(sorted(POPS.keys() - {name}, key=lambda other: POPS[other].number))
        assert not list(pop.link.alarms())


def test_a_beacon_goes_to_observers_only_and_prefixes_to_upstreams_only(fleet: FleetOfPops) -> None:
    for pop in fleet.pops.values():
        for action in pop.world.speaker.said:
            if isinstance(action, Announce):
                is_beacon = action.route.prefix.network_address in NETWORK
                assert (action.neighbor == RR) is is_beacon
                assert (NO_EXPORT in action.route.communities) is is_beacon
        (prefix,) = pop.beacon
        assert prefix.network_address == NETWORK[POPS[pop.name].number]


def test_a_lower_claim_is_said_before_the_update_and_normal_only_when_it_is_acknowledged() -> None:
    fleet = FleetOfPops("fra", "sin")
    fleet.serve()
    fra = fleet["fra"].world
    fra.speaker.said.clear()
    fleet.answer("fra", "tunnel/", Why.TIMEOUT)
    spoken = [action for action in fra.speaker.said if isinstance(action, Announce)]
    assert [action.neighbor for action in spoken[:3]] == [RR, UP, UP]
    assert {action.priority for action in spoken[:3]} == {Priority.FAILOVER}
    assert claims(fleet["fra"]) == {Claim.DEPREF}


def test_normal_is_claimed_after_the_acknowledgement() -> None:
    fra = Pop(config("fra"), 7)
    world = fra.world
    for id_ in list(world.probes.specs):
        for _ in range(2):
            world.control.on_result(ProbeResult(id_, Why.ANSWERED, world.now_s - 0.01, world.now_s), world.now_s)
    # decided and said, nothing acknowledged yet
    assert fra.level(A) is Level.NORMAL
    world.speaker.ack()
    before = fra.link.seq, [claim for claim in fra.link.claims.values() if claim is not Claim.GONE]
    world.control.on_observed(world.now_s, frozenset({A, B}))
    fra.wait(1.0)
    assert before[1] == []
    assert fra.link.seq > before[0]
    assert claims(fra) == {Claim.NORMAL}


def test_a_single_sick_pop_is_out_within_settle_and_half_a_second(fleet: FleetOfPops) -> None:
    fleet.answer("fra", "tunnel/", Why.TIMEOUT)
    assert fleet["fra"].level(A) is Level.DEPREF
    fleet.wait(1.9)
    assert fleet["fra"].level(A) is Level.DEPREF, "settle is 2 s"
    assert set(fleet["fra"].link.report().others[A].counted) == {"sin", "iad"}
    fleet.wait(0.6)
    assert fleet["fra"].level(A) is Level.WITHDRAWN
    assert claims(fleet["fra"]) == {Claim.GONE}
    assert fleet["sin"].level(A) is Level.NORMAL


def test_all_sick_at_once_stay(fleet: FleetOfPops) -> None:
    for name in fleet.pops:
        fleet.answer(name, "tunnel/", Why.TIMEOUT)
    fleet.wait(20.0)
    assert {pop.level(A) for pop in fleet.pops.values()} == {Level.DEPREF}
    assert {pop.hold(A) for pop in fleet.pops.values()} == {Reason.NOT_ENOUGH_ANNOUNCERS}


def test_a_pop_whose_beacon_stands_still_is_not_counted(fleet: FleetOfPops) -> None:
    fleet.cut.add("sin")
    fleet.cut.add("iad")
    fleet.wait(10.0)
    fleet.answer("fra", "tunnel/", Why.TIMEOUT)
    fleet.wait(5.0)
    assert fleet["fra"].level(A) is Level.DEPREF
    view = fleet["fra"].link.report()
    assert {one.why for one in view.pops} == {NotCounted.STALE}
    fleet.cut.clear()
    fleet.wait(4.0)
    assert fleet["fra"].level(A) is Level.WITHDRAWN


def test_without_an_observer_session_nobody_is_seen_and_what_is_gone_comes_back(fleet: FleetOfPops) -> None:
    fra = fleet["fra"]
    fleet.answer("fra", "tunnel/", Why.TIMEOUT)
    fleet.wait(3.0)
    assert fra.level(A) is Level.WITHDRAWN
    down(fra)
    fleet.cut.add("fra")
    assert fra.link.report().guard is Guard.BLIND
    assert [alarm for alarm, _, _ in fra.link.alarms()] == [Alarm.OBSERVERS_BLIND]
    fleet.wait(9.0)
    assert fra.level(A) is Level.WITHDRAWN, "blind is 10 s"
    fleet.wait(2.0)
    assert fra.level(A) is Level.DEPREF


def down(pop: Pop) -> None:
    """Take the session with the observer down, as ExaBGP tells it."""
    speaker = pop.world.speaker
    sessions = {**speaker.observed.sessions, RR: SessionView(SessionState.DOWN, pop.world.now_s, "hold timer")}
    speaker.observed = replace(speaker.observed, sessions=sessions)
    pop.link.session(RR, SessionState.DOWN)
    pop.world.settle()


def test_the_last_upstream_going_down_is_gone_at_once(fleet: FleetOfPops) -> None:
    fra = fleet["fra"]
    fleet.wait(0.2)
    of_upstream(fra, SessionState.DOWN)
    assert claims(fra) == {Claim.GONE}
    assert said(fra).upstreams == 0


def test_an_exabgp_that_is_lost_takes_what_was_heard_with_it(fleet: FleetOfPops) -> None:
    fra = fleet["fra"]
    lost = SessionView(SessionState.DOWN, fra.world.now_s, "ExaBGP has gone")
    observed = replace(
        fra.world.speaker.observed, speaker=SpeakerState.ABSENT, routes=None, sessions={UP: lost, RR: lost}
    )
    fra.world.speaker.observed = observed
    fra.world.settle()
    assert fra.link.report().guard is Guard.BLIND


def test_a_call_on_standbys_is_said_at_once_and_taken_back_at_once(fleet: FleetOfPops) -> None:
    fra, calls = fleet["fra"], {name: BeaconCalls(pop.link) for name, pop in fleet.pops.items()}
    fleet.wait(3.0)
    assert [calls["sin"].callers(prefix) for prefix in (A, B)] == [(), ()]
    calls["fra"].call(frozenset({A}))
    fleet.wait(0.3)
    assert [calls["sin"].callers(prefix) for prefix in (A, B)] == [("fra",), ()]
    seq = fra.link.seq
    calls["fra"].call(frozenset({A}))
    assert fra.link.seq == seq, "nothing new is nothing to say"
    fleet.wait(7.0)
    assert calls["iad"].callers(A) == ("fra",), "heartbeats go on saying it"
    calls["fra"].call(frozenset())
    fleet.wait(0.3)
    assert calls["sin"].callers(A) == ()
    assert claims(fra) == {Claim.NORMAL}


def test_a_heartbeat_says_the_next_number_and_nothing_else(fleet: FleetOfPops) -> None:
    fra = fleet["fra"]
    fleet.wait(3.0)
    fra.world.speaker.said.clear()
    before, decisions = said(fra), len(fra.world.notes.decisions)
    fleet.wait(9.0)
    after = said(fra)
    assert replace(after, seq=before.seq) == before
    assert after.seq == before.seq + 3
    assert len(fra.world.speaker.said) == 3
    assert len(fra.world.notes.decisions) == decisions, "nothing is decided anew, logged or kept for a heartbeat"


def test_beacons_keep_their_distance_however_often_something_changes(fleet: FleetOfPops) -> None:
    fra = fleet["fra"]
    fleet.wait(3.0)
    said_s = []
    for number in range(100):
        state = SessionState.DOWN if number % 2 else SessionState.ESTABLISHED
        of_upstream(fra, state)
        before = fra.link.seq
        fra.wait(0.02)
        said_s += [fra.world.now_s] * (fra.link.seq - before)
    gaps_s = [later - earlier for earlier, later in pairwise(said_s)]
    assert len(said_s) > 10
    assert min(gaps_s) >= LOWER_GAP_S - 1e-6


def of_upstream(pop: Pop, state: SessionState) -> None:
    """Let the session with the upstream be in a state."""
    speaker = pop.world.speaker
    sessions = {**speaker.observed.sessions, UP: SessionView(state, pop.world.now_s)}
    speaker.observed = replace(speaker.observed, sessions=sessions)
    pop.world.settle()


def test_a_beacon_of_a_foreign_as_or_of_another_router_is_refused_and_alarmed(fleet: FleetOfPops) -> None:
    fra, sin = fleet["fra"], fleet["sin"]
    ((prefix, route),) = sin.beacon.items()
    path = {"as-path": {"0": {"element": "as-sequence", "value": [64666]}}}
    for more in (path, {"originator-id": "192.0.2.66"}, {}):
        fra.link.hear(line(prefix, route, **more))
        assert [(alarm, subject) for alarm, subject, _ in fra.link.alarms()] == [(Alarm.BEACON_REFUSED, "sin")]
        assert {one.name: one.why for one in fra.link.report().pops}["sin"] is NotCounted.UNREADABLE
        fleet.wait(3.0)
        assert not list(fra.link.alarms()), "its next true beacon is heard"
    fleet.answer("fra", "tunnel/", Why.TIMEOUT)
    fleet.wait(0.5)
    assert "sin" in fra.link.report().others[A].counted


def test_a_stripped_or_changed_beacon_is_not_counted_and_alarmed(fleet: FleetOfPops) -> None:
    fra, sin = fleet["fra"], fleet["sin"]
    ((prefix, route),) = sin.beacon.items()
    for communities in ((), route.large_communities[1:], (*route.large_communities, "64500:1:2")):
        stripped = replace(route, large_communities=communities)
        fra.link.hear(line(prefix, stripped, **{"originator-id": str(POPS["sin"].router_id)}))
        assert [(alarm, subject) for alarm, subject, _ in fra.link.alarms()] == [(Alarm.BEACON_UNREADABLE, "sin")]


def test_a_replayed_beacon_changes_nothing(fleet: FleetOfPops) -> None:
    fra, sin = fleet["fra"], fleet["sin"]
    ((prefix, old),) = sin.beacon.items()
    fleet.answer("sin", "tunnel/", Why.TIMEOUT)
    fleet.wait(0.3)
    fleet.answer("fra", "tunnel/", Why.TIMEOUT)
    fleet.wait(0.3)
    fra.link.hear(line(prefix, old, **{"originator-id": str(POPS["sin"].router_id)}))
    assert "sin" not in fra.link.report().others[A].counted


def test_another_pop_with_our_number_is_alarmed_and_nobody_is_counted(fleet: FleetOfPops) -> None:
    fra, twin = fleet["fra"], Pop(config("fra"), 5000)
    twin.serve()
    ((prefix, route),) = twin.beacon.items()
    fra.link.hear(line(prefix, route, **{"originator-id": str(POPS["fra"].router_id)}))
    assert Alarm.OWN_NUMBER_TAKEN in {alarm for alarm, _, _ in fra.link.alarms()}
    fleet.answer("fra", "tunnel/", Why.TIMEOUT)
    fleet.wait(4.0)
    assert fra.level(A) is Level.DEPREF
    assert {one.why for one in fra.link.report().others[A].uncounted} == {NotCounted.DUPLICATE}


def test_two_other_pops_with_one_number_are_alarmed_and_not_counted(fleet: FleetOfPops) -> None:
    fra, twin = fleet["fra"], Pop(config("sin"), 500)
    twin.serve()
    for _ in range(6):
        twin.wait(3.0)
        ((prefix, route),) = twin.beacon.items()
        fra.link.hear(line(prefix, route, **{"originator-id": str(POPS["sin"].router_id)}))
        fleet.wait(3.0)
    assert (Alarm.POP_TWICE, "sin") in {(alarm, subject) for alarm, subject, _ in fra.link.alarms()}
    fleet.answer("fra", "tunnel/", Why.TIMEOUT)
    fleet.wait(0.5)
    assert fra.link.report().others[A].counted == ("iad",)


def test_frozen_announcements_do_not_stop_the_beacon(fleet: FleetOfPops) -> None:
    fra = fleet["fra"]
    fra.world.control.take(Interventions(unread="a test"), fra.world.now_s)
    before = said(fra).seq
    fleet.wait(6.0)
    assert said(fra).seq >= before + 2


def test_a_pop_removed_from_the_file_is_heard_no_more(fleet: FleetOfPops) -> None:
    fra = fleet["fra"]
    old = fra.world.control.config
    assert old.fleet is not None
    two = {name: pop for name, pop in old.fleet.pops.items() if name != "iad"}
    new = replace(old, fleet=replace(old.fleet, pops=two))
    fra.link.configure(new)
    fra.world.configure(new)
    fleet.wait(4.0)
    assert [one.name for one in fra.link.report().pops] == ["sin"]
    assert [(alarm, subject) for alarm, subject, _ in fra.link.alarms()] == [(Alarm.UNKNOWN_POP, "3")]


def test_a_fleet_that_is_taken_out_of_the_file_withdraws_the_beacon(fleet: FleetOfPops) -> None:
    fra = fleet["fra"]
    old = fra.world.control.config
    new = replace(old, fleet=None, neighbors={name: one for name, one in old.neighbors.items() if name != RR})
    fra.link.configure(new)
    fra.world.configure(new)
    fra.world.settle()
    assert fra.link.others(A) is None
    assert fra.link.report().guard is Guard.STATIC
    assert [action for action in fra.world.speaker.said if isinstance(action, Withdraw) and action.neighbor == UP] == []


def test_without_a_fleet_everything_is_as_before() -> None:
    world = World()
    assert isinstance(world.control.announcer.fleet, NoFleet)
    due: list[float] = []
    link = FleetLink(plain(), _never, clock=lambda: world.now_s, stir=lambda: None, wake=due.append)
    link.begin(world.control)
    world.answer("")
    assert {action.neighbor for action in world.speaker.said} == {UP}
    world.answer("tunnel/", Why.TIMEOUT, times=6)
    assert world.control.decisions[B].hold is Reason.STATIC_GUARD
    assert (link.report().guard, list(link.alarms()), due) == (Guard.STATIC, [], [])


def _never() -> int:
    raise AssertionError


def test_a_fleet_that_comes_by_a_reload_is_told_under_the_number_of_this_start() -> None:
    pop = Pop(plain(), 77)
    assert pop.link.own.boot == 0
    new = config("fra")
    pop.link.configure(new)
    pop.world.configure(new)
    pop.link.session(RR, SessionState.ESTABLISHED)
    pop.serve()
    assert said(pop).boot == 77
    assert claims(pop) == {Claim.NORMAL}


@pytest.mark.parametrize(
    ("path", "originator", "wrong"),
    [
        ((64500,), "", ""),
        ((64510, 64500), "", ""),
        ((64500, 64500), "", ""),
        ((64666,), "", "AS 64666"),
        ((64510, 64666, 64500), "", "AS 64666"),
        ((64500, 0), "", "AS 0"),
    ],
)
def test_a_route_server_may_put_itself_into_the_path_and_nobody_else(
    path: tuple[int, ...], originator: str, wrong: str
) -> None:
    mine = config("fra")
    server = replace(mine, neighbors={**mine.neighbors, RR: replace(mine.neighbors[RR], asn=64510)})
    assert mine.fleet is not None
    heard = Heard(RR, ip_network("10.255.255.2/32"), ("64500:1:2",), path, originator)
    found = refusal(server, mine.fleet, heard)
    assert bool(found) is bool(wrong)
    assert wrong in found


def test_of_one_failure_domain_one_counts(fleet: FleetOfPops) -> None:
    fra = fleet["fra"]
    old = fra.world.control.config
    assert old.fleet is not None
    pops = {n: replace(p, failure_domain="" if n == "fra" else "asia") for n, p in old.fleet.pops.items()}
    two = {p: replace(spec, min_announcers=2) for p, spec in old.prefixes.items()}
    new = replace(old, fleet=replace(old.fleet, pops=pops), prefixes=two)
    fra.link.configure(new)
    fra.world.configure(new)
    fleet.answer("fra", "tunnel/", Why.TIMEOUT)
    fleet.wait(4.0)
    found = fra.link.report().others[A]
    assert len(found.counted) == 1
    assert [one.why for one in found.uncounted] == [NotCounted.SAME_DOMAIN]
    assert fra.level(A) is Level.DEPREF
    apart = replace(old, prefixes=two)
    fra.link.configure(apart)
    fra.world.configure(apart)
    fleet.wait(4.0)
    assert fra.level(A) is Level.WITHDRAWN


MANY = [ip_network((0xCB000000 + n * 256, 24)) for n in range(300)]


def test_many_prefixes_ride_in_parts_and_a_heartbeat_says_the_head_alone() -> None:
    big = config("fra", prefixes=MANY)
    assert big.fleet is not None
    fra = Pop(replace(big, fleet=replace(big.fleet, beacon_networks=(ip_network("10.255.0.0/20"),))), 7)
    fra.serve()
    assert {fra.level(prefix) for prefix in MANY} == {Level.NORMAL}
    parts = [read(fra.link.spec, prefix, route.large_communities) for prefix, route in fra.beacon.items()]
    assert sorted(part.number for part in parts) == list(range(3))
    assert {one.claim for part in parts for one in part.said.values()} == {Claim.NORMAL}
    assert sum(len(part.said) for part in parts) == len(MANY)
    assert max(len(route.large_communities) for route in fra.beacon.values()) < 200
    fra.world.speaker.said.clear()
    for _ in range(4):
        fra.wait(1.0)
    said_again = [one.route.prefix for one in fra.world.speaker.said if isinstance(one, Announce)]
    assert said_again == [ip_network("10.255.0.1/32")]


def test_the_head_is_said_after_the_parts_that_it_speaks_of() -> None:
    big = config("fra", prefixes=MANY)
    assert big.fleet is not None
    fra = Pop(replace(big, fleet=replace(big.fleet, beacon_networks=(ip_network("10.255.0.0/20"),))), 7)
    fra.serve()
    fra.world.speaker.said.clear()
    of_upstream(fra, SessionState.DOWN)
    for _ in range(10):
        fra.wait(0.1)
    beacons = [one.route.prefix for one in fra.world.speaker.said if isinstance(one, Announce) and one.neighbor == RR]
    assert beacons[-1] == ip_network("10.255.0.1/32")
    assert len(beacons) >= 3


def test_epochs_that_begin_anew_are_of_a_number_that_is_kept(fleet: FleetOfPops) -> None:
    fra, kept = fleet["fra"], list[int]()
    fra.link.on_boot = kept.append
    boot = fra.link.own.boot
    fra.link.own = replace(fra.link.own, counter=MAX_COUNTER)
    fleet.answer("fra", "tunnel/", Why.TIMEOUT)
    assert kept == [boot + 1]
    assert (fra.link.own.boot, said(fra).boot) == (boot + 1, boot + 1)
    fleet.wait(4.0)
    assert fra.level(A) is Level.WITHDRAWN, "the others echo the new number"


def test_an_observer_that_came_up_before_the_reload_was_done_is_heard(fleet: FleetOfPops) -> None:
    fra, whole = fleet["fra"], config("fra")
    fra.link.configure(replace(whole, neighbors={name: one for name, one in whole.neighbors.items() if name != RR}))
    assert not fra.link.is_on
    fra.link.session(RR, SessionState.ESTABLISHED)
    assert not fra.link.seen.channels, "it is not known yet"
    fra.link.configure(whole)
    assert set(fra.link.seen.channels) == {f"{RR} ipv4"}
    fleet.wait(4.0)
    assert {one.why for one in fra.link.report().pops} == {None}


def test_a_reload_takes_away_a_prefix_that_what_others_said_was_about_to_be_decided(fleet: FleetOfPops) -> None:
    fra = fleet["fra"]
    fleet.answer("fra", "", Why.TIMEOUT)
    assert fra.level(A) is not Level.NORMAL
    fra.link.session(RR, SessionState.ESTABLISHED)
    less = config("fra", prefixes=(B,))
    fra.link.configure(less)
    fra.world.control.configure(less, fra.world.now_s)
    fra.wait(1.0)
    assert set(fra.world.control.decisions) == {B}
    assert fra.world.control.config is less
