"""What ExaBGP 5.0.15 printed, word for word, into values."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network

import pytest

from anycastd.actuators.exabgp import dump
from anycastd.model.bgp import Route, SessionState

FULL = (
    '{"peer": {"address": "10.9.0.2"}, "route": {"nlri": {"prefix": "198.51.100.0/24", "nexthop": "10.9.0.1", '
    '"family": {"afi": "ipv4", "safi": "unicast"}}, "attributes": {"origin": "igp", "as-path": {"0": {"element": '
    '"as-sequence", "value": [65000, 65000, 4200000000]}}, "med": 5, "local-preference": 77, "community": '
    '["65000:12", "65000:2", "blackhole", "no-export", "no-advertise", "no-export-subconfed", "no-peer", "65535:0"], '
    '"large-community": ["65000:1:2", "4200000000:1:2"]}}}'
)
BARE = (
    '{"peer": {"address": "fd09::2"}, "route": {"nlri": {"prefix": "2001:db8:2::/48", "nexthop": "2001:db8::1", '
    '"family": {"afi": "ipv6", "safi": "unicast"}}, "attributes": {"origin": "igp"}}}'
)
EVENT = (
    '{ "exabgp": "5.0.0", "time": 1795488544.667257, "host" : "vm", "pid" : 15045, "ppid" : 15006, "counter": 2, '
    '"type": "state", "neighbor": { "address": { "local": "10.9.0.1", "peer": "10.9.0.2" }, "asn": { "local": 65000, '
    '"peer": 65001 }, "router-id": "10.9.0.1" , "state": "down", "reason": "notification sent (4,0)" } }'
)


def test_a_route_with_everything_comes_out_as_it_was_said() -> None:
    assert dump.route(FULL) == (
        ip_address("10.9.0.2"),
        Route(
            ip_network("198.51.100.0/24"),
            "10.9.0.1",
            (65000, 65000, 4200000000),
            5,
            77,
            # by numbers: 65000:2 before 65000:12
            ("65000:2", "65000:12", "65535:0", "65535:666", "65535:65281", "65535:65282", "65535:65283", "65535:65284"),
            ("65000:1:2", "4200000000:1:2"),
        ),
    )


def test_a_route_with_nothing() -> None:
    assert dump.route(BARE) == (ip_address("fd09::2"), Route(ip_network("2001:db8:2::/48"), "2001:db8::1"))


@pytest.mark.parametrize("line", ["", "{", "[]", '{"peer": 1}', FULL.replace("as-sequence", "as-set"), FULL[:-4]])
def test_another_form_is_an_error_of_ours_to_see(line: str) -> None:
    with pytest.raises(dump.NotUnderstoodError):
        dump.route(line)


def session(**more: object) -> dict[str, object]:
    plain: dict[str, object] = {
        "state": "up",
        "duration": 15,
        "fsm": "ESTABLISHED",
        "peer": {"address": "10.9.0.2"},
        "families": ["ipv4 unicast"],
        "messages": {"sent": {"update": 10}},
    }
    return {**plain, **more}


@pytest.mark.parametrize(
    ("said", "state", "age_s"),
    [
        ({}, SessionState.ESTABLISHED, 15.0),
        # its first second: ExaBGP calls it down, and gives the age of something else
        ({"state": "down", "duration": 1795488544}, SessionState.ESTABLISHED, 0.0),
        ({"state": "down", "fsm": "IDLE", "duration": 7}, SessionState.DOWN, 7.0),
        ({"state": "down", "fsm": "OPENSENT", "duration": 7}, SessionState.CONNECTED, 7.0),
    ],
)
def test_sessions(said: dict[str, object], state: SessionState, age_s: float) -> None:
    (one,) = dump.sessions(json.dumps([session(**said)]))
    assert (one.peer, one.state, one.age_s, one.updates_sent) == (ip_address("10.9.0.2"), state, age_s, 10)


def test_events() -> None:
    assert dump.event(EVENT) == dump.SessionEvent(ip_address("10.9.0.2"), SessionState.DOWN, "notification sent (4,0)")
    assert dump.event(EVENT.replace('"type": "state"', '"type": "notification"')) is None
    with pytest.raises(dump.NotUnderstoodError):
        dump.event(EVENT[:50])
