"""How many connections the kernel tracks of each EIP and path, by a ctnetlink dump.

Read by a thread and a socket of its own, so that no change of an EIP waits for it, and added up datagram by datagram
(32 KiB, 0.15 ms of Python): nothing of the dump is kept. The kernel is not asked to filter: it knows one value of some
bits of the mark, not "any path", and to ask for region after region costs more than the entries that it leaves out.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address

from anycastd.actuators.nft import channel, wire
from anycastd.actuators.nft.conntrack import CTA_IP_DST, CTA_MARK, CTA_TUPLE_IP, CTA_TUPLE_ORIG, GET, SUBSYSTEM
from anycastd.errors import ActuatorTransient, PacketError
from anycastd.model.address import Address
from anycastd.model.conntrack import ConnectionCounts

ENTRY = SUBSYSTEM << 8
RECEIVE_BYTES = 1 << 20
SPARE_BYTES = 256
"""What is behind a datagram, so that its last message can be looked at in the form of a longer one."""
MARK_BYTES = 4
PAUSE_AFTER = 1000

# size, type, head of the original tuple, of its destination, the destination, heads of reply tuple and mark, the mark
_FORM4, _FORM6 = struct.Struct("=IH14xI12xI4s28xI56xI4s"), struct.Struct("=IH14xI24xI16s28xI80xI4s")
_MARK_HEAD = 8 | CTA_MARK << 16
_HEADS4 = (52 | 0x8001 << 16, 8 | 2 << 16, 52 | 0x8002 << 16, _MARK_HEAD)
_HEADS6 = (76 | 0x8001 << 16, 20 | 4 << 16, 76 | 0x8002 << 16, _MARK_HEAD)


class Tally:
    """Adds up the entries of a dump by original destination and mark, of those whose mark has a region."""

    def __init__(self) -> None:
        self._found: Counter[bytes] = Counter()

    def add(self, data: bytes | bytearray, end: int) -> bool:
        """Take in a datagram of `end` bytes, behind which `data` has SPARE_BYTES more; return whether the dump ends.

        OSError with what the kernel refuses, PacketError for what makes no sense. Entries with ports (TCP, UDP) have
        one shape for each family and are cut by it, the others attribute by attribute.
        """
        at, keys = 0, list[bytes]()
        add, four, six = keys.append, _FORM4.unpack_from, _FORM6.unpack_from
        while at < end:
            is_four = data[at + 16] == socket.AF_INET
            size, kind, orig, to, destination, reply, mark_head, mark = (four if is_four else six)(data, at)
            if kind != ENTRY or not wire.HEADERS <= size <= end - at:
                self._found.update(keys)
                return _ends(bytes(data[at:end]))
            if (orig, to, reply, mark_head) != (_HEADS4 if is_four else _HEADS6):
                destination, mark = _destination_and_mark(bytes(data[at : at + size]))
            if mark[0]:
                add(destination + mark)
            at += (size + 3) & ~3
        self._found.update(keys)
        return False

    def counts(self, at_s: float, is_ours: Callable[[Address], bool]) -> ConnectionCounts:
        """Return what was added up of destinations that are ours; lets other threads run now and then."""
        by_eip, by_mark, ours = dict[Address, int](), dict[int, int](), dict[bytes, Address | None]()
        for number, (key, count) in enumerate(self._found.items(), 1):
            packed = key[:-MARK_BYTES]
            if packed not in ours:
                address = IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)
                ours[packed] = address if is_ours(address) else None
            if (eip := ours[packed]) is not None:
                mark = int.from_bytes(key[-MARK_BYTES:], "big")
                by_eip[eip] = by_eip.get(eip, 0) + count
                by_mark[mark] = by_mark.get(mark, 0) + count
            if number % PAUSE_AFTER == 0:
                time.sleep(0)
        return ConnectionCounts(at_s, by_eip, by_mark)


def _ends(data: bytes) -> bool:
    """Return whether the first message ends a dump; OSError or PacketError if it should not have come."""
    for reply in wire.replies(data):
        if reply.type in (wire.NLMSG_DONE, wire.NLMSG_ERROR):
            code = reply.error if reply.end - reply.start >= 4 else 0
            if code:
                raise OSError(code, os.strerror(code))
            return True
        break
    message = "a dump of connections with something else in it"
    raise PacketError(message)


def _destination_and_mark(message: bytes) -> tuple[bytes, bytes]:
    have = wire.values(message, wire.HEADERS, len(message))
    orig = have.get(CTA_TUPLE_ORIG, b"")
    ends = wire.values(orig, 0, len(orig)).get(CTA_TUPLE_IP, b"")
    version = 4 if message[16] == socket.AF_INET else 6
    destination = wire.values(ends, 0, len(ends)).get(CTA_IP_DST[version], b"")
    # a kernel without marks, or an entry of something that is no IP
    mark = have.get(CTA_MARK, b"") if len(destination) in (4, 16) else b""
    return destination, mark or bytes(MARK_BYTES)


class ConnectionReader:
    """Counts when asked to. `netns` None: where the process is. `cost_s`: the processor time of the last count."""

    def __init__(self, netns: str | None = None) -> None:
        self._netns, self._entered = netns, False
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="connections")
        self.cost_s = 0.0

    async def count(self, is_ours: Callable[[Address], bool]) -> ConnectionCounts:
        """Return how many connections there are; ActuatorTransient if that cannot be told now.

        `is_ours` tells EIPs from what others mark, and is asked in the thread.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._count, is_ours)
        except (OSError, PacketError) as error:
            message = f"connections not counted: {error}"
            raise ActuatorTransient(message) from error

    def _count(self, is_ours: Callable[[Address], bool]) -> ConnectionCounts:
        begun_s = time.thread_time()
        try:
            if self._netns is not None and not self._entered:
                channel.enter(self._netns)
                self._entered = True
            at_s, tally = time.monotonic(), Tally()
            with channel.open_netlink(RECEIVE_BYTES) as kernel:
                kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", channel.ANSWER_WITHIN_S, 0))
                kernel.send(wire.message(SUBSYSTEM << 8 | GET, wire.NLM_F_REQUEST | wire.NLM_F_DUMP, 1, b"", family=0))
                data = bytearray(channel.READ_BYTES + SPARE_BYTES)
                while not tally.add(data, kernel.recv_into(data, channel.READ_BYTES)):
                    pass
            return tally.counts(at_s, is_ours)
        finally:
            self.cost_s = time.thread_time() - begun_s

    def close(self) -> None:
        """Let the thread end when its last count is done."""
        self._pool.shutdown(wait=False, cancel_futures=True)
