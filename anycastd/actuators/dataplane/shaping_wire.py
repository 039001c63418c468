"""Qdiscs and classes as the kernel's bytes (rtnetlink(7), linux/pkt_sched.h, tc-htb(8)), and back."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from anycastd.actuators.dataplane import attributes as a
from anycastd.model.shaping import MAJOR, TICK_NS, Bucket, ClassView, Queue, QueueKind, UplinkView

RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC = 36, 37, 38
RTM_NEWTCLASS, RTM_DELTCLASS, RTM_GETTCLASS = 40, 41, 42
TCA_KIND, TCA_OPTIONS, TCA_STATS2, TCA_STAB = 1, 2, 7, 8
TCA_STATS_QUEUE = 3
TCA_STAB_BASE = 1
TCA_HTB_PARMS, TCA_HTB_INIT, TCA_HTB_RATE64, TCA_HTB_CEIL64 = 1, 2, 6, 7
TCA_FQ_CODEL_TARGET, TCA_FQ_CODEL_MEMORY_LIMIT = 1, 9
TC_H_ROOT = 0xFFFFFFFF
TC_LINKLAYER_ETHERNET = 1
"""Tells the kernel that we bring no rate tables (TCA_HTB_RTAB): it has not used them since Linux 3.8."""
HTB_VERSION, RATE_TO_QUANTUM = 3, 10
QUANTUM_BYTES = 16 * 1024
"""Given, because the kernel complains in its log of the one it would choose for a high rate."""
NLM_F_REPLACE = 0x100
IFLA_IFNAME = 3
ARPHRD_ETHER, ARPHRD_LOOPBACK = 1, 772
_U32_MAX = 0xFFFFFFFF

_TC = struct.Struct("=BxxxiIII")
_RATE = struct.Struct("=BBHhHI")
_CLASS = struct.Struct("=IIIII")
_INIT = struct.Struct("=IIIII")
_SIZES = struct.Struct("=BBhiIIII")
_STATS = struct.Struct("=IIIII")
_U32, _U64 = struct.Struct("=I"), struct.Struct("=Q")
_LINK = struct.Struct("=BBHiII")
_DO = a.NLM_F_REQUEST | a.NLM_F_ACK
_DUMP = a.NLM_F_REQUEST | a.NLM_F_DUMP


class QdiscFacts(NamedTuple):
    """One qdisc as read. `device` is its index, `parent` is TC_H_ROOT or the class that it is in.

    `limit_bytes` of a kind that we make.
    """

    device: int
    handle: int
    parent: int
    kind: str
    default_class: int
    limit_bytes: int
    dropped: int


def handle_of(minor: int = 0) -> int:
    """Return the number of a class of ours; of our root without a minor."""
    return MAJOR << 16 | minor


def _tc(index: int, handle: int, parent: int) -> bytes:
    return _TC.pack(socket.AF_UNSPEC, index, handle, parent, 0)


def encode_create_root(index: int, overhead_bytes: int, sequence: int) -> bytes:
    """Return a request for our root; EEXIST where another stands that is not the kernel's default."""
    sizes = _SIZES.pack(0, 0, 0, overhead_bytes, TC_LINKLAYER_ETHERNET, 0, 0, 0)
    body = (
        _tc(index, handle_of(), TC_H_ROOT)
        + a.text(TCA_KIND, "htb")
        + (a.nested(TCA_STAB, a.attribute(TCA_STAB_BASE, sizes)) if overhead_bytes else b"")
        + a.nested(TCA_OPTIONS, a.attribute(TCA_HTB_INIT, _INIT.pack(HTB_VERSION, RATE_TO_QUANTUM, 0, 0, 0)))
    )
    return a.message(RTM_NEWQDISC, _DO | a.NLM_F_CREATE | a.NLM_F_EXCL, sequence, body)


def encode_delete_root(index: int, sequence: int) -> bytes:
    """Return a request that removes our root; refused where another stands."""
    return a.message(RTM_DELQDISC, _DO, sequence, _tc(index, handle_of(), TC_H_ROOT))


def encode_class(index: int, minor: int, bucket: Bucket, sequence: int) -> bytes:
    """Return a request that makes a class, or gives it this rate."""
    rate = _RATE.pack(0, TC_LINKLAYER_ETHERNET, 0, 0, 0, min(bucket.bytes_per_s, _U32_MAX))
    ticks = bucket.burst_ns // TICK_NS
    parts = [a.attribute(TCA_HTB_PARMS, rate + rate + _CLASS.pack(ticks, ticks, QUANTUM_BYTES, 0, 0))]
    if bucket.bytes_per_s > _U32_MAX:
        parts += [a.attribute(kind, _U64.pack(bucket.bytes_per_s)) for kind in (TCA_HTB_RATE64, TCA_HTB_CEIL64)]
    body = _tc(index, handle_of(minor), handle_of()) + a.text(TCA_KIND, "htb") + a.nested(TCA_OPTIONS, *parts)
    return a.message(RTM_NEWTCLASS, _DO | a.NLM_F_CREATE, sequence, body)


