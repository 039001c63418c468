"""ICMP echo on the wire; pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_ECHO = struct.Struct("!BBHHH")
_REQUEST = {4: 8, 6: 128}
_REPLY = {4: 0, 6: 129}
MIN_IPV4_HEADER_BYTES = 20


@dataclass(frozen=True, slots=True)
class Echo:
    """An echo reply, or a request of ours that an ICMP error quotes; a quote may be cut short."""

    identifier: int
    sequence: int
    payload: bytes


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return 0xFFFF - ((total + (total >> 16)) & 0xFFFF)


def request(version: int, identifier: int, sequence: int, payload: bytes) -> bytes:
    """Return an echo request. For IPv6 the kernel adds the checksum, since it needs the source address."""
    kind = _REQUEST[version]
    if version == 6:
        return _ECHO.pack(kind, 0, 0, identifier, sequence) + payload
    unsummed = _ECHO.pack(kind, 0, 0, identifier, sequence) + payload
    return _ECHO.pack(kind, 0, checksum(unsummed), identifier, sequence) + payload


def reply(version: int, data: bytes) -> Echo | None:
    """Return an echo reply, or None if it is anything else."""
    return _echo(_REPLY[version], data)


def quoted(version: int, data: bytes) -> Echo | None:
    """Return the echo request that an ICMP error quotes, or None if it is anything else."""
    return _echo(_REQUEST[version], data)


def without_ipv4_header(data: bytes) -> bytes:
    """Return what follows the IPv4 header; a raw socket gives it with the packet."""
    if len(data) < MIN_IPV4_HEADER_BYTES:
        return b""
    return data[(data[0] & 0x0F) * 4 :]


def _echo(kind: int, data: bytes) -> Echo | None:
    if len(data) < _ECHO.size:
        return None
    got, code, _, identifier, sequence = _ECHO.unpack_from(data)
    if got != kind or code != 0:
        return None
    return Echo(identifier, sequence, data[_ECHO.size :])
