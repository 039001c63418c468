"""Which packets a flow rule is about (RFC 8955), and how it is known again among what a neighbor is sent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from anycastd.model.address import Prefix

Ranges = tuple[tuple[int, int], ...]
"""Values from and to, both included."""
PROTOCOLS: Mapping[str, int] = {"icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "icmp6": 58, "sctp": 132}
WITH_PORTS = frozenset({6, 17, 132})
TCP = 6
TCP_FLAGS: Mapping[str, int] = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32}
_PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowMatch:
    """Which packets: all that is said must hold; nothing said of a field = any. Ports are of TCP, UDP and SCTP.

    `tcp_set`, `tcp_unset`: bits of the TCP flags that must be on, and off. `lengths` are of L3, in bytes.
    """

    destination: Prefix
    source: Prefix | None = None
    protocols: tuple[int, ...] = ()
    destination_ports: Ranges = ()
    source_ports: Ranges = ()
    lengths: Ranges = ()
    tcp_set: int = 0
    tcp_unset: int = 0

    @property
    def is_plain(self) -> bool:
        """Return whether it is about a destination and nothing else."""
        return self == FlowMatch(destination=self.destination)

    @property
    def words(self) -> str:
        """Return it for people: `udp to 203.0.113.10 port 53`."""
        kinds = ", ".join(_PROTOCOL_NAMES.get(one, f"protocol {one}") for one in self.protocols) or "any packet"
        said = [kinds, *self._flags(), f"to {short(self.destination)}"]
        if self.destination_ports:
            said.append(f"port {_listed(self.destination_ports)}")
        if self.source is not None or self.source_ports:
            said.append(f"from {short(self.source) if self.source is not None else 'any'}")
        if self.source_ports:
            said.append(f"port {_listed(self.source_ports)}")
        if self.lengths:
            said.append(f"of {_listed(self.lengths)} bytes")
        return " ".join(said)

    def _flags(self) -> Iterator[str]:
        for bits, sign in ((self.tcp_set, ""), (self.tcp_unset, "not ")):
            names = [sign + name for name, bit in TCP_FLAGS.items() if bits & bit]
            if names:
                yield f"({', '.join(names)})"


def short(prefix: Prefix) -> str:
    """Return a prefix, or the address if it is a single one."""
    return str(prefix.network_address) if prefix.prefixlen == prefix.max_prefixlen else str(prefix)


def _listed(ranges: Ranges) -> str:
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


def tag_of(asn: int, match: FlowMatch, rate_bytes_s: int) -> str:
    """Return the large community that tells a rule of ours from every other: of its match, and of both."""
    said = hashlib.sha256(repr(match).encode()).digest()
    done = hashlib.sha256(said + str(rate_bytes_s).encode()).digest()
    return f"{asn}:{int.from_bytes(said[:4], 'big')}:{int.from_bytes(done[:4], 'big')}"


def key_of_tag(tag: str) -> str:
    """Return the key under which a rule is sent: two of the same match replace each other."""
    return f"flow {tag.split(':')[1]}"
