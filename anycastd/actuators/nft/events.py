"""Which transactions of others there were: the generations that nf_tables tells of.

A filter in the kernel lets nothing else through: a foreign set of a million elements says as many times what is in it.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import NamedTuple

from anycastd.actuators.nft import channel, wire

NFNLGRP_NFTABLES = 7
NETLINK_ADD_MEMBERSHIP = 1
READ_BYTES = 8192
GEN_ID = 1
SO_ATTACH_FILTER = 26
_LOAD_HALF, _JUMP_EQUAL, _RETURN = 0x28, 0x15, 0x06
_TYPE_AT = 4
_INSTRUCTION = struct.Struct("=HBBI")
_PROGRAM = struct.Struct("@HP")


class Generation(NamedTuple):
    """The rules and elements of all tables changed; `sender` is whose socket asked for it."""

    number: int
    sender: int


def opened(receive_bytes: int) -> socket.socket:
    """Return a socket that hears of nothing but the end of each transaction in the calling thread's namespace."""
    made = channel.open_netlink(receive_bytes)
    try:
        made.setblocking(False)
        _attach(made)
        # only now: what comes before the filter would pass
        made.setsockopt(channel.SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)
    except OSError:
        made.close()
        raise
    return made


def _attach(descriptor: socket.socket) -> None:
    """Let only the end of each transaction be queued."""
    # netlink fields are in host order, loads of two bytes are not
    lines = [
        (_LOAD_HALF, 0, 0, _TYPE_AT),
        (_JUMP_EQUAL, 0, 1, socket.htons(wire.SUBSYSTEM << 8 | wire.NEWGEN)),
        (_RETURN, 0, 0, 0xFFFFFFFF),
        (_RETURN, 0, 0, 0),
    ]
    code = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*line) for line in lines))
    descriptor.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, _PROGRAM.pack(len(lines), ctypes.addressof(code)))


def generations(data: bytes) -> list[Generation]:
    """Return those that a datagram tells of."""
    return [
        Generation(generation_in(reply), reply.sender)
        for reply in wire.replies(data)
        if reply.type == wire.SUBSYSTEM << 8 | wire.NEWGEN
    ]


def generation_in(reply: wire.Reply) -> int:
    """Return the number in an NFT_MSG_NEWGEN."""
    return int.from_bytes(wire.values(reply.data, reply.body, reply.end).get(GEN_ID, b""), "big")


def generation_request(sequence: int) -> bytes:
    """Return a request for the present generation."""
    return wire.request(wire.GETGEN, 0, sequence, family=0)


def is_later(number: int, than: int) -> bool:
    """Return whether one generation came after another; the numbers wrap at 32 bits."""
    return 0 < (number - than) % (1 << 32) < 1 << 31
