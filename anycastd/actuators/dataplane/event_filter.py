"""A filter in the kernel (socket filter, classic BPF) that lets no foreign route change reach our event socket.

A router on the same machine may change a million routes at once: read in Python they would stop the loop, and overflow
the socket. A notification is a packet of its own, so its header is enough to judge by.
"""

from __future__ import annotations

import ctypes
import socket
import struct

from anycastd.actuators.dataplane.wire import RTM_DELROUTE, RTM_NEWROUTE

SO_ATTACH_FILTER = 26
_LOAD_HALF, _LOAD_BYTE, _JUMP_EQUAL, _RETURN = 0x28, 0x30, 0x15, 0x06
_TYPE_AT, _PROTOCOL_AT = 4, 16 + 5
_INSTRUCTION = struct.Struct("=HBBI")
_PROGRAM = struct.Struct("@HP")


def attach(descriptor: socket.socket, protocol: int) -> None:
    """Let route notifications of other protocols be dropped before they are queued; all else passes."""
    # netlink fields are in host order, loads of two bytes are not
    new, gone = socket.htons(RTM_NEWROUTE), socket.htons(RTM_DELROUTE)
    lines = [
        (_LOAD_HALF, 0, 0, _TYPE_AT),
        (_JUMP_EQUAL, 1, 0, new),
        (_JUMP_EQUAL, 0, 2, gone),
        (_LOAD_BYTE, 0, 0, _PROTOCOL_AT),
        (_JUMP_EQUAL, 0, 1, protocol),
        (_RETURN, 0, 0, 0xFFFFFFFF),
        (_RETURN, 0, 0, 0),
    ]
    code = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*line) for line in lines))
    descriptor.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, _PROGRAM.pack(len(lines), ctypes.addressof(code)))
