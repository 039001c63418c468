"""A few packets a second of what comes in for some addresses, picked by the kernel at random.

A packet socket with a filter of ours in the kernel: it hears only in windows and only while something is looked at,
sees packets before the packet filter drops them, leaves nothing in the kernel, and no `nft flush ruleset` takes it
away.
Its cost is bounded three times: by the windows (a packet that passes one costs half a microsecond), by the probability
that it is picked, and by a small buffer that drops what is too much.

To begin and to end to hear waits for all processors, milliseconds: that is for a thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

from anycastd.errors import ActuatorTransient
from anycastd.model.address import Prefix

ETHERTYPES = {4: 0x0800, 6: 0x86DD}
NOBODYS = 0x88B5
"""For experiments (IEEE 802): whoever hears that hears nothing. Bound to 0 a socket would go on as it was."""
SNAP_BYTES = 64
"""Enough for an IPv6 header and that of TCP."""
BUFFER_BYTES = 256 << 10
WINDOW_S = 0.1
MOST_TARGETS = 64
READ_AT_ONCE = 400
SO_ATTACH_FILTER = 26
_DESTINATION_AT = {4: 16, 6: 24}
_RANDOM = 0xFFFFF000 + 56
"""SKF_AD_OFF + SKF_AD_RANDOM (linux/filter.h): a load from there gives a random number."""
_LOAD, _AND, _JUMP_EQUAL, _JUMP_GREATER, _RETURN = 0x20, 0x54, 0x15, 0x25, 0x06
_INSTRUCTION, _PROGRAM = struct.Struct("=HBBI"), struct.Struct("@HP")
_ADDRESS = struct.Struct("=HHiHBB8s")
"""struct sockaddr_ll: family, protocol, device, and what a receiver leaves empty."""
_Line = tuple[int, int, int, int]


def program(version: int, targets: Iterable[Prefix], share: float) -> list[_Line]:
    """Return the filter: of packets to the targets of a version, a share (0 to 1) is picked, cut to SNAP_BYTES."""
    threshold = min(max(int(share * 0xFFFFFFFF), 0), 0xFFFFFFFF)
    # the dice first: they are cheaper than many comparisons
    lines: list[_Line] = [(_LOAD, 0, 0, _RANDOM), (_JUMP_GREATER, 0, 1, threshold), (_RETURN, 0, 0, 0)]
    for target in targets:
        if target.version == version:
            lines += _matches(target)
    return [*lines, (_RETURN, 0, 0, 0)]


def _matches(target: Prefix) -> list[_Line]:
    """Return lines that pick a packet to the target, and go on behind themselves for any other."""
    at, words = _DESTINATION_AT[target.version], target.max_prefixlen // 32
    network, mask = target.network_address.packed, target.netmask.packed
    checks: list[_Line] = []
    for number in range(words):
        wanted = int.from_bytes(network[4 * number : 4 * number + 4], "big")
        bits = int.from_bytes(mask[4 * number : 4 * number + 4], "big")
        if not bits:
            # a prefix's last words may be anything
            break
        checks += [(_LOAD, 0, 0, at + 4 * number), (_AND, 0, 0, bits), (_JUMP_EQUAL, 0, 0, wanted)]
    lines: list[_Line] = []
    for number, (code, _, _, value) in enumerate(checks):
        # from a comparison that fails to behind the return
        beyond = len(checks) - number if code == _JUMP_EQUAL else 0
        lines.append((code, 0, beyond, value))
    return [*lines, (_RETURN, 0, 0, SNAP_BYTES)]


class PacketSample:
    """Open while there are targets, in the calling thread's namespace; hears for `window_s` after each `take`."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self.window_s = window_s
        self._sockets: dict[int, socket.socket] = {}
        self._wanted: tuple[frozenset[Prefix], float] = (frozenset(), 0.0)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sample")
        self._window: Future[None] | None = None
        self._enough = Event()

    def look_at(self, targets: Sequence[Prefix], share: float) -> None:
        """Pick a share of the packets to the first MOST_TARGETS of these; none: close. ActuatorTransient if refused."""
        wanted = (frozenset(targets[:MOST_TARGETS]), share)
        if wanted == self._wanted:
            return
        try:
            self._open(wanted[0], share)
        except OSError as error:
            self._let_go(tuple(self._sockets))
            self._wanted = (frozenset(), 0.0)
            message = f"packets cannot be sampled: {error}"
            raise ActuatorTransient(message) from error
        self._wanted = wanted
        self._hear()

    def _open(self, targets: frozenset[Prefix], share: float) -> None:
        versions = {target.version for target in targets}
        self._let_go(tuple(self._sockets.keys() - versions))
        for version in versions:
            if version not in self._sockets:
                # with protocol 0 it hears nothing until it is bound, which is behind the filter
                made = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)
                self._sockets[version] = made
                made.setblocking(False)
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            _attach(self._sockets[version], program(version, targets, share))

    def _let_go(self, versions: Sequence[int]) -> None:
        gone = [self._sockets.pop(version) for version in versions]
        if gone:
            self._enough.set()
            self._thread.submit(_close, gone)

    def _hear(self) -> None:
        """Hear for a window, unless one is open."""
        if self._sockets and (self._window is None or self._window.done()):
            self._enough.clear()
            self._window = self._thread.submit(_hear, dict(self._sockets), self._enough, self.window_s)

    def take(self) -> list[bytes]:
        """Return what was picked since the last time, from IP headers on; at most READ_AT_ONCE of each version."""
        found: list[bytes] = []
        for one in self._sockets.values():
            with contextlib.suppress(BlockingIOError):
                for _ in range(READ_AT_ONCE):
                    found.append(one.recv(SNAP_BYTES))
        self._hear()
        return found

    def close(self) -> None:
        """Look at nothing any more."""
        self._let_go(tuple(self._sockets))
        self._thread.shutdown(wait=False)


def _hear(sockets: Mapping[int, socket.socket], enough: Event, window_s: float) -> None:
    for version, one in sockets.items():
        _bind(one, ETHERTYPES[version])
    enough.wait(window_s)
    for one in sockets.values():
        _bind(one, NOBODYS)


def _close(sockets: Sequence[socket.socket]) -> None:
    for one in sockets:
        one.close()


def _bind(made: socket.socket, ethertype: int) -> None:
    """Hear packets of a kind on every device; Python's own bind wants a device's name."""
    address = _ADDRESS.pack(socket.AF_PACKET, socket.htons(ethertype), 0, 0, 0, 0, bytes(8))
    if ctypes.CDLL(None, use_errno=True).bind(made.fileno(), address, len(address)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _attach(to: socket.socket, lines: Sequence[_Line]) -> None:
    code = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*line) for line in lines))
    to.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, _PROGRAM.pack(len(lines), ctypes.addressof(code)))
