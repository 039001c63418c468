"""Few sockets for many targets: one per family and source address.

A ping socket (SOCK_DGRAM) needs no privilege but `net.ipv4.ping_group_range`, and gets only replies to its identifier.
Else a raw socket (CAP_NET_RAW), which gets every reply of this host: a kernel filter lets only
our identifier through, and the cookie in the payload tells our own from another daemon's with the same.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
import select
import socket
import struct
from typing import Protocol

from anycastd.model.address import Address
from anycastd.probes import faults, receive_time
from anycastd.probes.attempt import Reactor
from anycastd.probes.icmp import packet
from anycastd.probes.icmp.filter import attach

IP_RECVERR, IPV6_RECVERR = 11, 25
SOL_RAW, ICMP_FILTER, ICMP6_FILTER = 255, 1, 1
# both filters have a bit set for each type that is NOT wanted
_ONLY_REPLIES_V4 = struct.pack("=I", ~(1 << 0) & 0xFFFFFFFF)
_ONLY_REPLIES_V6 = struct.pack("=8I", *(0xFFFFFFFF ^ ((1 << 1) if word == 4 else 0) for word in range(8)))
_EXTENDED_ERROR = struct.Struct("=IBBBBII")
RECEIVE_BUFFER_BYTES = 1 << 20
PACKETS_PER_EVENT = 64
PACKETS_PER_LOOK = 4096
"""Some 10 ms. As long as probes wait, no more can have come than there are of them, and what a flood pretends."""
MAX_PACKET_BYTES = 65536
SEQUENCES = 1 << 16

_Key = tuple[int, Address | None]


class Waiting(Protocol):
    """A probe that waits for its reply."""

    def answered(self, now_s: float, age_s: float | None) -> None:
        """Learn that the reply is there, and how long the kernel has had it, if that is known."""
        ...

    def refused(self, detail: str, now_s: float) -> None:
        """Learn that an ICMP error came instead."""
        ...


class EchoSocket:
    """Sends requests and finds the probe that a reply belongs to by sequence, sender and payload."""

    def __init__(self, reactor: Reactor, version: int, source: Address | None) -> None:
        self._reactor, self._version, self._source = reactor, version, source
        self._cookie = secrets.token_bytes(8)
        self._identifier = secrets.randbelow(1 << 16)
        self._sock, self._raw = open_echo(version, source, self._identifier)
        self._sequence = self._serial = 0
        self._waiting: dict[int, tuple[Waiting, str, bytes]] = {}
        self._stamped_s = reactor.now() + receive_time.TRUE_AFTER_S
        try:
            reactor.watch(self._sock.fileno(), self, select.EPOLLIN)
        except OSError:
            self._sock.close()
            raise

    def send(self, waiting: Waiting, target: str, payload_bytes: int) -> int:
        """Send a request; return the sequence to give to `forget`. Raise OSError: nothing has left."""
        if len(self._waiting) == SEQUENCES:
            raise OSError(errno.ENOBUFS, "all sequence numbers are in use")
        self._serial += 1
        payload = (self._cookie + self._serial.to_bytes(8, "big"))[:payload_bytes].ljust(payload_bytes, b"a")
        sequence = self._free_sequence()
        data = packet.request(self._version, self._identifier, sequence, payload)
        try:
            self._sock.sendto(data, (target, 0))
        except OSError:
            # the socket is shared: this may be another target's ICMP error, which the kernel hands to the next call
            self._take_errors(self._reactor.now())
            self._sock.sendto(data, (target, 0))
        self._waiting[sequence] = (waiting, target, payload)
        return sequence

    def forget(self, sequence: int) -> None:
        """Expect no reply to this sequence any more."""
        self._waiting.pop(sequence, None)

    def source_is_gone(self) -> bool:
        """Return whether the source address is no longer ours; sendto() then says the same as without a route."""
        if self._source is None:
            return False
        family = socket.AF_INET if self._version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_DGRAM) as trial:
            try:
                trial.bind((str(self._source), 0))
            except OSError as error:
                return error.errno == errno.EADDRNOTAVAIL
        return False

    def on_event(self, mask: int, now_s: float) -> None:
        """Take replies and ICMP errors in; level-triggered, so that a flood cannot hold the loop."""
        if mask & select.EPOLLERR:
            self._take_errors(now_s)
        self._read(PACKETS_PER_EVENT)

    def look(self) -> None:
        """Take in what has come, before somebody is told that nothing did."""
        self._read(PACKETS_PER_LOOK)

    def _read(self, most: int) -> None:
        for _ in range(most):
            try:
                data, ancillary, _, sender = self._sock.recvmsg(MAX_PACKET_BYTES, receive_time.STAMP_BYTES)
            except OSError:
                return
            if self._raw and self._version == 4:
                data = packet.without_ipv4_header(data)
            echo = packet.reply(self._version, data)
            if echo is not None:
                self._answered(echo, sender[0], receive_time.age_s(ancillary))

    def broke(self, now_s: float) -> None:
        """Go on: one packet that we failed on is no reason to lose the others."""

    def close(self) -> None:
        """Close the socket; nothing may be waiting."""
        self._reactor.forget(self._sock.fileno())
        self._sock.close()

    def _free_sequence(self) -> int:
        while True:
            self._sequence = (self._sequence + 1) % SEQUENCES
            if self._sequence not in self._waiting:
                return self._sequence

    def _is_ours(self, echo: packet.Echo) -> bool:
        # a ping socket's identifier is the kernel's own, and is matched by it
        return not self._raw or echo.identifier == self._identifier

    def _answered(self, echo: packet.Echo, sender: str, age_s: float | None) -> None:
        known = self._waiting.get(echo.sequence)
        if known is not None and self._is_ours(echo) and known[1:] == (sender, echo.payload):
            now_s = self._reactor.now()
            known[0].answered(now_s, age_s if now_s > self._stamped_s else None)

    def _take_errors(self, now_s: float) -> None:
        for _ in range(PACKETS_PER_EVENT):
            try:
                data, control, _, destination = self._sock.recvmsg(2048, 512, socket.MSG_ERRQUEUE)
            except OSError:
                break
            echo = packet.quoted(self._version, data)
            if echo is None or not self._is_ours(echo):
                continue
            known = self._waiting.get(echo.sequence)
            quote = min(len(echo.payload), 16)
            if known is not None and known[1] == destination[0] and known[2][:quote] == echo.payload[:quote]:
                number = _error_number(control)
                if number is not None:
                    known[0].refused(faults.words(number), now_s)
        with contextlib.suppress(OSError):
            self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


class EchoSockets:
    """Opens each socket when it is first needed, and closes it with the last check that uses it."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._users: dict[_Key, int] = {}
        self._open: dict[_Key, EchoSocket] = {}

    def join(self, key: _Key) -> None:
        """Note a check that uses this family and source."""
        self._users[key] = self._users.get(key, 0) + 1

    def leave(self, key: _Key) -> None:
        """Note that a check is gone."""
        self._users[key] -= 1
        if not self._users[key]:
            del self._users[key]
            if (sock := self._open.pop(key, None)) is not None:
                sock.close()

    def get(self, key: _Key) -> EchoSocket:
        """Return the socket. Raise OSError; the next call tries anew."""
        sock = self._open.get(key)
        if sock is None:
            sock = self._open[key] = EchoSocket(self._reactor, *key)
        return sock

    def close(self) -> None:
        """Close all."""
        for sock in self._open.values():
            sock.close()
        self._open.clear()