def encode_delete_class(index: int, minor: int, sequence: int) -> bytes:
    """Return a request that removes a class with all that waits in it."""
    return a.message(RTM_DELTCLASS, _DO, sequence, _tc(index, handle_of(minor), 0))


def encode_queue(index: int, minor: int, queue: Queue, sequence: int) -> bytes:
    """Return a request that gives a class this queue; of the same kind only the limits change."""
    if queue.kind is QueueKind.BFIFO:
        options = a.attribute(TCA_OPTIONS, _U32.pack(queue.limit_bytes))
    else:
        limit, target = (TCA_FQ_CODEL_MEMORY_LIMIT, queue.limit_bytes), (TCA_FQ_CODEL_TARGET, queue.target_us)
        options = a.nested(TCA_OPTIONS, a.u32(*target), a.u32(*limit))
    body = _tc(index, 0, handle_of(minor)) + a.text(TCA_KIND, queue.kind) + options
    return a.message(RTM_NEWQDISC, _DO | a.NLM_F_CREATE | NLM_F_REPLACE, sequence, body)


def encode_dump_qdiscs(sequence: int) -> bytes:
    """Return a request for the qdiscs of all devices."""
    return a.message(RTM_GETQDISC, _DUMP, sequence, _tc(0, 0, 0))


def encode_dump_classes(index: int, sequence: int) -> bytes:
    """Return a request for the classes of one device."""
    return a.message(RTM_GETTCLASS, _DUMP, sequence, _tc(index, 0, 0))


def parse_link(body: bytes) -> UplinkView:
    """Return a device of which no qdisc is known yet."""
    _, _, kind, index, _, _ = _LINK.unpack_from(body)
    name = a.word(a.parse(body, _LINK.size).get(IFLA_IFNAME))
    return UplinkView(name=name, index=index, has_ethernet=kind in (ARPHRD_ETHER, ARPHRD_LOOPBACK))


def parse_qdisc(body: bytes) -> QdiscFacts:
    """Return what is needed of one qdisc."""
    _, index, handle, parent, _ = _TC.unpack_from(body)
    have = a.parse(body, _TC.size)
    kind, options = a.word(have.get(TCA_KIND)), have.get(TCA_OPTIONS, b"")
    default_class = limit_bytes = 0
    if kind == "htb":
        init = a.parse(options).get(TCA_HTB_INIT, b"")
        default_class = _INIT.unpack_from(init)[2] if len(init) >= _INIT.size else 0
    elif kind == QueueKind.BFIFO:
        limit_bytes = a.number(options[:4])
    elif kind == QueueKind.FQ_CODEL:
        limit_bytes = a.number(a.parse(options).get(TCA_FQ_CODEL_MEMORY_LIMIT))
    _, dropped = _waiting_and_dropped(have)
    return QdiscFacts(index, handle, parent, kind, default_class, limit_bytes, dropped)


def parse_class(body: bytes) -> tuple[int, ClassView] | None:
    """Return the minor number and view of a class in our root; None for any other."""
    _, _, handle, _, _ = _TC.unpack_from(body)
    have = a.parse(body, _TC.size)
    options = a.parse(have.get(TCA_OPTIONS, b""))
    parameters = options.get(TCA_HTB_PARMS, b"")
    if handle >> 16 != MAJOR or len(parameters) < 2 * _RATE.size + _CLASS.size:
        return None
    rate, ceil = (_RATE.unpack_from(parameters, at)[5] for at in (0, _RATE.size))
    rate_ticks, ceil_ticks = _CLASS.unpack_from(parameters, 2 * _RATE.size)[:2]
    waiting, _ = _waiting_and_dropped(have)
    view = ClassView(
        rate=Bucket(a.number(options.get(TCA_HTB_RATE64)) or rate, rate_ticks * TICK_NS),
        ceil=Bucket(a.number(options.get(TCA_HTB_CEIL64)) or ceil, ceil_ticks * TICK_NS),
        waiting=waiting,
    )
    return handle & 0xFFFF, view


def _waiting_and_dropped(have: dict[int, bytes]) -> tuple[int, int]:
    stats = a.parse(have.get(TCA_STATS2, b"")).get(TCA_STATS_QUEUE, b"")
    if len(stats) < _STATS.size:
        return 0, 0
    waiting, _, dropped, _, _ = _STATS.unpack_from(stats)
    return waiting, dropped
