"""Netlink messages and their attributes as bytes (netlink(7)): what every family of them shares."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator

NLA_F_NESTED = 0x8000
NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE = 1, 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x001, 0x004, 0x300
NLM_F_EXCL, NLM_F_CREATE = 0x200, 0x400
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
NLMSGERR_ATTR_MSG = 1

HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_TYPE_BITS = 0x3FFF


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """Return one message with its header."""
    return HEADER.pack(HEADER.size + len(body), kind, flags, sequence, 0) + body


def attribute(kind: int, payload: bytes) -> bytes:
    """Return one attribute, padded."""
    return _ATTRIBUTE.pack(4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def nested(kind: int, *inside: bytes) -> bytes:
    """Return an attribute that holds others."""
    return attribute(kind | NLA_F_NESTED, b"".join(inside))


def text(kind: int, value: str) -> bytes:
    """Return a text attribute with the ending zero."""
    return attribute(kind, value.encode() + b"\0")


def u8(kind: int, value: int) -> bytes:
    """Return an attribute of one byte."""
    return attribute(kind, struct.pack("=B", value))


def u16(kind: int, value: int) -> bytes:
    """Return an attribute of two bytes in host order."""
    return attribute(kind, struct.pack("=H", value))


def u32(kind: int, value: int) -> bytes:
    """Return an attribute of four bytes in host order."""
    return attribute(kind, struct.pack("=I", value))


def be16(kind: int, value: int) -> bytes:
    """Return an attribute of two bytes in network order."""
    return attribute(kind, struct.pack("!H", value))


def be32(kind: int, value: int) -> bytes:
    """Return an attribute of four bytes in network order."""
    return attribute(kind, struct.pack("!I", value))


def each(data: bytes, at: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield the type and payload of each attribute; stops at what is none."""
    end = len(data) if end is None else end
    while at + 4 <= end:
        width, kind = _ATTRIBUTE.unpack_from(data, at)
        if width < 4 or at + width > end:
            return
        yield kind & _TYPE_BITS, data[at + 4 : at + width]
        at += (width + 3) & ~3


def parse(data: bytes, at: int = 0, end: int | None = None) -> dict[int, bytes]:
    """Return the payloads by type; of a type that comes twice the last."""
    return dict(each(data, at, end))


def number(payload: bytes | None) -> int:
    """Return a number in host order, 0 for none."""
    return int.from_bytes(payload or b"", sys.byteorder)


def network_number(payload: bytes | None) -> int:
    """Return a number in network order, 0 for none."""
    return int.from_bytes(payload or b"", "big")


def word(payload: bytes | None) -> str:
    """Return text without its ending zero."""
    return (payload or b"").rstrip(b"\0").decode(errors="replace")
