"""What observers say, however malformed, foreign or much it is."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.actuators.exabgp import dump
from anycastd.actuators.exabgp.hearing import BURST, LINE_LIMIT, PER_S, Hearing
from anycastd.model.address import NeighborName
from anycastd.model.bgp import Heard

RR, RS = NeighborName("rr1"), NeighborName("rs2")
OBSERVERS = {ip_address("10.9.0.3"): RR, ip_address("fd09::3"): RS}
NETWORKS = (ip_network("10.255.252.0/22"), ip_network("fd00:255::/120"))
BEACON4, BEACON6 = ip_network("10.255.253.7/32"), ip_network("fd00:255::7/128")
HEAD = (
    '{ "exabgp": "5.0.0", "time": 1795655986.479581, "host" : "vm", "pid" : 29323, "ppid" : 1, "counter": 3, '
    '"type": "update", "neighbor": { "address": { "local": "10.9.0.11", "peer": "%s" }, "asn": { "local": 65000, '
    '"peer": 65000 }, "router-id": "10.9.0.11" , "direction": "receive", "message": '
)
ATTRIBUTE = (
    '"attribute": { "origin": "igp", "med": 0, "local-preference": 100, "community": [ [ 65535, 65281 ] ], '
    '"originator-id": "10.9.0.1", "cluster-list": [ "10.9.0.3" ], '
    '"large-community": [ [ 64500, 1 , 2 ], [ 64500, 4294967295 , 7 ] ] }'
)


def line(message: str, peer: str = "10.9.0.3") -> str:
    """Return a line as ExaBGP 5.0.15 prints it (copied from one, with FRR 8.4.4 as reflector)."""
    return HEAD % peer + message + " } }"


def announced(prefix: str, attribute: str = ATTRIBUTE, hop: str = "10.9.0.1") -> str:
    family = "ipv6 unicast" if ":" in prefix else "ipv4 unicast"
    return (
        f'{{ "update": {{ {attribute}, "announce": {{ "{family}": {{ "{hop}": [ {{ "nlri": "{prefix}" }} ] }} }} }} }}'
    )


def withdrawn(*prefixes: str) -> str:
    family = "ipv6 unicast" if ":" in prefixes[0] else "ipv4 unicast"
    listed = ", ".join(f'{{ "nlri": "{prefix}" }}' for prefix in prefixes)
    return f'{{ "update": {{ "withdraw": {{ "{family}": [ {listed} ] }} }} }}'


def hearing() -> Hearing:
    return Hearing(OBSERVERS, NETWORKS)


def test_a_beacon_is_heard_with_what_tells_whose_it_is() -> None:
    heard = hearing().take(line(announced("10.255.253.7/32")), 1.0)
    assert heard == (Heard(RR, BEACON4, ("64500:1:2", "64500:4294967295:7"), (), "10.9.0.1"),)
    (six,) = hearing().take(line(announced("fd00:255::7/128", hop="fd09::1"), peer="fd09::3"), 1.0)
    assert (six.observer, six.prefix) == (RS, BEACON6)


def test_an_as_path_is_heard_and_a_set_is_no_as_of_ours() -> None:
    segments = (
        '"1": { "element": "as-set", "value": [ 7, 8 ] }',
        '"0": { "element": "as-sequence", "value": [ 64500 ] }',
    )
    path = f'"as-path": {{ {", ".join(segments)} }}'
    (heard,) = hearing().take(line(announced("10.255.253.7/32", f'"attribute": {{ {path} }}')), 1.0)
    assert (heard.as_path, heard.large_communities, heard.originator) == ((64500, 0), (), "")


def test_withdrawals_are_heard_also_several_at_once() -> None:
    heard = hearing().take(line(withdrawn("10.255.253.7/32", "10.255.253.8/32", "203.0.113.0/24")), 1.0)
    assert [(one.prefix, one.large_communities) for one in heard] == [
        (BEACON4, None),
        (ip_network("10.255.253.8/32"), None),
    ]


@pytest.mark.parametrize(
    "message",
    [
        announced("203.0.113.0/24"),
        withdrawn("203.0.113.0/24"),
        '{ "eor": { "afi" : "ipv4", "safi" : "unicast" } }',
        '{ "update": {  } }',
    ],
)
def test_what_is_no_beacon_is_counted_and_nothing_else(message: str) -> None:
    ear = hearing()
    assert ear.take(line(message), 1.0) == ()
    assert (ear.ears[RR].foreign, ear.ears[RR].heard) == (1, 0)


@pytest.mark.parametrize(
    "text",
    [
        line(announced("10.255.253.7/32"))[:-3],
        line(announced("10.255.253.7/32").replace("64500, 1 ", '"x", 1 ')),
        line(announced("10.255.253.7/32/1")),
        line(announced("10.255.253.7/32", '"nothing": {}')),
        line('{ "update": { "announce": { "ipv4 unicast": 7 } } }'),
        line("[" * 20000 + "]" * 20000),
        line('{ "update": ' + "1" * 5000 + " }"),
        line(announced("10.255.253.7/32").replace("igp", "x" * LINE_LIMIT)),
    ],
)
def test_what_cannot_be_read_is_counted_and_hurts_nobody(text: str) -> None:
    ear = hearing()
    assert ear.take(text, 1.0) == ()
    assert ear.ears[RR].unreadable == 1


def test_a_stranger_is_not_listened_to() -> None:
    ear = hearing()
    assert ear.take(line(announced("10.255.253.7/32"), peer="10.9.0.99"), 1.0) == ()
    assert ear.take("{ no json at all", 1.0) == ()
    assert all(one.heard == one.foreign == one.unreadable == 0 for one in ear.ears.values())


def test_a_flood_of_one_observer_is_cut_off_and_the_other_one_heard() -> None:
    ear, flood = hearing(), line(announced("203.0.113.0/24"))
    for _ in range(int(BURST) + 500):
        ear.take(flood, 1.0)
    assert ear.ears[RR].flooded == 500
    assert ear.take(line(announced("10.255.253.7/32")), 1.0) == ()
    assert ear.take(line(announced("10.255.253.7/32"), peer="fd09::3"), 1.0)
    assert ear.take(line(announced("10.255.253.7/32")), 1.0 + 2 / PER_S), "it may speak again"


def test_a_new_configuration_keeps_what_was_counted() -> None:
    ear = hearing()
    ear.take(line(announced("10.255.253.7/32")), 1.0)
    ear.configure({ip_address("10.9.0.3"): RR}, NETWORKS[1:])
    assert (list(ear.ears), ear.ears[RR].heard) == ([RR], 1)
    assert ear.take(line(announced("10.255.253.7/32")), 1.0) == ()


def test_only_the_head_of_a_line_says_that_it_is_an_update() -> None:
    assert dump.is_update(line(announced("10.255.253.7/32")))
    state = HEAD.replace('"type": "update"', '"type": "state"') % "10.9.0.3"
    assert not dump.is_update(state + '"state": "down", "reason": "' + "x" * 300 + '"type": "update"' + '" } }')


@given(st.text(max_size=400), st.integers(0, 700))
@settings(max_examples=50, deadline=None)
def test_no_line_whatever_it_holds_raises(text: str, at: int) -> None:
    good = line(announced("10.255.253.7/32"))
    for said in (text, good[:at] + text + good[at:], json.dumps(text)):
        for one in hearing().take(said, 1.0):
            assert isinstance(one, Heard)


def test_many_beacons_in_one_update_are_as_many_as_in_updates_of_their_own() -> None:
    """Each costs what one costs: 64 at a time, a flood took a whole processor, and ExaBGP's answers had to wait."""
    ear = hearing()
    many = line(withdrawn(*(f"10.255.253.{number}/32" for number in range(64))))
    heard = sum(len(ear.take(many, 1.0)) for _ in range(200))
    assert BURST <= heard < BURST + 64
    assert ear.ears[RR].flooded == 200 - heard // 64
    assert ear.take(many, 1.0 + 2 * BURST / PER_S)
