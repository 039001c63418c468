"""What the first bytes of a packet say, from its IP header on. IPv6 extension headers are not followed."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from anycastd.model.address import Address

_PORTS = struct.Struct(">HH")
_NAMES = {1: "icmp", 2: "igmp", 4: "ipip", 41: "ip6", 47: "gre", 50: "esp", 58: "icmpv6", 132: "sctp"}
_TCP, _UDP, _SCTP, _FRAGMENT6 = 6, 17, 132, 44
_FIN, _SYN, _RST, _ACK = 0x01, 0x02, 0x04, 0x10


class Sampled(NamedTuple):
    """One packet; ports are None where there are none. `bytes` of L3, as the packet says."""

    source: Address
    destination: Address
    bytes: int
    protocol: str
    source_port: int | None
    port: int | None


def sampled(data: bytes) -> Sampled | None:
    """Return what a packet is; None for what is no whole IP header."""
    if len(data) >= 20 and data[0] >> 4 == 4:
        header = (data[0] & 15) * 4
        number, is_rest = data[9], bool(int.from_bytes(data[6:8], "big") & 0x1FFF)
        ends: tuple[Address, Address] = IPv4Address(data[12:16]), IPv4Address(data[16:20])
        size = int.from_bytes(data[2:4], "big")
    elif len(data) >= 40 and data[0] >> 4 == 6:
        header, number, is_rest = 40, data[6], data[6] == _FRAGMENT6
        ends = IPv6Address(data[8:24]), IPv6Address(data[24:40])
        size = int.from_bytes(data[4:6], "big") + 40
    else:
        return None
    if is_rest:
        return Sampled(*ends, size, "fragment", None, None)
    protocol = _tcp(data, header) if number == _TCP else "udp" if number == _UDP else _NAMES.get(number, str(number))
    if number not in (_TCP, _UDP, _SCTP) or len(data) < header + 4:
        return Sampled(*ends, size, protocol, None, None)
    source_port, port = _PORTS.unpack_from(data, header)
    return Sampled(*ends, size, protocol, source_port, port)


def _tcp(data: bytes, header: int) -> str:
    """Return `tcp` with the flag that tells floods apart: syn, syn-ack, rst, fin, or ack."""
    if len(data) < header + 14:
        return "tcp"
    flags = data[header + 13]
    if flags & _SYN:
        return "tcp syn-ack" if flags & _ACK else "tcp syn"
    if flags & _RST:
        return "tcp rst"
    if flags & _FIN:
        return "tcp fin"
    return "tcp ack" if flags & _ACK else "tcp null"
