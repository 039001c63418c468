"""Netlink requests one after another, each waiting for its answer: for a thread of its own, not for the event loop."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable

from anycastd.actuators.dataplane import attributes as a
from anycastd.errors import ActuatorRejected, ActuatorTransient

SOL_NETLINK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 270, 11, 12
ANSWER_WITHIN_S = 5.0
_RECEIVE_BYTES = 1 << 18
_DUMP_TRIES = 10
_NLM_F_DUMP_INTR = 0x010
_STATUS, _LENGTH = struct.Struct("=i"), struct.Struct("=I")


class RefusedError(ActuatorRejected):
    """The kernel said no. `code` is an errno; `said` its own words, where it had some."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(f"{errno.errorcode.get(code, str(code))}: {said or os.strerror(code)}")
        self.code, self.said = code, said


class Requests:
    """One netlink socket. A lost answer closes it; the next request opens another."""

    def __init__(self, protocol: int) -> None:
        self._protocol = protocol
        self._socket: socket.socket | None = None
        self._sequence = 0
        self._torn = False

    def ask(self, encode: Callable[[int], bytes], *, messages: int = 1) -> list[bytes]:
        """Send what `encode` makes for a sequence number (and the following, for several messages sent at once).

        Return the bodies of all answers; raise RefusedError for the first refusal, ActuatorTransient without an answer.
        """
        first = self._sequence + 1
        self._sequence += messages
        open_ = self._opened()
        try:
            open_.send(encode(first))
            return self._answers(open_, first, messages)
        except OSError as error:
            self.close()
            message = f"netlink: {error!r}"
            raise ActuatorTransient(message) from error

    def dump(self, encode: Callable[[int], bytes]) -> list[bytes]:
        """Return a whole dump, asked for again while it was torn by a change; ActuatorTransient if it always was.

        Half of one would be taken for all there is: what it left out would be made once more.
        """
        for _ in range(_DUMP_TRIES):
            self._torn = False
            found = self.ask(encode)
            if not self._torn:
                return found
        message = "netlink: a dump was torn by changes each time"
        raise ActuatorTransient(message)

    def _opened(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, self._protocol)
            self._socket.settimeout(ANSWER_WITHIN_S)
            self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
            self._socket.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
            self._socket.bind((0, 0))
        return self._socket

    def _answers(self, open_: socket.socket, first: int, messages: int) -> list[bytes]:
        bodies: list[bytes] = []
        refused: RefusedError | None = None
        left = set(range(first, first + messages))
        while left:
            data, at = open_.recv(_RECEIVE_BYTES), 0
            while at + a.HEADER.size <= len(data):
                size, kind, flags, sequence, _ = a.HEADER.unpack_from(data, at)
                body = data[at + a.HEADER.size : at + size]
                at += (size + 3) & ~3
                if sequence not in range(first, first + messages):
                    continue
                self._torn = self._torn or bool(flags & _NLM_F_DUMP_INTR)
                if kind in (a.NLMSG_DONE, a.NLMSG_ERROR):
                    left.discard(sequence)
                    refused = refused or _refusal(body, flags, ended=kind == a.NLMSG_DONE)
                elif kind != a.NLMSG_NOOP:
                    bodies.append(body)
        if refused is not None:
            raise refused
        return bodies

    def close(self) -> None:
        """Close the socket; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _refusal(body: bytes, flags: int, *, ended: bool) -> RefusedError | None:
    """Return the error that an acknowledgement or the end of a dump tells of, in the kernel's own words."""
    (status,) = _STATUS.unpack_from(body)
    if status >= 0:
        return None
    at = _STATUS.size
    if not ended:
        # the request that it is about follows, or only its header
        (length,) = _LENGTH.unpack_from(body, at)
        at += a.HEADER.size if flags & a.NLM_F_CAPPED else (length + 3) & ~3
    words = a.parse(body, at) if flags & a.NLM_F_ACK_TLVS else {}
    return RefusedError(-status, a.word(words.get(a.NLMSGERR_ATTR_MSG)))
