"""Flow rules in ExaBGP's words and back: what is said, what it prints, how both are told to be the same."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network

import pytest

from anycastd.actuators.exabgp import dead_man, dump, wording
from anycastd.actuators.exabgp.events import Acked
from anycastd.actuators.exabgp.holdings import Holdings
from anycastd.actuators.exabgp.lines import Dumped, command
from anycastd.actuators.exabgp.queue import ActionQueue, key_of
from anycastd.actuators.exabgp.repair import Repairs
from anycastd.actuators.exabgp.sessions import Sessions
from anycastd.errors import ActuatorRejected
from anycastd.model.address import Family, FlowFamily, NeighborName
from anycastd.model.bgp import (
    Announce,
    AnnounceFlow,
    BgpObserved,
    DeadManStage,
    EndOfRib,
    FilterRoutes,
    FlowRoute,
    Route,
    SessionState,
    Withdraw,
    WithdrawFlow,
)
from anycastd.model.flow import FlowMatch, key_of_tag, tag_of
from anycastd.model.neighbor import Neighbor
from anycastd.reconcile.filters import diff_filters, ends_of_flows

N = NeighborName("a")
PEER = ip_address("192.0.2.1")
FOUR = FlowMatch(
    destination=ip_network("203.0.113.10"),
    source=ip_network("10.0.0.0/8"),
    protocols=(6,),
    destination_ports=((53, 53), (1000, 2000)),
    lengths=((0, 100),),
    tcp_set=2,
    tcp_unset=16,
)
SIX = FlowMatch(destination=ip_network("2001:db8::9"), protocols=(17,), source_ports=((53, 53),))


def flow(match: FlowMatch = FOUR, rate: int = 0) -> FlowRoute:
    tag = tag_of(64500, match, rate)
    return FlowRoute(key_of_tag(tag), match.destination, match, rate, tag)


def printed(rules: dict[str, list[str]], tag: str = "", rate: str = "0", afi: str = "ipv4") -> str:
    """Return a line as ExaBGP 5.0.15 prints it (`show adj-rib out json`, format v2)."""
    attributes: dict[str, list[str]] = {"extended-community": [f"rate-limit:{rate}"]}
    if tag:
        attributes["large-community"] = [tag]
    nlri = {"rules": rules, "nexthop": None, "rd": None, "family": {"afi": afi, "safi": "flow"}}
    return json.dumps({"peer": {"address": str(PEER)}, "route": {"nlri": nlri, "attributes": attributes}})


NAMED = {
    "destination-ipv4": ["203.0.113.10/32"],
    "source-ipv4": ["10.0.0.0/8"],
    "protocol": ["=tcp"],
    "destination-port": ["=domain", ">=cadlock2&<=callbook"],
    "tcp-flags": ["=syn&!ack"],
    "packet-length": [">=0&<=100"],
}


def test_a_rule_is_said_with_every_field_by_number() -> None:
    assert wording.announce_flow(PEER, flow(rate=12_500)) == (
        "neighbor 192.0.2.1 announce flow route destination 203.0.113.10/32 source 10.0.0.0/8 protocol [ =6 ] "
        "destination-port [ =53 >=1000&<=2000 ] packet-length [ >=0&<=100 ] tcp-flags [ =0x2&!0x10 ] "
        f"rate-limit 12500 large-community [ {flow(rate=12_500).tag} ]"
    )
    assert wording.withdraw_flow(PEER, flow(SIX)) == (
        "neighbor 192.0.2.1 withdraw flow route destination 2001:db8::9/128 next-header [ =17 ] source-port [ =53 ]"
    )
    assert " discard large-community" in wording.announce_flow(PEER, flow())
    assert wording.end_of_rib(PEER, FlowFamily.IPV6_FLOW) == "neighbor 192.0.2.1 announce eor ipv6 flow"


def test_what_is_printed_by_names_is_known_again_and_can_be_withdrawn() -> None:
    said = flow(rate=12_500)
    address, found = dump.flow(printed(NAMED, said.tag, "12500"))
    assert (address, found.key, found.tag, found.rate_bytes_s) == (PEER, said.key, said.tag, 12_500)
    assert found.destination == said.destination
    assert wording.withdraw_flow(PEER, found) == (
        "neighbor 192.0.2.1 withdraw flow route destination-ipv4 203.0.113.10/32 source-ipv4 10.0.0.0/8 protocol =tcp "
        "destination-port [ =domain >=cadlock2&<=callbook ] tcp-flags =syn&!ack packet-length >=0&<=100"
    )
    six = printed({"destination-ipv6": ["2001:db8::9/128/0"], "next-header": ["=udp"]}, flow(SIX).tag, afi="ipv6")
    assert dump.flow(six)[1].destination == ip_network("2001:db8::9")


def test_a_rule_that_nobody_tagged_has_its_match_for_a_key() -> None:
    found = dump.flow(printed(NAMED))[1]
    assert found.key.startswith("destination-ipv4 203.0.113.10/32 source-ipv4")
    assert found.tag == ""


@pytest.mark.parametrize(
    "line", ['{"peer": 1, "safi": "flow"}', printed({"protocol": ["=tcp"]}), printed({"destination-ipv4": []})]
)
def test_a_line_of_another_form_is_not_understood(line: str) -> None:
    with pytest.raises(dump.NotUnderstoodError):
        dump.flow(line)


@pytest.mark.parametrize(
    "match",
    [
        # a port name at whose end ExaBGP finds its own command `help`, and worse
        "destination-ipv4 203.0.113.10/32 destination-port [ =53 =pehelp ]",
        "destination-ipv4 203.0.113.10/32 shutdown",
        "destination-ipv4 203.0.113.10/32 ; shutdown",
        "destination-ipv4 203.0.113.10/32 json",
        "destination-ipv4 203.0.113.10/32 announce",
        "protocol =tcp",
        "",
        "destination-ipv4 203.0.113.10/32 port =caf\u00e9",
    ],
)
def test_what_exabgp_would_misread_is_not_said(match: str) -> None:
    bad = FlowRoute("k", ip_network("203.0.113.10"), match, 0, "1:2:3")
    with pytest.raises(ActuatorRejected):
        wording.withdraw_flow(PEER, bad)


def test_a_dump_holds_blackholes_and_rules_apart_from_prefixes() -> None:
    hole = Route(ip_network("203.0.113.10"), "192.0.2.2", (64500,), communities=("65535:666", "65535:65281"))
    prefix = Route(ip_network("203.0.113.0/24"), "192.0.2.2", (64500,), communities=("65535:666",))
    host = Route(ip_network("203.0.113.11"), "192.0.2.2", (64500,))
    dumped, said = Dumped(), flow()
    dumped.take(printed(NAMED, said.tag), {PEER: N})
    dumped.take(printed(NAMED, said.tag), {})
    held = Holdings()
    held.read({N: {one.prefix: one for one in (hole, prefix, host)}}, dumped.flows, 1.0)
    assert held.routes is not None
    assert held.filters is not None
    assert set(held.routes[N].values()) == {prefix, host}
    assert set(held.filters[N]) == {hole.prefix, said.key}
    held.take(Withdraw(N, hole.prefix, hole.next_hop))
    held.take(WithdrawFlow(N, said))
    assert held.filters == {N: {}}
    held.take(Announce(N, hole))
    held.take(AnnounceFlow(N, said))
    held.take(Announce(N, Route(hole.prefix, "192.0.2.2", (64500,))))
    assert set(held.filters[N]) == {said.key}, "what is announced as a prefix is no blackhole any more"
    held.set_neighbors(())
    assert held.filters == {}


def observed(*have: FlowRoute) -> BgpObserved:
    owed = frozenset({(N, FlowFamily.IPV4_FLOW)})
    return BgpObserved(routes={N: {}}, filters={N: {one.key: one for one in have}}, eor_owed=owed)


def test_differences_are_told_by_the_tag() -> None:
    printed_one = dump.flow(printed(NAMED, flow().tag))[1]
    wanted: FilterRoutes = {N: {flow().key: flow()}}
    assert diff_filters(wanted, observed(printed_one)) == ()
    assert ends_of_flows(wanted, observed(printed_one)) == (EndOfRib(N, FlowFamily.IPV4_FLOW),)
    assert diff_filters(wanted, observed()) == (AnnounceFlow(N, flow()),)
    assert ends_of_flows(wanted, observed()) == ()
    other: FilterRoutes = {N: {flow().key: flow(rate=9600)}}
    assert diff_filters(other, observed(printed_one)) == (AnnounceFlow(N, flow(rate=9600)),), "it replaces the other"
    assert diff_filters({N: {}}, observed(printed_one)) == (WithdrawFlow(N, printed_one),)
    assert diff_filters(wanted, BgpObserved()) == ()
    assert ends_of_flows(wanted, BgpObserved()) == ()


def test_two_rules_of_one_match_replace_each_other_in_the_queue_and_are_never_bunched() -> None:
    queue = ActionQueue()
    queue.put(AnnounceFlow(N, flow()), 0.0)
    assert queue.put(AnnounceFlow(N, flow(rate=9600)), 0.0) == AnnounceFlow(N, flow())
    queue.put(AnnounceFlow(N, flow(SIX)), 0.0)
    assert [len(queue.take(1.0, 100)) for _ in range(2)] == [1, 1]
    assert not any(True for _ in queue.unended), "they are no prefixes"
    assert key_of(WithdrawFlow(N, flow())) == (N, flow().key)
    assert command({N: PEER}, [EndOfRib(N, FlowFamily.IPV4_FLOW)]).endswith("announce eor ipv4 flow")


def test_a_withdrawal_while_the_session_was_down_is_said_again() -> None:
    repairs = Repairs()
    repairs.changed(AnnounceFlow(N, flow()))
    repairs.changed(WithdrawFlow(N, flow()))
    assert repairs.came_up(N) == [WithdrawFlow(N, flow())]


def test_the_bridge_is_given_the_words_and_the_moment() -> None:
    stage = DeadManStage(
        "ended", 0.0, (WithdrawFlow(N, flow(SIX)), Withdraw(N, ip_network("203.0.113.10"), "192.0.2.2")), 7.5
    )
    (said,) = dead_man.encode([stage], {N: PEER})
    assert said["at_s"] == 7.5
    assert said["lines"] == [
        wording.withdraw_flow(PEER, flow(SIX)),
        "neighbor 192.0.2.1 withdraw route 203.0.113.10/32 next-hop 192.0.2.2",
    ]
    assert "at_s" not in dead_man.encode([DeadManStage("depref", 30.0, ())], {})[0]


def test_an_answer_to_a_rule_stirs_no_prefix() -> None:
    acked = Acked(AnnounceFlow(N, flow()), 0.0, 0.0, 0.0)
    assert isinstance(key_of(acked.action)[1], str)


def session(*families: str) -> dump.Session:
    return dump.Session(PEER, SessionState.ESTABLISHED, 5.0, frozenset(families), 0)


def test_end_of_rib_of_flow_rules_is_owed_only_to_who_takes_them() -> None:
    neighbor = Neighbor(
        name=N, address=PEER, asn=64496, local_address=ip_address("192.0.2.2"), local_asn=64500, flowspec=True
    )
    sessions = Sessions({N: neighbor})
    sessions.begin(0.0, {})
    sessions.take_event(dump.SessionEvent(PEER, SessionState.ESTABLISHED, ""), 1.0)
    assert sessions.owed == {(N, Family.IPV4_UNICAST)}, "not before the session tells its families"
    assert sessions.refused_flows(N) == ()
    sessions.take_all([session("ipv4 unicast", "ipv4 flow")], 6.0)
    assert sessions.owed == {(N, Family.IPV4_UNICAST), (N, FlowFamily.IPV4_FLOW)}
    sessions.take_all([session("ipv4 unicast")], 7.0)
    assert sessions.owed == {(N, Family.IPV4_UNICAST)}
    assert sessions.refused_flows(N) == (FlowFamily.IPV4_FLOW,)
    sessions.lost(8.0)
    assert sessions.refused_flows(N) == ()
