"""Bytes of packets as they come from the wire, for the sketch and the kernel's filter."""

from __future__ import annotations

import struct
from ipaddress import ip_address


def ip(
    source: str, destination: str, protocol: int, rest: bytes, *, size: int | None = None, fragment: int = 0
) -> bytes:
    """Return the first bytes of a packet of `size` bytes."""
    ends = ip_address(source).packed + ip_address(destination).packed
    if len(ends) == 8:
        whole = size or 20 + len(rest)
        return struct.pack(">BBHHHBBH", 0x45, 0, whole, 0, fragment, 64, protocol, 0) + ends + rest
    whole = (size or 40 + len(rest)) - 40
    return struct.pack(">IHBB", 6 << 28, whole, protocol, 64) + ends + rest


def udp(source: str, destination: str, port: int, *, source_port: int = 4000, size: int | None = None) -> bytes:
    """Return a UDP packet."""
    return ip(source, destination, 17, struct.pack(">HHHH", source_port, port, 8, 0), size=size)


def tcp(source: str, destination: str, port: int, flags: int) -> bytes:
    """Return a TCP packet."""
    return ip(source, destination, 6, struct.pack(">HHIIBBHHH", 4000, port, 0, 0, 0x50, flags, 0, 0, 0))
