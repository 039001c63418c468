"""Which flow rule fits an attack: the most specific one that covers enough of the packets that were sampled. Pure.

What is said of one field is known, not what is said of two at once; so a rule on two fields is taken to cover the least
it can: a % + b % - 100 %. A rule drops where hardly any usual traffic can match, and limits elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network

from anycastd.model.address import Address
from anycastd.model.attack import AttackState, Shape, Share, Standing
from anycastd.model.flow import PROTOCOLS, TCP, TCP_FLAGS, WITH_PORTS, FlowMatch, Ranges
from anycastd.resources.filters import MAX_RATE_BYTES_S, MIN_RATE_BYTES_S

MIN_SAMPLED = 50
"""Fewer packets say too little: of 50, a share is within 14 points, 19 times of 20."""
MOST_PORTS = 3
ROOM = 2.0
"""A limit lets through so many times what is usual."""
REFLECTORS = frozenset({17, 19, 53, 111, 123, 137, 161, 389, 427, 1900, 3283, 3702, 5353, 11211})
"""UDP services that answer more than they are asked: clients of ours hardly ever send from them."""
_FLAGS = {
    "tcp syn": (("syn",), ("ack",)),
    "tcp syn-ack": (("syn", "ack"), ()),
    "tcp rst": (("rst",), ()),
    "tcp fin": (("fin",), ()),
    "tcp ack": (("ack",), ("syn",)),
    "tcp null": ((), ("fin", "syn", "rst", "psh", "ack", "urg")),
}
_NUMBERS = {**PROTOCOLS, "icmpv6": 58, "igmp": 2, "ipip": 4, "ip6": 41}


@dataclass(frozen=True, slots=True)
class Proposal:
    """A rule, how much of the sampled packets it covers at least, in percent, and why it drops or limits."""

    match: FlowMatch
    rate_bytes_s: int
    covers_percent: float
    why: str


def propose(eip: Address, standing: Standing, share_percent: float) -> tuple[Proposal, ...]:
    """Return the rules that cover at least a share of the attack on an EIP, the most specific first."""
    shape = standing.shape
    if standing.state is AttackState.NORMAL or shape is None or shape.sampled < MIN_SAMPLED:
        return ()
    found: list[Proposal] = []
    for match, covers in _matches(eip, shape, share_percent):
        rate, why = _action(match, standing)
        found.append(Proposal(match, rate, round(covers, 1), why))
    return tuple(sorted(found, key=lambda one: -_fields(one.match)))


def _matches(eip: Address, shape: Shape, least: float) -> Iterator[tuple[FlowMatch, float]]:
    whole = FlowMatch(destination=ip_network(eip))
    # a limit of all that comes to the address fits every attack, and hits every client
    yield whole, 100.0
    top = next(iter(shape.protocols), None)
    kind = None if top is None else _kind(whole, top.value)
    if top is None or kind is None or top.percent < least:
        return
    yield kind, top.percent
    narrow, covers = kind, top.percent
    if set(kind.protocols) <= WITH_PORTS:
        origins, percent = _most(shape.source_ports, least + 100.0 - covers)
        if origins:
            narrow, covers = replace(narrow, source_ports=origins), covers + percent - 100.0
        ports, percent = _most(shape.ports, least + 100.0 - covers)
        if ports:
            narrow, covers = replace(narrow, destination_ports=ports), covers + percent - 100.0
    source = next(iter(shape.sources), None)
    if source is not None and not shape.spoofed and covers + source.percent - 100.0 >= least:
        narrow, covers = replace(narrow, source=ip_network(source.value)), covers + source.percent - 100.0
    if narrow != kind:
        yield narrow, covers


def _kind(whole: FlowMatch, protocol: str) -> FlowMatch | None:
    if protocol in _FLAGS:
        on, off = ([TCP_FLAGS[name] for name in names] for names in _FLAGS[protocol])
        return replace(whole, protocols=(TCP,), tcp_set=sum(on), tcp_unset=sum(off))
    if protocol == "tcp":
        return replace(whole, protocols=(TCP,))
    number = _NUMBERS.get(protocol, int(protocol) if protocol.isascii() and protocol.isdigit() else None)
    return None if number is None else replace(whole, protocols=(number,))


def _most(shares: Sequence[Share], needed: float) -> tuple[Ranges, float]:
    """Return the fewest ports, the largest first, that have `needed` percent together; none if that takes too many."""
    found, percent = list[int](), 0.0
    for one in shares[:MOST_PORTS]:
        found.append(int(one.value))
        percent += one.percent
        if percent >= needed:
            return tuple((port, port) for port in sorted(found)), percent
    return (), 0.0


def _action(match: FlowMatch, standing: Standing) -> tuple[int, str]:
    origins = {low for low, high in match.source_ports if low == high}
    if PROTOCOLS["udp"] in match.protocols and origins and origins <= REFLECTORS:
        return 0, "dropped: answers of reflectors, which clients do not send"
    if match.source is not None:
        return 0, f"dropped: from {match.source} alone"
    # rounded down to what a router may be told, never up to more than the POP was to carry
    usual = standing.usual.bits / 8
    rate = int(min(max(usual * ROOM, MIN_RATE_BYTES_S), MAX_RATE_BYTES_S))
    return rate, f"limited to {ROOM:g} times what is usual, for clients may send the same"


def _fields(match: FlowMatch) -> int:
    said = (match.source, match.protocols, match.destination_ports, match.source_ports, match.tcp_set | match.tcp_unset)
    return sum(bool(one) for one in said)
