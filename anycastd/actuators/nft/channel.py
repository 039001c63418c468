"""The kernel's netfilter by netlink, blocking: for one worker thread, inside the namespace of its choice.

Foreign transactions hold the kernel's lock for as long as they take, so nothing of this runs in the event loop.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

from anycastd.actuators.nft import wire
from anycastd.errors import ActuatorTransient, PacketError
from anycastd.model.nft import NftSet

NETLINK_NETFILTER = 12
SOL_NETLINK, NETLINK_CAP_ACK = 270, 10
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
BUFFER_BYTES = 16 << 20
READ_BYTES = 1 << 17
ANSWER_WITHIN_S = 5
DUMP_TRIES = 10
ONES_AT_ONCE = 256
CLONE_NEWNET = 0x40000000


class Refusal(NamedTuple):
    """What the kernel said to one message of a transaction, by its place; -1 when it is about the whole."""

    place: int
    code: int


def enter(netns: str) -> None:
    """Move the calling thread into a named network namespace; OSError when there is none."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.open(f"/run/netns/{netns}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(handle, CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), netns)
    finally:
        os.close(handle)


def open_netlink(receive_bytes: int = BUFFER_BYTES) -> socket.socket:
    """Return a netfilter socket in the calling thread's namespace."""
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    try:
        for force, plain in ((SO_SNDBUFFORCE, socket.SO_SNDBUF), (SO_RCVBUFFORCE, socket.SO_RCVBUF)):
            try:
                opened.setsockopt(socket.SOL_SOCKET, force, receive_bytes)
            except PermissionError:
                opened.setsockopt(socket.SOL_SOCKET, plain, receive_bytes)
        opened.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        opened.bind((0, 0))
    except OSError:
        opened.close()
        raise
    return opened


class Channel:
    """One socket for requests. OSError or ActuatorTransient when the kernel does not answer as it should."""

    def __init__(self) -> None:
        self._socket = open_netlink()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", ANSWER_WITHIN_S, 0))
        self._sequence = 1

    @property
    def port(self) -> int:
        """Return the number by which events name us as their cause."""
        return int(self._socket.getsockname()[0])

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _take(self, count: int) -> int:
        """Return the first of `count` sequence numbers."""
        first = self._sequence + 1
        self._sequence = first + count
        if self._sequence > 1 << 31:
            self._sequence, first = 1 + count, 1
        return first

    def transact(self, messages: Sequence[bytes]) -> list[Refusal]:
        """Run one transaction; return what was refused: nothing when all of it is in force."""
        first = self._take(len(messages) + 2)
        numbered = [wire.sequence_at(one, first + 1 + index) for index, one in enumerate(messages)]
        last = first + len(messages)
        flags = struct.unpack_from("=H", numbered[-1], 6)[0] | wire.NLM_F_ACK
        numbered[-1] = numbered[-1][:6] + struct.pack("=H", flags) + numbered[-1][8:]
        self._send(wire.batch(numbered, first))
        refused: list[Refusal] = []
        while True:
            for reply in wire.replies(self._receive()):
                if reply.type != wire.NLMSG_ERROR or not first <= reply.sequence <= last + 1:
                    continue
                place = reply.sequence - first - 1
                if reply.error:
                    refused.append(Refusal(place if 0 <= place < len(messages) else -1, reply.error))
                # the kernel answers in order, and the whole (its first number) before or instead of all else
                if reply.sequence == last or (refused and refused[-1].place < 0):
                    return refused

    def get(self, table: str, name: NftSet, keys: Sequence[bytes]) -> list[bytes]:
        """Return the datagrams with those of some elements that are there now."""
        return self.each([wire.encode_get(table, name, key) for key in keys], errno.ENOENT)

    def each(self, messages: Sequence[bytes], accepted: int) -> list[bytes]:
        """Send requests that are answered one by one; return the datagrams of answers that are no acknowledgements.

        OSError when one is refused with another errno than the `accepted`.
        """
        found: list[bytes] = []
        for start in range(0, len(messages), ONES_AT_ONCE):
            some = messages[start : start + ONES_AT_ONCE]
            first = self._take(len(some))
            self._send(b"".join(wire.sequence_at(one, first + at) for at, one in enumerate(some)))
            left = len(some)
            while left:
                data = self._receive()
                kind, sequence = wire.type_and_sequence(data)
                if first <= sequence < first + len(some):
                    left -= 1
                    if kind != wire.NLMSG_ERROR:
                        found.append(data)
                    else:
                        _raise_unless(next(wire.replies(data)), accepted)
        return found

    def dump(self, request: Callable[[int], bytes]) -> list[bytes]:
        """Return the datagrams of a dump that nothing changed under; empty when what is asked for is not there.

        `request` makes the message from its sequence number. ActuatorTransient when it is changed all the time.
        """
        for _ in range(DUMP_TRIES):
            sequence = self._take(1)
            self._send(request(sequence))
            found, torn = self._collect(sequence)
            if not torn:
                return found
        message = "a dump was torn by changes each time"
        raise ActuatorTransient(message)

    def _collect(self, sequence: int) -> tuple[list[bytes], bool]:
        found: list[bytes] = []
        torn = ended = False
        while not ended:
            data = self._receive()
            for reply in wire.replies(data):
                if reply.sequence != sequence:
                    continue
                torn = torn or bool(reply.flags & wire.NLM_F_DUMP_INTR)
                if reply.type == wire.NLMSG_ERROR:
                    _raise_unless(reply, errno.ENOENT)
                elif reply.type == wire.NLMSG_DONE and reply.error:
                    # it broke off: what it was about went meanwhile, or the kernel had no room for the rest
                    torn = True
                ended = ended or reply.type in (wire.NLMSG_ERROR, wire.NLMSG_DONE)
            found.append(data)
        return found, torn

    def ask(self, request: Callable[[int], bytes]) -> wire.Reply:
        """Return what answers one request that is no dump, an acknowledgement included; OSError when it is refused."""
        sequence = self._take(1)
        self._send(request(sequence))
        while True:
            for reply in wire.replies(self._receive()):
                if reply.sequence == sequence:
                    if reply.type == wire.NLMSG_ERROR:
                        _raise_unless(reply, 0)
                    return reply

    def _send(self, data: bytes) -> None:
        # what an earlier failure left unread is no answer to this
        with contextlib.suppress(BlockingIOError, PacketError):
            while self._socket.recv(READ_BYTES, socket.MSG_DONTWAIT):
                pass
        self._socket.send(data)

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(READ_BYTES)
        except BlockingIOError:
            message = f"the kernel did not answer within {ANSWER_WITHIN_S} s"
            raise ActuatorTransient(message) from None


def _raise_unless(reply: wire.Reply, accepted: int) -> None:
    if reply.error not in (0, accepted):
        raise OSError(reply.error, os.strerror(reply.error))
