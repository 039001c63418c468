"""UDP sockets for BFD: what comes with its TTL, both addresses and the kernel's own time; a sender for each session."""

from __future__ import annotations

import random
import socket
import struct

from anycastd.probes import receive_time
from anycastd.probes.bfd.packet import MAX_BYTES

PORT, MULTIHOP_PORT = 3784, 4784
SOURCE_PORTS = (49152, 65535)
"""RFC 5881 section 4, RFC 5883 section 4."""
TTL = 255
TOS = 0xC0
"""CS6, as routing protocols are sent."""
IP_PKTINFO, IP_RECVTTL = 8, 12
RECEIVE_BUFFER_BYTES = 1 << 20
_ANCILLARY_BYTES = 256
_TRIES = 64


class Heard:
    """One datagram: its bytes, both addresses, its TTL, and how long it lay in the kernel, in seconds."""

    __slots__ = ("age_s", "data", "here", "peer", "ttl")

    def __init__(self, data: bytes, here: str, peer: str, ttl: int, age_s: float) -> None:
        self.data, self.here, self.peer, self.ttl, self.age_s = data, here, peer, ttl, age_s


def receiver(version: int, multihop: bool) -> socket.socket:
    """Return a socket that hears all peers of one IP version; raise OSError, if the port is taken too."""
    made = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        if version == 6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            made.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
            made.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        receive_time.turn_on(made)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        made.setblocking(False)
        made.bind(("::" if version == 6 else "0.0.0.0", MULTIHOP_PORT if multihop else PORT))
    except OSError:
        made.close()
        raise
    return made


def sender(here: str, peer: str, multihop: bool) -> socket.socket:
    """Return a connected socket whose source port no other session has; raise OSError."""
    version = 6 if ":" in peer else 4
    made = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        if version == 6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, TTL)
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, TOS)
        else:
            made.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, TTL)
            made.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, TOS)
        made.setblocking(False)
        # nothing is read from it: what would pile up must not cost memory
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        _bind(made, here)
        made.connect((peer, MULTIHOP_PORT if multihop else PORT))
    except OSError:
        made.close()
        raise
    return made


def _bind(made: socket.socket, here: str) -> None:
    for left in range(_TRIES, 0, -1):
        try:
            made.bind((here, random.randint(*SOURCE_PORTS)))
        except OSError as error:
            if error.errno != 98 or left == 1:
                raise
        else:
            return


def hear(one: socket.socket) -> Heard | None:
    """Return the next datagram, or None if there is none."""
    try:
        data, ancillary, _, source = one.recvmsg(MAX_BYTES + 1, _ANCILLARY_BYTES)
    except (BlockingIOError, ConnectionRefusedError):
        return None
    here, ttl, age_s = "", 0, receive_time.age_s(ancillary) or 0.0
    for level, kind, value in ancillary:
        if level == socket.IPPROTO_IP and kind == socket.IP_TTL:
            ttl = struct.unpack_from("@i", value)[0]
        elif level == socket.IPPROTO_IP and kind == IP_PKTINFO:
            here = socket.inet_ntop(socket.AF_INET, value[8:12])
        elif level == socket.IPPROTO_IPV6 and kind == socket.IPV6_HOPLIMIT:
            ttl = struct.unpack_from("@i", value)[0]
        elif level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            here = socket.inet_ntop(socket.AF_INET6, value[:16])
    return Heard(data, here, source[0].partition("%")[0], ttl, age_s)
