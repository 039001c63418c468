"""A TCP connection attempt: what tcp, http, tls and dns share."""

from __future__ import annotations

import errno
import select
import socket
import struct

from anycastd.model.address import Address
from anycastd.probes import faults
from anycastd.probes.attempt import Attempt, Owner, Reactor

IP_BIND_ADDRESS_NO_PORT = 24
# Closing with RST: no TIME_WAIT here (at 10,000 probes a second 600,000 sockets, and their ports), none at the target
# either, and one packet in place of three. What was wanted has been read before, so nothing is lost by it.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_FAILED = select.EPOLLERR | select.EPOLLHUP


class Endpoint:
    """Where to connect to, and from which address."""

    __slots__ = ("address", "family", "source")

    def __init__(self, target: Address, port: int, source: Address | None) -> None:
        self.family = socket.AF_INET if target.version == 4 else socket.AF_INET6
        self.address = (str(target), port)
        self.source = None if source is None else (str(source), 0)

    def open(self) -> socket.socket:
        """Return a non-blocking socket, bound to the source address. Raise OSError."""
        sock = socket.socket(self.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            if self.source is not None:
                # the port is chosen at connect(), where only the whole 4-tuple must be free
                sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
                sock.bind(self.source)
        except OSError:
            sock.close()
            raise
        return sock

    def open_datagram(self) -> socket.socket:
        """Return a non-blocking UDP socket, bound to the source address, not connected yet. Raise OSError."""
        sock = socket.socket(self.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            if self.source is not None:
                sock.bind(self.source)
        except OSError:
            sock.close()
            raise
        return sock


class StreamAttempt(Attempt):
    """Connects; a subclass goes on in `on_connected` and `on_ready`."""

    __slots__ = ("connected", "endpoint", "reactor", "sock")

    def __init__(self, owner: Owner, order: int, started_s: float, reactor: Reactor, endpoint: Endpoint) -> None:
        super().__init__(owner, order, started_s)
        self.reactor, self.endpoint = reactor, endpoint
        self.sock: socket.socket | None = None
        self.connected = False

    def start(self, now_s: float) -> None:
        """Open a socket and connect."""
        try:
            sock = self.sock = self.endpoint.open()
            self.reactor.watch(sock.fileno(), self)
            number = sock.connect_ex(self.endpoint.address)
        except OSError as error:
            self.end(faults.of_opening(error.errno), faults.words(error.errno), now_s)
            return
        if number not in (0, errno.EINPROGRESS):
            self.end(faults.of_leaving(number), faults.words(number), now_s)

    def on_event(self, mask: int, now_s: float) -> None:
        """Connect to the end, then let the subclass go on."""
        sock = self.sock
        if sock is None:
            return
        if not self.connected:
            if mask & _FAILED:
                number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if number:
                    self.fail(number, now_s)
                    return
            if not mask & select.EPOLLOUT:
                return
            self.connected = True
            self.on_connected(sock, mask, now_s)
        else:
            self.on_ready(sock, mask, now_s)

    def on_connected(self, sock: socket.socket, mask: int, now_s: float) -> None:
        """Go on: the connection stands."""
        raise AssertionError(sock)

    def on_ready(self, sock: socket.socket, mask: int, now_s: float) -> None:
        """Go on: there is something to read, or room to write."""

    def doing(self) -> str:
        """Return what is being waited for."""
        return "connecting"

    def fail(self, number: int | None, now_s: float) -> None:
        """End with an error that came from the network."""
        self.end(faults.of_answer(number), faults.words(number), now_s)

    def close(self) -> None:
        """Close the socket."""
        sock, self.sock = self.sock, None
        if sock is not None:
            self.reactor.forget(sock.fileno())
            try:  # noqa: SIM105
                sock.close()
            except OSError:
                # a reset that came meanwhile; `suppress` would cost each probe ten times as much
                pass
