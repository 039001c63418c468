"""One question and its answer: over UDP, over TCP, or over TCP after a truncated datagram."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass

from anycastd.model.dns import Transport, Truncated
from anycastd.model.probe import Why
from anycastd.probes import faults, receive_time
from anycastd.probes.attempt import Owner, Reactor
from anycastd.probes.dns.wire import DnsError, Message, Question, belongs, decode, encode_query
from anycastd.probes.receive_time import Stamping
from anycastd.probes.stream import Endpoint, StreamAttempt

READ_BYTES = 65537
STREAM_BYTES = 4096
"""Read at once over TCP, then others have their turn: of messages without content there are 2,000 in it."""
DATAGRAMS_AT_ONCE = 64
LAST_LOOKS = 8
"""As much as a socket holds: 212,992 bytes by default, some 280 small datagrams."""
LENGTH_BYTES = 2
Judge = Callable[[Message], tuple[Why, str]]


@dataclass(frozen=True, slots=True)
class Asking:
    """All of an exchange that is the same each time."""

    question: Question
    endpoint: Endpoint
    judge: Judge
    transport: Transport = Transport.UDP
    truncated: Truncated = Truncated.TCP
    recursion: bool = True
    stamping: Stamping | None = None
    """Where it matters when a datagram came, and not when it is read."""


class DnsExchange(StreamAttempt):
    """Asks once; `judge` says what the answer is worth.

    What does not answer our question (another id, question or sender) is passed over and counted, never judged.
    """

    __slots__ = ("asking", "datagram", "foreign", "id", "query", "received", "unsent")

    def __init__(self, owner: Owner, order: int, started_s: float, reactor: Reactor, asking: Asking) -> None:
        super().__init__(owner, order, started_s, reactor, asking.endpoint)
        self.asking = asking
        self.datagram = asking.transport is Transport.UDP
        self.foreign = 0
        self.id = int.from_bytes(os.urandom(2))
        self.query = encode_query(self.id, asking.question, recursion=asking.recursion)
        self.received = b""
        self.unsent = b""

    def start(self, now_s: float) -> None:
        """Send the question, or connect."""
        if not self.datagram:
            super().start(now_s)
            return
        try:
            sock = self.sock = self.endpoint.open_datagram()
            if self.asking.stamping is not None:
                receive_time.turn_on(sock)
            self.reactor.watch(sock.fileno(), self)
        except OSError as error:
            self.end(faults.of_opening(error.errno), faults.words(error.errno), now_s)
            return
        try:
            # connected, so that the kernel drops what others send, and tells of ICMP errors
            sock.connect(self.endpoint.address)
            sock.send(self.query)
        except OSError as error:
            self.end(faults.of_leaving(error.errno), faults.words(error.errno), now_s)

    def on_event(self, mask: int, now_s: float) -> None:
        """Read the answer."""
        if not self.datagram:
            super().on_event(mask, now_s)
            return
        for _ in range(DATAGRAMS_AT_ONCE):
            if self.over or not self.datagram or self.sock is None:
                return
            try:
                data, ancillary, _, _ = self.sock.recvmsg(READ_BYTES, receive_time.STAMP_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                self.fail(error.errno, now_s)
                return
            self._take(data, now_s, self._came_s(ancillary))
        if self.sock is not None:
            self.reactor.again(self.sock.fileno(), self, mask)

    def _came_s(self, ancillary: list[tuple[int, int, bytes]]) -> float | None:
        """Return when the kernel took a datagram in, None where that is not known."""
        if self.asking.stamping is None:
            return None
        # an age is from this very moment, not from when this turn of the loop began
        now_s, age_s = self.reactor.now(), self.asking.stamping.believed(receive_time.age_s(ancillary))
        return receive_time.arrived_s(now_s, age_s, self.started_s)

    def last_look(self) -> bool:
        """See whether the answer lies in the kernel, behind those of others."""
        for _ in range(LAST_LOOKS if self.datagram else 0):
            if not self.over:
                self.on_event(select.EPOLLIN, self.reactor.now())
        return self.over

    def on_connected(self, sock: socket.socket, mask: int, now_s: float) -> None:
        """Send the question behind its length."""
        self.unsent = len(self.query).to_bytes(LENGTH_BYTES) + self.query
        self.on_ready(sock, mask, now_s)

    def on_ready(self, sock: socket.socket, mask: int, now_s: float) -> None:
        """Send what is left, read what is there."""
        try:
            if self.unsent:
                self.unsent = self.unsent[sock.send(self.unsent) :]
            if mask & ~select.EPOLLOUT:
                data = sock.recv(STREAM_BYTES)
                if not data:
                    where = "in the middle of" if self.received else "without"
                    self.end(Why.BAD_ANSWER, f"closed {where} the answer", now_s)
                    return
                self._feed(data, now_s)
                if not self.over:
                    self.reactor.again(sock.fileno(), self, mask)
        except BlockingIOError:
            return
        except OSError as error:
            self.fail(error.errno, now_s)

    def _feed(self, data: bytes, now_s: float) -> None:
        self.received += data
        while len(self.received) >= LENGTH_BYTES and not self.over:
            end = LENGTH_BYTES + int.from_bytes(self.received[:LENGTH_BYTES])
            if len(self.received) < end:
                return
            message, self.received = self.received[LENGTH_BYTES:end], self.received[end:]
            self._take(message, now_s)

    def _take(self, data: bytes, now_s: float, came_s: float | None = None) -> None:
        if data[:2] != self.id.to_bytes(2):
            self.foreign += 1
            return
        try:
            message = decode(data)
        except DnsError as error:
            self.end(Why.BAD_ANSWER, f"not a DNS answer: {error}", now_s)
            return
        asked = f"{self.asking.question.kind.value} {self.asking.question.name}"
        if not belongs(message, self.id, self.asking.question):
            self.foreign += 1
        elif came_s is not None and came_s > self.deadline_s:
            # late is late, however much later our own loop reads it
            late_ms = (came_s - self.deadline_s) * 1000
            self.end(Why.TIMEOUT, f"{asked}: the answer came {late_ms:.0f} ms too late", came_s)
        elif message.truncated and self.datagram and self.asking.truncated is Truncated.TCP:
            self._ask_over_tcp(now_s)
        elif message.truncated:
            self.end(Why.BAD_ANSWER, f"{asked}: the answer is truncated", now_s)
        else:
            why, detail = self.asking.judge(message)
            self.end(why, detail, now_s if came_s is None else came_s)

    def _ask_over_tcp(self, now_s: float) -> None:
        self.close()
        self.datagram = False
        super().start(now_s)

    def doing(self) -> str:
        """Return what is being waited for."""
        if not self.datagram and not self.connected:
            return "connecting (TCP)"
        way = "UDP" if self.datagram else "TCP"
        passed = f"; {self.foreign} answers to other questions passed over" if self.foreign else ""
        asked = self.asking.question
        return f"{asked.kind.value} {asked.name}: no answer over {way}{passed}"
