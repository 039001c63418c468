"""Frames over a socket pair, both ends on an event loop: written whole, whatever the socket takes at a time."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

_HEAD = struct.Struct("=I")
READ_BYTES = 16384
"""Read at once: some 150 results, which are taken in within about 3 ms."""
MAX_FRAME_BYTES = 64 << 20


class FrameError(ValueError):
    """The other end said something that is no frame."""


class Frames:
    """Cuts what was read into frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take what was read; return the frames that are whole now. Raise FrameError for one of no sane length."""
        buffer, at, found = self._rest + data, 0, []
        while len(buffer) - at >= _HEAD.size:
            (size,) = _HEAD.unpack_from(buffer, at)
            if size > MAX_FRAME_BYTES:
                message = f"a frame of {size} bytes"
                raise FrameError(message)
            if len(buffer) - at - _HEAD.size < size:
                break
            at += _HEAD.size
            found.append(buffer[at : at + size])
            at += size
        self._rest = buffer[at:]
        return found


class Channel:
    """One end. `lost` is called once, when the other end is gone or talks nonsense; never after `close`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        heard: Callable[[bytes], None],
        lost: Callable[[], None],
    ) -> None:
        self._loop, self._sock, self._heard, self._lost = loop, sock, heard, lost
        self._frames, self._unsent, self._open, self._writing = Frames(), bytearray(), True, False
        self._listening = True
        sock.setblocking(False)
        loop.add_reader(sock.fileno(), self.read)

    @property
    def unsent(self) -> int:
        """Return how many bytes wait for the other end to read."""
        return len(self._unsent)

    def send(self, body: bytes) -> None:
        """Send a frame, now or when there is room."""
        self._unsent += _HEAD.pack(len(body)) + body
        if not self._writing:
            self._write()

    def read(self) -> None:
        """Take in what is there, a piece of it."""
        if not self._open:
            return
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        try:
            frames = self._frames.feed(data) if data else None
        except FrameError:
            frames = None
        if frames is None:
            self._end()
            return
        for frame in frames:
            if self._open:
                self._heard(frame)

    def listen(self, wanted: bool) -> None:
        """Read what comes, or leave it to the other end until later."""
        if not self._open or wanted == self._listening:
            return
        self._listening = wanted
        if wanted:
            self._loop.add_reader(self._sock.fileno(), self.read)
        else:
            self._loop.remove_reader(self._sock.fileno())

    def close(self) -> None:
        """Let go, silently."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
            self._sock.close()

    def _write(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._sock.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            # its end is seen where it is read
            self._unsent.clear()
        self._watch(bool(self._unsent))

    def _watch(self, wanted: bool) -> None:
        if wanted == self._writing:
            return
        self._writing = wanted
        if wanted:
            self._loop.add_writer(self._sock.fileno(), self._write)
        else:
            self._loop.remove_writer(self._sock.fileno())

    def _end(self) -> None:
        self.close()
        self._lost()
