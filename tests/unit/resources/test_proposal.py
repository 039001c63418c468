"""Which flow rule is proposed for which attack."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

from anycastd.model.attack import AttackState, Rate, Shape, Share, Standing
from anycastd.model.flow import FlowMatch
from anycastd.resources.proposal import propose

EIP = ip_address("203.0.113.10")
TO = ip_network("203.0.113.10")
WHOLE = FlowMatch(destination=TO)


def shares(**percents: float) -> tuple[Share, ...]:
    return tuple(Share(name.lstrip("_").replace("_", " "), percent) for name, percent in percents.items())


def attack(shape: Shape | None, usual_bits: float = 8e6) -> Standing:
    return Standing(state=AttackState.ATTACK, rate=Rate(1e5, 1e9), usual=Rate(1e3, usual_bits), shape=shape)


def proposed(shape: Shape | None, percent: float = 70.0) -> list[tuple[FlowMatch, int, float]]:
    return [(one.match, one.rate_bytes_s, one.covers_percent) for one in propose(EIP, attack(shape), percent)]


DNS = Shape(
    sampled=500,
    protocols=shares(udp=97, tcp_ack=3),
    source_ports=shares(_53=95),
    ports=(Share("4000", 4), Share("4001", 3)),
    sources=(Share("198.51.100.0/24", 6),),
)


def test_answers_of_reflectors_are_dropped_by_their_port() -> None:
    kind = replace(WHOLE, protocols=(17,))
    narrow = replace(kind, source_ports=((53, 53),))
    assert proposed(DNS) == [(narrow, 0, 92.0), (kind, 2_000_000, 97.0), (WHOLE, 2_000_000, 100.0)]


def test_a_flood_of_connections_is_limited_for_clients_begin_so_too() -> None:
    shape = Shape(sampled=500, protocols=shares(tcp_syn=99), ports=shares(_443=98), spoofed=True)
    first, *_ = proposed(shape)
    match = replace(WHOLE, protocols=(6,), tcp_set=2, tcp_unset=16, destination_ports=((443, 443),))
    assert first == (match, 2_000_000, 97.0)


def test_packets_of_one_network_are_dropped_unless_sources_are_random() -> None:
    shape = Shape(sampled=500, protocols=shares(icmp=99), sources=(Share("198.51.100.0/24", 96),))
    (match, rate, covers), *_ = proposed(shape)
    assert (match.source, match.protocols, rate, covers) == (ip_network("198.51.100.0/24"), (1,), 0, 95.0)
    assert proposed(replace(shape, spoofed=True))[0][0].source is None


def test_no_rule_is_proposed_that_covers_less_than_was_asked_for() -> None:
    assert [match for match, _, _ in proposed(DNS, percent=98.0)] == [WHOLE]
    assert [match for match, _, _ in proposed(DNS, percent=93.0)] == [replace(WHOLE, protocols=(17,)), WHOLE]
    mixed = Shape(sampled=500, protocols=shares(udp=50, tcp_syn=50))
    assert [match for match, _, _ in proposed(mixed)] == [WHOLE]
    rest = Shape(sampled=500, protocols=shares(fragment=99))
    assert [match for match, _, _ in proposed(rest)] == [WHOLE], "fragments cannot be told by what routers take"


def test_nothing_is_proposed_without_an_attack_or_a_sample_that_tells() -> None:
    assert proposed(None) == []
    assert proposed(replace(DNS, sampled=49)) == []
    assert propose(EIP, replace(attack(DNS), state=AttackState.NORMAL), 70.0) == ()
    quiet = propose(EIP, attack(DNS, usual_bits=0.0), 70.0)
    assert quiet[-1].rate_bytes_s == 9600, "a limit below what routers take is none"
