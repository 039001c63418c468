"""Wanted against observed HTB classes on the uplinks -> actions and problems. Pure, level-triggered.

A root qdisc is ours by its number; one that somebody else gave a device is never touched. One round makes roots, the
next fills them: after each the kernel is read again. A class goes when no packet is sent to it any more and none waits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from anycastd.model.shaping import (
    MINORS,
    TICK_NS,
    Bucket,
    ClassView,
    CreateRoot,
    DeleteClass,
    DeleteRoot,
    PutClass,
    Queue,
    QueueKind,
    SetQueue,
    ShapingAction,
    ShapingFault,
    ShapingProblem,
    UplinkView,
)

ETHERNET_HEADER_BYTES = 14
BURST_MS = 10
"""More than a busy machine is late with its timers: what a bucket cannot hold meanwhile is lost to the EIP."""
MIN_BURST_BYTES = 3200
"""Two full packets."""
QUEUE_MS = 100
MIN_QUEUE_BYTES = 96 * 1024
"""One segment as large as offloads make it, and some: a smaller queue would drop every one of those."""
MAX_QUEUE_BYTES = 64 << 20
TARGET_US = 5000
TARGET_PACKET_BYTES = 1514


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, and what cannot be helped from here.

    `idle`: devices whose qdisc of ours has nothing to do and stays until its time is over. `leaving`: whether classes
    stay only until their last packet is gone.
    """

    actions: tuple[ShapingAction, ...] = ()
    problems: tuple[ShapingProblem, ...] = ()
    idle: frozenset[str] = frozenset()
    leaving: bool = False


def bucket_of(bps: int) -> Bucket:
    """Return the token bucket for a rate in bits per second."""
    bytes_per_s = max(bps // 8, 1)
    burst_ns = max(BURST_MS * 10**6, MIN_BURST_BYTES * 10**9 // bytes_per_s)
    return Bucket(bytes_per_s, burst_ns // TICK_NS * TICK_NS)


def queue_of(bps: int, kind: QueueKind) -> Queue:
    """Return the queue for a rate in bits per second: 100 ms of it, and never less than a large segment."""
    bytes_per_s = max(bps // 8, 1)
    limit_bytes = min(max(MIN_QUEUE_BYTES, bytes_per_s * QUEUE_MS // 1000), MAX_QUEUE_BYTES)
    if kind is QueueKind.BFIFO:
        return Queue(kind=kind, limit_bytes=limit_bytes)
    # below some Mbit/s a single packet takes longer than the usual target, which would then drop without end
    target_us = max(TARGET_US, TARGET_PACKET_BYTES * 1_500_000 // bytes_per_s)
    # its limit is of memory, of which a packet takes up to twice its length
    return Queue(kind=kind, limit_bytes=2 * limit_bytes, target_us=target_us)


def diff(
    wanted: Mapping[int, int],
    uplinks: Collection[str],
    observed: Mapping[str, UplinkView],
    *,
    kind: QueueKind,
    kept: Collection[int] = (),
    expired: Collection[str] = (),
) -> Plan:
    """Return the next steps. `wanted` are bits per second by the minor number of the class, the same on every uplink.

    `kept`: classes to which packets may still be sent. `expired`: devices on which our qdisc was idle long enough.
    """
    puts: list[ShapingAction] = []
    deletes: list[ShapingAction] = []
    problems: list[ShapingProblem] = []
    idle: set[str] = set()
    leaving = False
    if wanted and not uplinks:
        detail = f"{unlimited(wanted)}: eip.uplinks names no device to the clients"
        problems.append(ShapingProblem("eip.uplinks", ShapingFault.NO_UPLINKS, detail))
    for name in dict.fromkeys(uplinks):
        if wanted:
            puts += _puts(name, observed.get(name), wanted, kind, problems)
    for name, view in observed.items():
        if not view.is_ours:
            continue
        mine = wanted if name in uplinks else {}
        surplus = [minor for minor in sorted(view.classes) if minor in MINORS and minor not in mine]
        unused = [minor for minor in surplus if name not in uplinks or minor not in kept]
        empty = [minor for minor in unused if not view.classes[minor].waiting]
        deletes += [DeleteClass(name, view.index, minor) for minor in empty]
        leaving = leaving or len(surplus) > len(empty)
        if not mine and len(empty) == len(view.classes):
            idle.add(name)
            if name in expired:
                deletes.append(DeleteRoot(name, view.index))
    return Plan((*puts, *deletes), tuple(problems), frozenset(idle), leaving)


def _puts(
    name: str, view: UplinkView | None, wanted: Mapping[int, int], kind: QueueKind, problems: list[ShapingProblem]
) -> Iterator[ShapingAction]:
    if view is None:
        detail = f"{unlimited(wanted)} over {name}: there is no such device"
        problems.append(ShapingProblem(name, ShapingFault.MISSING, detail))
    elif view.is_ours:
        for minor, bps in wanted.items():
            yield from _put(view, minor, view.classes.get(minor), bucket_of(bps), queue_of(bps, kind))
    elif view.major:
        detail = (
            f"{unlimited(wanted)} over {name}: its root qdisc is a {view.root} {view.major:x}: that anycastd did not "
            f"make; it is not touched: `tc qdisc del dev {name} root`, or limit these EIPs by `police`"
        )
        problems.append(ShapingProblem(name, ShapingFault.FOREIGN, detail))
    else:
        yield CreateRoot(name, view.index, -ETHERNET_HEADER_BYTES if view.has_ethernet else 0)


def _put(
    view: UplinkView, minor: int, there: ClassView | None, bucket: Bucket, queue: Queue
) -> Iterator[ShapingAction]:
    if there is None or there.rate != bucket or there.ceil != bucket:
        yield PutClass(view.name, view.index, minor, bucket, queue)
    elif (there.queue, there.limit_bytes) != (queue.kind, queue.limit_bytes):
        yield SetQueue(view.name, view.index, minor, queue)


def unlimited(wanted: Mapping[int, int]) -> str:
    """Return how many EIPs have no limit, as the begin of a sentence."""
    count = len(wanted)
    return f"{count} EIP{'' if count == 1 else 's'} with `htb` ha{'s' if count == 1 else 've'} no limit to clients"
