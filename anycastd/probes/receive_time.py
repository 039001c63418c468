"""When the kernel took a packet in: a reply that was in time is in time, however late our own loop reads it.

From then on the kernel stamps every packet of the machine (`netstamp_needed`), some tens of nanoseconds each.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress

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


def arrived_s(now_s: float, age: float | None, sent_s: float) -> float | None:
    """Return when (monotonic s) the kernel took a reply in, by its age; None if that is not known.

    What would have come before it was sent, or has not come yet, was stamped by a wall clock that was set meanwhile.
    """
    return None if age is None or not 0 <= age <= now_s - sent_s else now_s - age


class Stamping:
    """Keeps the kernel stamping while checks need it that open a socket for each probe.

    It stamps while any socket asks for it, and to begin and to end patches its own code: not for each probe.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now, self._users, self._true_from_s = now, 0, float("inf")
        self._sock: socket.socket | None = None

    def join(self) -> None:
        """Note a check that needs it. Where no socket is to be had, stamps are not believed."""
        self._users += 1
        if self._sock is None:
            with suppress(OSError):
                self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                turn_on(self._sock)
                self._true_from_s = self._now() + TRUE_AFTER_S

    def leave(self) -> None:
        """Note that a check is gone."""
        self._users -= 1
        if not self._users:
            self.close()

    def believed(self, age: float | None) -> float | None:
        """Return the age of a packet, None while stamps are not true yet."""
        return age if self._now() > self._true_from_s else None

    def close(self) -> None:
        """Close the socket."""
        sock, self._sock, self._true_from_s = self._sock, None, float("inf")
        if sock is not None:
            sock.close()
