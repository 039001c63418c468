"""What FRR 8.4 and BIRD 2.0 say of their sessions, as they said it, and any other text."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.model.checks import Via
from anycastd.model.probe import Why
from anycastd.probes.bfd.foreign import Session, UnreadableError, sessions

FRR = """[
  {"multihop":false, "peer":"fd00:1::1", "local":"fd00:1::2", "vrf":"default", "interface":"tun0", "id":3276888069,
   "remote-id":0, "passive-mode":false, "status":"down", "downtime":0, "diagnostic":"ok", "remote-diagnostic":"ok"},
  {"multihop":true, "peer":"10.99.0.1", "minimum-ttl":254, "status":"up", "uptime":7, "diagnostic":"ok",
   "remote-diagnostic":"ok", "receive-interval":300, "transmit-interval":300},
  {"multihop":false, "peer":"10.255.1.1", "status":"down", "diagnostic":"control detection time expired",
   "remote-diagnostic":"ok"},
  {"multihop":false, "peer":"10.255.1.5", "status":"down", "diagnostic":"neighbor signaled session down",
   "remote-diagnostic":"administratively down"},
  {"multihop":false, "peer":"10.255.1.9", "status":"shutdown"}
]
"""
BIRD = """BIRD 2.0.12 ready.
Access restricted
bfd1:
IP address                Interface  State      Since         Interval  Timeout
fd00:2::1                 tun0       Up         01:33:48.118    0.300    0.900
10.99.0.1                 ---        Init       01:33:48.806    1.000    3.000
10.255.2.1                tun0       Down       01:33:48.799    1.000    0.000
"""


def verdicts(via: Via, text: str) -> dict[str, tuple[Why, str]]:
    return {str(peer): session.verdict for peer, session in sessions(via, text).items()}


def test_what_frr_says() -> None:
    assert verdicts(Via.FRR, FRR) == {
        "fd00:1::1": (Why.BFD_DOWN, "down"),
        "10.99.0.1": (Why.ANSWERED, "Up"),
        "10.255.1.1": (Why.BFD_DOWN, "down: control detection time expired"),
        "10.255.1.5": (Why.BFD_UNKNOWN, "down: taken down on purpose"),
        "10.255.1.9": (Why.BFD_UNKNOWN, "shutdown: taken down on purpose"),
    }
    assert sessions(Via.FRR, "[]") == {}


def test_what_bird_says() -> None:
    assert verdicts(Via.BIRD, BIRD) == {
        "fd00:2::1": (Why.ANSWERED, "Up"),
        "10.99.0.1": (Why.BFD_DOWN, "Init"),
        "10.255.2.1": (Why.BFD_DOWN, "Down"),
    }


@pytest.mark.parametrize("via", [Via.FRR, Via.BIRD])
@settings(max_examples=20)
@given(st.text(max_size=60) | st.sampled_from(["{}", "[1]", '[{"peer": "x", "status": "up"}]', "null", FRR[:-3]]))
def test_any_other_text_is_no_list_of_sessions(via: Via, text: str) -> None:
    try:
        found = sessions(via, text)
    except UnreadableError:
        return
    assert all(isinstance(one, Session) for one in found.values())


def test_a_table_with_something_else_in_it_is_refused() -> None:
    with pytest.raises(UnreadableError, match="'what' is no address"):
        sessions(Via.BIRD, BIRD + "what is this line that I see\n")


def test_addresses_are_keys_whatever_their_spelling() -> None:
    assert ip_address("fd00:1::1") in sessions(Via.FRR, FRR.replace("fd00:1::1", "FD00:1:0::1"))
