"""Shaping of what leaves to clients: the HTB classes of EIPs on the uplinks, as wanted and as read from the kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

MAJOR = 0xA001
"""Major number of the root qdiscs that we make, and so of the classes in them."""
MINORS = range(0x100, 0xFF00)
"""Minor numbers of EIPs' classes; others in a qdisc of ours are not ours."""

TICK_NS = 64
"""The kernel tells times of token buckets in such steps (PSCHED_SHIFT)."""


class Shaped(NamedTuple):
    """An EIP that is shaped: its class, and L3 bits per second."""

    minor: int
    out_bps: int


class QueueKind(StrEnum):
    """The kernel's names of the queues that a class can have: fair to the flows in it, or plain with a bound."""

    FQ_CODEL = "fq_codel"
    BFIFO = "bfifo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """What waits in a class. `target_us`: the delay that fq_codel aims at (RFC 8290); a plain queue has none."""

    kind: QueueKind
    limit_bytes: int
    target_us: int = 0


class Bucket(NamedTuple):
    """A token bucket of HTB. The kernel holds a burst as the time that it takes at the rate."""

    bytes_per_s: int
    burst_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassView:
    """A class as read from the kernel. `queue` is the kind of what waits in it, empty for the kernel's own default.

    `limit_bytes` of a queue of a kind that we make. `waiting`: packets in the class now; `dropped`: packets that its
    queue had no room for, or that were too late.
    """

    rate: Bucket
    ceil: Bucket
    queue: str = ""
    limit_bytes: int = 0
    waiting: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UplinkView:
    """A device and its root qdisc as read. `major` 0: one that the kernel made by itself, nobody's wish.

    `default_class`: of HTB, where packets without a class go, 0 = past all classes. `has_ethernet`: packets on it
    begin with an Ethernet header. `classes` by minor number, only if the root is ours.
    """

    name: str
    index: int
    has_ethernet: bool = True
    root: str = ""
    major: int = 0
    default_class: int = 0
    classes: Mapping[int, ClassView] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """Return whether we made the root qdisc."""
        return self.root == "htb" and self.major == MAJOR and self.default_class == 0


@dataclass(frozen=True, slots=True)
class CreateRoot:
    """Put an HTB qdisc without classes in the place of the kernel's default.

    `overhead_bytes` is added to the length of each packet before it is charged: minus a link header makes it L3.
    """

    device: str
    index: int
    overhead_bytes: int


@dataclass(frozen=True, slots=True)
class PutClass:
    """Make a class, or give the one that stands another rate; and its queue. What waits in it goes on waiting."""

    device: str
    index: int
    minor: int
    bucket: Bucket
    queue: Queue


@dataclass(frozen=True, slots=True)
class SetQueue:
    """Give a class the queue that it lacks, or another limit."""

    device: str
    index: int
    minor: int
    queue: Queue


@dataclass(frozen=True, slots=True)
class DeleteClass:
    """Remove a class that is not used any more."""

    device: str
    index: int
    minor: int


@dataclass(frozen=True, slots=True)
class DeleteRoot:
    """Let the kernel's default take the place of our qdisc again."""

    device: str
    index: int


ShapingAction = CreateRoot | PutClass | SetQueue | DeleteClass | DeleteRoot


class ShapingFault(StrEnum):
    """Why EIPs are not shaped on a device."""

    NO_UPLINKS = "no_uplinks"
    """No device is configured."""
    MISSING = "missing"
    """The device is not there."""
    FOREIGN = "foreign"
    """Somebody gave it a root qdisc."""
    UNSUPPORTED = "unsupported"
    """This kernel has no HTB."""
    REFUSED = "refused"
    """The kernel said no."""


@dataclass(frozen=True, slots=True)
class ShapingProblem:
    """A device on which EIPs are not shaped as wanted; `detail` is a sentence for the operator."""

    device: str
    fault: ShapingFault
    detail: str