def open_echo(version: int, source: Address | None, identifier: int) -> tuple[socket.socket, bool]:
    """Return a bound socket, and whether it is raw; a ping socket has an identifier of the kernel's. Raise OSError."""
    try:
        sock, raw = _make(version, socket.SOCK_DGRAM), False
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EPROTONOSUPPORT):
            raise
        sock, raw = _make(version, socket.SOCK_RAW), True
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        receive_time.turn_on(sock)
        if version == 4:
            sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        if raw and version == 4:
            sock.setsockopt(SOL_RAW, ICMP_FILTER, _ONLY_REPLIES_V4)
        elif raw:
            sock.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, _ONLY_REPLIES_V6)
        if raw:
            attach(sock, version, identifier)
        if source is not None:
            sock.bind((str(source), 0))
    except OSError:
        sock.close()
        raise
    return sock, raw


def _make(version: int, kind: int) -> socket.socket:
    family, protocol = (
        (socket.AF_INET, socket.IPPROTO_ICMP) if version == 4 else (socket.AF_INET6, socket.IPPROTO_ICMPV6)
    )
    return socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)


def _error_number(control: list[tuple[int, int, bytes]]) -> int | None:
    """Return the errno of an ICMP error, None for what says nothing of the target (too big, of this machine)."""
    for level, kind, data in control:
        if (level, kind) in ((socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR)):
            number: int = _EXTENDED_ERROR.unpack_from(data)[0]
            return None if number == errno.EMSGSIZE else number
    return None
