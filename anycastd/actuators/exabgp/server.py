"""Our side of the unix socket that the bridge connects to."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path

SLICE_S = 0.002
"""How long lines are worked off before others get their turn: a dump may have tens of thousands."""
PAUSE_ABOVE = 20_000
RESUME_BELOW = 2_000
BACKLOG = 8


class Connection(asyncio.Protocol):
    """One bridge: its lines come one by one, in slices of time."""

    def __init__(self, on_line: Callable[[Connection, str], None], on_lost: Callable[[Connection], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_line, self._on_lost = on_line, on_lost
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._lines: deque[bytes] = deque()
        self._paused = self._scheduled = self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Cut into lines."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._lines += lines
        if self._transport is not None and len(self._lines) > PAUSE_ABOVE and not self._paused:
            self._transport.pause_reading()
            self._paused = True
        self._work()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell, once, that nothing more comes."""
        if not self.lost:
            self.lost = True
            self._lines.clear()
            self._on_lost(self)

    def write(self, data: bytes) -> None:
        """Send to the bridge; what cannot be sent is lost, as the connection is."""
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Close our side; `on_lost` is not called."""
        self.lost = True
        self._lines.clear()
        if self._transport is not None:
            self._transport.close()

    def _work(self) -> None:
        self._scheduled = False
        end_s = self._loop.time() + SLICE_S
        while self._lines and not self.lost:
            self._on_line(self, self._lines.popleft().decode("ascii", "replace"))
            if self._loop.time() > end_s:
                break
        if self._paused and len(self._lines) < RESUME_BELOW and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        if self._lines and not self._scheduled and not self.lost:
            self._scheduled = True
            self._loop.call_soon(self._work)


async def listen(path: Path, group: int, connection: Callable[[], Connection]) -> asyncio.Server:
    """Listen on a socket that we and one group may use; raise OSError."""
    listener = _bind(path, group)
    try:
        return await asyncio.get_running_loop().create_unix_server(connection, sock=listener, backlog=BACKLOG)
    except OSError:
        listener.close()
        raise


def _bind(path: Path, group: int) -> socket.socket:
    # the caller holds the lock, so a socket that is already there is a dead daemon's
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        if group != os.getegid():
            os.chown(path, -1, group)
        path.chmod(0o660)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
