"""When the kernel took a packet in: a reply that was in time is in time, however late our own loop reads it.

From then on the kernel stamps every packet of the machine (`netstamp_needed`), some tens of nanoseconds each.
"""

from __future__ import annotations

import socket
import struct
import time

SO_TIMESTAMPNS = 35
STAMP_BYTES = 64
"""Room for one stamp beside a packet."""
TRUE_AFTER_S = 1.0
"""Until the kernel stamps packets as they come, a packet gets the time at which it is read."""
_TIMESPEC = struct.Struct("@qq")


def turn_on(sock: socket.socket) -> None:
    """Have packets of this socket stamped; raise OSError."""
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)


def age_s(ancillary: list[tuple[int, int, bytes]]) -> float | None:
    """Return how long (s) a packet lay in the kernel until now, None if it bears no stamp.

    Stamps are of the wall clock. One that was set meanwhile makes this wrong, even negative: the caller bounds it.
    """
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack_from(value)
            return time.time() - float(seconds + nanoseconds / 1e9)
    return None
