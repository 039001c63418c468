"""A few packets a second of what comes in for some addresses, picked by the kernel at random.

A packet socket with a filter of ours in the kernel: it is open only while something is looked at, sees packets before
the packet filter drops them, leaves nothing in the kernel, and nobody's `nft flush ruleset` takes it away. Its cost is
bounded twice: by the probability that a packet is picked, and by a small buffer that drops what is too much.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Iterable, Sequence

from anycastd.errors import ActuatorTransient
from anycastd.model.address import Prefix

ETHERTYPES = {4: 0x0800, 6: 0x86DD}
SNAP_BYTES = 64
"""Enough for an IPv6 header and that of TCP."""
BUFFER_BYTES = 256 << 10
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
    """Open while there are targets. The calling thread's network namespace is looked into."""

    def __init__(self) -> None:
        self._sockets: dict[int, socket.socket] = {}
        self._wanted: tuple[frozenset[Prefix], float] = (frozenset(), 0.0)

    def look_at(self, targets: Sequence[Prefix], share: float) -> None:
        """Pick a share of the packets to the first MOST_TARGETS of these; none: close. ActuatorTransient if refused."""
        wanted = (frozenset(targets[:MOST_TARGETS]), share)
        if wanted == self._wanted:
            return
        try:
            self._open(wanted[0], share)
        except OSError as error:
            self.close()
            message = f"packets cannot be sampled: {error}"
            raise ActuatorTransient(message) from error
        self._wanted = wanted

    def _open(self, targets: frozenset[Prefix], share: float) -> None:
        versions = {target.version for target in targets}
        for version in self._sockets.keys() - versions:
            self._sockets.pop(version).close()
        for version in versions:
            lines = program(version, targets, share)
            if (opened := self._sockets.get(version)) is not None:
                _attach(opened, lines)
                continue
            # with protocol 0 it hears nothing until it is bound, which is behind the filter
            made = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)
            self._sockets[version] = made
            made.setblocking(False)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            _attach(made, lines)
            _bind(made, ETHERTYPES[version])

    def take(self) -> list[bytes]:
        """Return what was picked since the last time, from IP headers on; at most READ_AT_ONCE of each version."""
        found: list[bytes] = []
        for one in self._sockets.values():
            with contextlib.suppress(BlockingIOError):
                for _ in range(READ_AT_ONCE):
                    found.append(one.recv(SNAP_BYTES))
        return found

    def close(self) -> None:
        """Look at nothing."""
        for one in self._sockets.values():
            one.close()
        self._sockets, self._wanted = {}, (frozenset(), 0.0)


def _bind(made: socket.socket, ethertype: int) -> None:
    """Hear packets of a kind on every device; Python's own bind wants a device's name."""
    address = _ADDRESS.pack(socket.AF_PACKET, socket.htons(ethertype), 0, 0, 0, 0, bytes(8))
    if ctypes.CDLL(None, use_errno=True).bind(made.fileno(), address, len(address)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _attach(to: socket.socket, lines: Sequence[_Line]) -> None:
    code = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*line) for line in lines))
    to.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, _PROGRAM.pack(len(lines), ctypes.addressof(code)))
