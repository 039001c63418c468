"""Tracked connections by ctnetlink: forgetting some, and how full the table is."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator
from functools import partial

from anycastd.actuators.nft import wire
from anycastd.actuators.nft.channel import Channel
from anycastd.model.address import Address
from anycastd.model.conntrack import ConntrackStats
from anycastd.model.eip import FlushConnections

SUBSYSTEM = 1
GET, DELETE, GET_STATS_CPU, GET_STATS = 1, 2, 4, 5
CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_MARK, CTA_MARK_MASK, CTA_FILTER = 1, 2, 8, 21, 25
CTA_TUPLE_IP = 1
CTA_IP_DST = {4: 2, 6: 4}
FILTER_IP_DST = 1 << 1
CTA_STATS_INSERT_FAILED, CTA_STATS_DROP, CTA_STATS_EARLY_DROP = 9, 10, 11
CTA_STATS_GLOBAL_ENTRIES, CTA_STATS_GLOBAL_MAX_ENTRIES = 1, 2
FAMILIES = {4: int(socket.AF_INET), 6: int(socket.AF_INET6)}
SIDES = (CTA_TUPLE_ORIG, CTA_TUPLE_REPLY)
NOT_KNOWN_TO_OLD_KERNELS = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOENT})


def flush(channel: Channel, what: FlushConnections) -> None:
    """Make the kernel forget connections; OSError or ActuatorTransient if it did not.

    With an address those that were opened to it, and those that it opened (their answers go to it).
    """
    if what.address is None:
        channel.ask(lambda sequence: _request(DELETE, wire.NLM_F_ACK, sequence, _marked(what)))
        return
    address = what.address
    for side in SIDES:
        try:
            channel.ask(partial(_delete_to, what, address, side))
        except OSError as error:
            if error.errno not in NOT_KNOWN_TO_OLD_KERNELS:
                raise
            flush_one_by_one(channel, what, address)
            return


def flush_one_by_one(channel: Channel, what: FlushConnections, address: Address) -> None:
    """Do the same on a kernel that cannot choose by address itself (before Linux 6.9)."""
    family = FAMILIES[address.version]
    datagrams = channel.dump(lambda sequence: _request(GET, wire.NLM_F_DUMP, sequence, _marked(what), family=family))
    for tuple_orig in _tuples_to(datagrams, address):
        try:
            channel.ask(partial(_delete_one, tuple_orig, family))
        except FileNotFoundError:
            continue


def _tuples_to(datagrams: list[bytes], address: Address) -> Iterator[bytes]:
    """Yield the original tuple of each connection one of whose sides goes to the address."""
    for data in datagrams:
        for reply in wire.replies(data):
            if reply.type != SUBSYSTEM << 8:
                continue
            have = wire.values(data, reply.body, reply.end)
            if any(_destination(have.get(side, b""), address.version) == address.packed for side in SIDES):
                yield have[CTA_TUPLE_ORIG]


def _destination(tuple_: bytes, version: int) -> bytes:
    inside = wire.values(tuple_, 0, len(tuple_)).get(CTA_TUPLE_IP, b"")
    return wire.values(inside, 0, len(inside)).get(CTA_IP_DST[version], b"")


def _request(verb: int, flags: int, sequence: int, body: bytes, *, family: int = 0, strict: bool = False) -> bytes:
    """Return a request; `strict`: the family counts for a flush as well, which it did not always."""
    made = wire.message(SUBSYSTEM << 8 | verb, wire.NLM_F_REQUEST | flags, sequence, body, family=family)
    return made if not strict else made[:17] + b"\x01" + made[18:]


def _marked(what: FlushConnections) -> bytes:
    mark, mask = (number.to_bytes(4, "big") for number in (what.mark, what.mask))
    return wire.attribute(CTA_MARK, mark) + wire.attribute(CTA_MARK_MASK, mask)


def _delete_one(tuple_orig: bytes, family: int, sequence: int) -> bytes:
    return _request(DELETE, wire.NLM_F_ACK, sequence, wire.nested(CTA_TUPLE_ORIG, tuple_orig), family=family)


def _delete_to(what: FlushConnections, address: Address, side: int, sequence: int) -> bytes:
    destination = wire.attribute(CTA_IP_DST[address.version], address.packed)
    body = b"".join(
        (
            _marked(what),
            wire.nested(side, wire.nested(CTA_TUPLE_IP, destination)),
            # the flags of a side have its tuple's number
            wire.nested(CTA_FILTER, wire.attribute(side, FILTER_IP_DST.to_bytes(4, sys.byteorder))),
        )
    )
    return _request(DELETE, wire.NLM_F_ACK, sequence, body, family=FAMILIES[address.version], strict=True)


def stats(channel: Channel) -> ConntrackStats:
    """Read how full the table is; OSError where nothing is tracked in this namespace."""
    reply = channel.ask(lambda sequence: _request(GET_STATS, 0, sequence, b""))
    have = wire.values(reply.data, reply.body, reply.end)
    total: dict[int, int] = {}
    for data in channel.dump(lambda sequence: _request(GET_STATS_CPU, wire.NLM_F_DUMP, sequence, b"")):
        for one in wire.replies(data):
            if one.type >> 8 == SUBSYSTEM:
                for what, value in wire.values(data, one.body, one.end).items():
                    total[what] = total.get(what, 0) + int.from_bytes(value, "big")
    count, most = (
        int.from_bytes(have.get(what, b""), "big") for what in (CTA_STATS_GLOBAL_ENTRIES, CTA_STATS_GLOBAL_MAX_ENTRIES)
    )
    dropped, early, failed = (
        total.get(what, 0) for what in (CTA_STATS_DROP, CTA_STATS_EARLY_DROP, CTA_STATS_INSERT_FAILED)
    )
    return ConntrackStats(count, most, dropped, early, failed)
