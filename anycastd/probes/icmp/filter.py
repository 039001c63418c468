"""A kernel filter for raw sockets: only echo replies with our identifier come up.

Without it a flood of echo replies fills the receive buffer, ours are lost with it, and good targets seem to be bad.
"""

from __future__ import annotations

import ctypes
import socket
import struct

SO_ATTACH_FILTER = 26
_INSTRUCTION = struct.Struct("=HBBI")
_LOAD_IPV4_HEADER_LENGTH = (0xB1, 0, 0, 0)
_LOAD_HALF_AT_X_PLUS_4, _LOAD_HALF_AT_4 = (0x48, 0, 0, 4), (0x28, 0, 0, 4)
_PASS, _DROP = (0x06, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 0)


def attach(sock: socket.socket, version: int, identifier: int) -> None:
    """Let only this identifier through. Raise OSError.

    The kernel shows an IPv4 raw socket the packet from its IP header on, an IPv6 one from the ICMPv6 header on.
    """
    load = [_LOAD_IPV4_HEADER_LENGTH, _LOAD_HALF_AT_X_PLUS_4] if version == 4 else [_LOAD_HALF_AT_4]
    program = [*load, (0x15, 0, 1, identifier), _PASS, _DROP]
    code = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*instruction) for instruction in program))
    # struct sock_fprog: the kernel copies the code before setsockopt() returns
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(code)))
