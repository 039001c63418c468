"""Tracked connections by ctnetlink: forgetting some, and how full the table is."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from itertools import islice

from anycastd.actuators.nft import wire
from anycastd.actuators.nft.channel import Channel
from anycastd.model.address import Address
from anycastd.model.conntrack import ConntrackStats
from anycastd.model.eip import FlushConnections

SUBSYSTEM = 1
GET, DELETE, GET_STATS_CPU, GET_STATS = 1, 2, 4, 5
CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_MARK, CTA_MARK_MASK = 1, 2, 8, 21
CTA_TUPLE_IP = 1
CTA_IP_DST = {4: 2, 6: 4}
CTA_STATS_INSERT_FAILED, CTA_STATS_DROP, CTA_STATS_EARLY_DROP = 9, 10, 11
CTA_STATS_GLOBAL_ENTRIES, CTA_STATS_GLOBAL_MAX_ENTRIES = 1, 2
FAMILIES = {4: int(socket.AF_INET), 6: int(socket.AF_INET6)}
SIDES = (CTA_TUPLE_ORIG, CTA_TUPLE_REPLY)


def flush(channel: Channel, what: FlushConnections) -> None:
    """Make the kernel forget connections; OSError or ActuatorTransient if it did not.

    With an address those that were opened to it, and those that it opened (their answers go to it).
    """
    if what.address is None:
        channel.ask(lambda sequence: _request(DELETE, wire.NLM_F_ACK, sequence, _marked(what)))
        return
    # not CTA_FILTER, which Linux 6.9 takes here: of IPv6 it matches just those that differ (seen with 6.18)
    address, family = what.address, FAMILIES[what.address.version]
    datagrams = channel.dump(lambda sequence: _request(GET, wire.NLM_F_DUMP, sequence, _marked(what), family=family))
    channel.each([_delete_one(tuple_orig, family) for tuple_orig in _tuples_to(datagrams, address)], errno.ENOENT)


def _tuples_to(datagrams: list[bytes], address: Address) -> Iterator[bytes]:
    """Yield the original tuple of each connection one of whose sides goes to the address."""
    for data in datagrams:
        for reply in wire.replies(data):
            if reply.type != SUBSYSTEM << 8 or address.packed not in data[reply.start : reply.end]:
                continue
            have: dict[int, bytes] = {}
            # they come first: the rest of each of ten thousands is not looked at
            for what, start, end in islice(wire.attributes(data, reply.body, reply.end), len(SIDES)):
                have[what] = data[start:end]
            if any(_destination(have.get(side, b""), address.version) == address.packed for side in SIDES):
                yield have[CTA_TUPLE_ORIG]


def _destination(tuple_: bytes, version: int) -> bytes:
    inside = wire.values(tuple_, 0, len(tuple_)).get(CTA_TUPLE_IP, b"")
    return wire.values(inside, 0, len(inside)).get(CTA_IP_DST[version], b"")


def _request(verb: int, flags: int, sequence: int, body: bytes, *, family: int = 0) -> bytes:
    return wire.message(SUBSYSTEM << 8 | verb, wire.NLM_F_REQUEST | flags, sequence, body, family=family)


def _marked(what: FlushConnections) -> bytes:
    mark, mask = (number.to_bytes(4, "big") for number in (what.mark, what.mask))
    return wire.attribute(CTA_MARK, mark) + wire.attribute(CTA_MARK_MASK, mask)


def _delete_one(tuple_orig: bytes, family: int) -> bytes:
    return _request(DELETE, wire.NLM_F_ACK, 0, wire.nested(CTA_TUPLE_ORIG, tuple_orig), family=family)


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
