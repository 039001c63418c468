"""A stream for log lines that never waits for its reader: a journal or a collector that hangs must not hold the loop.

Standard error is a socket of the journal under systemd, a pipe in a container. Either takes some hundred lines that
nobody reads, and then whoever writes waits: the event loop, with every decision. What finds no room is lost instead.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import select
import socket
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import TextIO

KEPT_BYTES = 256 * 1024
"""A thousand lines, for a reader that is only slow."""
AGAIN_S, DRAIN_S = 0.05, 0.5


def patient(stream: TextIO, lost: Callable[[int], None]) -> TextIO | PatientStream:
    """Return the stream, or what stands for it if it has a reader; `lost` is told how many lines were not taken."""
    try:
        descriptor = stream.fileno()
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISSOCK(mode):
            return PatientStream(os.dup(descriptor), lost, is_socket=True)
        if stat.S_ISFIFO(mode):
            # opened anew: not to wait is asked of what others share with us else
            own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            return PatientStream(own, lost, is_socket=False)
    except (OSError, ValueError):
        # no file at all, or one that only whoever started us may open
        return stream
    return stream


class PatientStream:
    """As much of a text stream as a log handler uses; each `write` is one line.

    What is not taken at once is kept, and offered again; what would be more than KEPT_BYTES is lost, as whole lines.
    """

    def __init__(self, descriptor: int, lost: Callable[[int], None], *, is_socket: bool) -> None:
        self._descriptor, self._lost = descriptor, lost
        self._socket = socket.socket(fileno=descriptor) if is_socket else None
        # threads log too; it is held for as long as a call takes that does not wait
        self._lock, self._kept = Lock(), bytearray()
        self._again: asyncio.TimerHandle | None = None
        # after the handlers' own end, with what was said last
        atexit.register(self.drain)

    def write(self, text: str) -> None:
        """Take a line."""
        line = text.encode("utf-8", "backslashreplace")
        with self._lock:
            if len(self._kept) + len(line) > KEPT_BYTES:
                self._lost(1)
            else:
                self._kept += line
            self._offer()

    def _offer(self) -> None:
        del self._kept[: self._taken()]
        if self._kept and self._again is None:
            # in another thread than a loop's: with the next line
            with suppress(RuntimeError):
                self._again = asyncio.get_running_loop().call_later(AGAIN_S, self._offer_again)

    def _offer_again(self) -> None:
        self._again = None
        with self._lock:
            self._offer()

    def _taken(self) -> int:
        """Return how much of what is kept was taken at once."""
        try:
            if self._socket is not None:
                return self._socket.send(self._kept, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) if self._kept else 0
            return os.write(self._descriptor, self._kept) if self._kept else 0
        except BlockingIOError:
            return 0
        except OSError:
            # nobody will ever read it
            self._lost(self._kept.count(b"\n"))
            return len(self._kept)

    def flush(self) -> None:
        """Do nothing: it is offered when it comes."""

    def drain(self) -> None:
        """Offer what is kept, for a moment: the process ends."""
        end_s = time.monotonic() + DRAIN_S
        room = select.poll()
        room.register(self._descriptor, select.POLLOUT)
        while self._kept and (left_s := end_s - time.monotonic()) > 0:
            room.poll(left_s * 1000)
            with self._lock:
                del self._kept[: self._taken()]

    def close(self) -> None:
        """Let go of the reader."""
        atexit.unregister(self.drain)
        if self._again is not None:
            self._again.cancel()
        if self._socket is not None:
            self._socket.close()
        else:
            os.close(self._descriptor)
