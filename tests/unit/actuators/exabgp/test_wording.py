"""Command lines: exactly what ExaBGP reads, and nothing that it would misread."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycastd.actuators.exabgp import wording
from anycastd.errors import ActuatorRejected
from anycastd.model.address import Family
from anycastd.model.bgp import Route

PEER, PEER6 = ip_address("10.9.0.2"), ip_address("fd09::2")
PLAIN = Route(ip_network("198.51.100.0/24"), "10.9.0.1", (65000,))


def test_one_route_with_every_attribute() -> None:
    route = Route(
        ip_network("198.51.100.0/24"),
        "10.9.0.1",
        (65000, 65000),
        med=0,
        local_preference=7,
        communities=("65000:1", "65535:0"),
        large_communities=("65000:1:2",),
    )
    assert wording.announce(PEER, [route]) == (
        "neighbor 10.9.0.2 announce route 198.51.100.0/24 next-hop 10.9.0.1 origin igp as-path [ 65000 65000 ] med 0 "
        "local-preference 7 community [ 65000:1 65535:0 ] large-community [ 65000:1:2 ]"
    )


def test_a_bunch_and_what_may_not_be_bunched() -> None:
    other = Route(ip_network("203.0.113.0/24"), "10.9.0.1", (65000,))
    assert wording.announce(PEER, [PLAIN, other]) == (
        "neighbor 10.9.0.2 announce attributes next-hop 10.9.0.1 origin igp as-path [ 65000 ] "
        "nlri 198.51.100.0/24 203.0.113.0/24"
    )
    with pytest.raises(ActuatorRejected, match="equal attributes"):
        wording.announce(PEER, [PLAIN, Route(other.prefix, "10.9.0.1", (65000, 65000))])


def test_withdrawals_and_end_of_rib() -> None:
    prefixes = [ip_network("2001:db8::/48"), ip_network("2001:db8:1::/48")]
    assert wording.withdraw(PEER6, prefixes[:1], "fd09::1") == (
        "neighbor fd09::2 withdraw route 2001:db8::/48 next-hop fd09::1"
    )
    assert wording.withdraw(PEER6, prefixes, "fd09::1") == (
        "neighbor fd09::2 withdraw attributes next-hop fd09::1 nlri 2001:db8::/48 2001:db8:1::/48"
    )
    assert wording.end_of_rib(PEER, Family.IPV6_UNICAST) == "neighbor 10.9.0.2 announce eor ipv6 unicast"


@pytest.mark.parametrize(
    "wrong",
    [
        {"next_hop": "self"},
        {"next_hop": "10.9.0.1\nshutdown"},
        {"next_hop": "fd09::1"},
        {"as_path": (1 << 32,)},
        {"as_path": (-1,)},
        {"med": 1 << 32},
        {"local_preference": -1},
        {"communities": ("graceful-shutdown",)},
        {"communities": ("65536:1",)},
        {"communities": ("1:2:3",)},
        {"communities": ("1:2 ] json",)},
        {"large_communities": ("1:2",)},
        {"large_communities": ("1:2:4294967296",)},
    ],
)
def test_what_cannot_be_said_is_refused(wrong: dict[str, object]) -> None:
    fields: dict[str, object] = {"prefix": PLAIN.prefix, "next_hop": "10.9.0.1", "as_path": (65000,), **wrong}
    with pytest.raises(ActuatorRejected):
        wording.announce(PEER, [Route(**fields)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "line",
    [
        "neighbor 10.9.0.2 announce route 198.51.100.0/24 next-hop 10.9.0.1 community [ graceful-shutdown ]",
        "neighbor 10.9.0.2 announce route 198.51.100.0/24 next-hop 10.9.0.1 json",
        "neighbor 10.9.0.2 announce route 198.51.100.0/24 next-hop 10.9.0.1 announce route 10.0.0.0/8 next-hop 1.1.1.1",
        "neighbor 10.9.0.2 announce route 198.51.100.0/24\nshutdown",
        "neighbor 10.9.0.2 announce route 198.51.100.0/24 # reset",
        "announce route 198.51.100.0/24 next-hop 10.9.0.1",
        "neighbor 10.9.0.2 announce flow route",
        "shutdown",
        "",
        "neighbor 10.9.0.2 announce route é",
        "neighbor 10.9.0.2 announce route " + "1" * 9000,
    ],
)
def test_trap_words_never_pass(line: str) -> None:
    with pytest.raises(ActuatorRejected):
        wording.check(line)


@given(st.text(max_size=60))
def test_no_text_can_add_a_command(text: str) -> None:
    """Whatever is put behind a good command, either it is refused or it stays one printable line."""
    try:
        line = wording.check(f"neighbor 10.9.0.2 announce route 198.51.100.0/24 next-hop 10.9.0.1 {text}")
    except ActuatorRejected:
        return
    assert line.isascii()
    assert line.isprintable()
    assert "shutdown" not in line.split()
    assert "json" not in line.split()


def test_a_hundred_prefixes_fit_in_a_line() -> None:
    path = (4294967295,) * 10
    routes = [
        Route(ip_network(f"2001:db8:{n:x}:ffff:ffff:ffff:ffff:ffff/128"), "fd09::1", path, communities=("65000:1",) * 8)
        for n in range(0xFF00, 0xFF64)
    ]
    assert len(wording.announce(PEER6, routes)) <= wording.LINE_LIMIT
