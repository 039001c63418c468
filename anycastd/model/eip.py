"""Accelerated EIPs: one address inside an announced prefix, bound to backends; what an operator asked for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from anycastd.model.address import Address, BackendId, RegionName

EipId = NewType("EipId", str)
"""`eip-` and 8 hex digits."""
TaskId = NewType("TaskId", str)
"""`task-` and 12 hex digits."""

MAX_WEIGHT = 255


class Mode(StrEnum):
    """How packets reach a backend.

    `routed`: unchanged; the backend (or its gateway) owns the EIP. `dnat`: the destination becomes the backend's
    address, the client's stays; the region must send answers back through the POP. `masquerade`: the source becomes
    the POP's tunnel address as well; the region needs nothing.
    """

    ROUTED = "routed"
    DNAT = "dnat"
    MASQUERADE = "masquerade"


class Spread(StrEnum):
    """How the regions of one priority share. `nearest`: the quickest healthy one, with hysteresis. `ordered`: the
    first healthy one in the order of the targets. `weighted`: all of them, by the weights of their targets."""

    NEAREST = "nearest"
    ORDERED = "ordered"
    WEIGHTED = "weighted"


class Affinity(StrEnum):
    """What is hashed to choose among several backends: the 5-tuple of a connection, or the client's address."""

    NONE = "none"
    SOURCE = "source"


class WhenUnhealthy(StrEnum):
    """With no usable backend anywhere: go on to the least bad one, or drop."""

    FAIL_OPEN = "fail_open"
    DROP = "drop"


class Ping(StrEnum):
    """Who answers an ICMP echo request to the EIP."""

    BACKEND = "backend"
    POP = "pop"


class Tracking(StrEnum):
    """`conntrack` pins each connection; `stateless` keeps no state (routed mode only) and survives a full table."""

    CONNTRACK = "conntrack"
    STATELESS = "stateless"


class Shaping(StrEnum):
    """How a bandwidth limit is kept: `police` drops what is above it, `htb` queues what leaves to clients."""

    POLICE = "police"
    HTB = "htb"


class Transport(StrEnum):
    """A transport with ports; `number` is the IP protocol number."""

    TCP = "tcp"
    UDP = "udp"

    @property
    def number(self) -> int:
        """Return the IP protocol number."""
        return 6 if self is Transport.TCP else 17


@dataclass(frozen=True, slots=True)
class PortMap:
    """Packets to `port` of the EIP go to `to_port` of the backend; ports without a map keep their number."""

    transport: Transport
    port: int
    to_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One backend of a binding. Lower `priority` first; `weight` 0..255, 0 only as the last resort.

    `mode` None is the region's own.
    """

    backend: BackendId
    weight: int = 100
    priority: int = 1
    mode: Mode | None = None
    ports: tuple[PortMap, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """To which backends an EIP is bound. Never empty; the order of the targets is the operator's."""

    targets: tuple[Target, ...]
    spread: Spread = Spread.NEAREST
    affinity: Affinity = Affinity.NONE
    when_unhealthy: WhenUnhealthy = WhenUnhealthy.FAIL_OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth:
    """Limits of L3 bits per second; `in_bps` from clients to the EIP, `out_bps` from the EIP. None = no limit."""

    in_bps: int | None = None
    out_bps: int | None = None
    shaping: Shaping = Shaping.POLICE


class Source(StrEnum):
    """Who owns an EIP: the configuration file (changed by a reload only), or the API."""

    FILE = "file"
    API = "api"


@dataclass(frozen=True, slots=True, kw_only=True)
class Eip:
    """One EIP as wanted. `generation` counts its changes; times are Unix seconds.

    `released_unix_s` is set while it is released and can still be restored; it then carries no packets.
    """

    id: EipId
    address: Address
    binding: Binding | None = None
    bandwidth: Bandwidth = field(default_factory=Bandwidth)
    ping: Ping = Ping.BACKEND
    tracking: Tracking = Tracking.CONNTRACK
    blocked: bool = False
    blocked_reason: str = ""
    description: str = ""
    source: Source = Source.API
    generation: int = 1
    created_unix_s: float = 0.0
    changed_unix_s: float = 0.0
    released_unix_s: float | None = None
    last_error: str = ""

    @property
    def carries(self) -> bool:
        """Return whether packets for it are to be carried: bound, not blocked, not released."""
        return self.binding is not None and not self.blocked and self.released_unix_s is None


class EipStatus(StrEnum):
    """Where an EIP is between what is wanted and what the kernel holds; derived, never stored."""

    CREATING = "CREATING"
    UNBIND = "UNBIND"
    BINDING = "BINDING"
    BIND = "BIND"
    UNBINDING = "UNBINDING"
    OFFLINING = "OFFLINING"


class PlacementReason(StrEnum):
    """Why an EIP's packets go where they go. Never null."""

    UNBOUND = "unbound"
    BLOCKED = "blocked"
    RELEASED = "released"
    AWAITS_CHECKS = "awaits_checks"
    PREFERRED = "preferred"
    OTHER_REGION = "other_region"
    OTHER_BACKEND = "other_backend"
    OTHER_PRIORITY = "other_priority"
    DIALED_AWAY = "dialed_away"
    DRAINED = "drained"
    LAST_RESORT = "last_resort"
    FAIL_OPEN = "fail_open"
    NO_PATH = "no_path"


@dataclass(frozen=True, slots=True)
class Path:
    """One way to a backend: what a mark in the kernel stands for. `number` 1..2^23-1, `region_number` 1..255."""

    backend: BackendId
    region: RegionName
    mode: Mode
    ports: tuple[PortMap, ...]
    region_number: int
    number: int

    @property
    def mark(self) -> int:
        """Return the packet and connection mark: the region in the top byte, the path below."""
        return self.region_number << 24 | self.number


@dataclass(frozen=True, slots=True)
class Share:
    """A path and how many of the buckets it gets."""

    path: Path
    buckets: int


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the packets of a binding go now: shares in a fixed order that add up to all buckets, or none (`NO_PATH`).

    `regions` is the order in which they were considered, which gives the hysteresis of the next choice.
    """

    shares: tuple[Share, ...]
    reason: PlacementReason
    detail: str
    since_s: float
    regions: tuple[RegionName, ...] = ()


@dataclass(frozen=True, slots=True)
class EipView:
    """One EIP as wanted and as it is: `placement` None while it carries nothing."""

    eip: Eip
    status: EipStatus
    reason: PlacementReason
    detail: str
    placement: Placement | None = None


class TaskState(StrEnum):
    """What became of a change: not yet in the kernel, there, or refused or overtaken by a later one."""

    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One change of an EIP by the API; done when the kernel was read back with that generation."""

    id: TaskId
    eip: EipId
    address: Address
    verb: str
    generation: int
    created_unix_s: float
    state: TaskState = TaskState.RUNNING
    detail: str = ""
    ended_unix_s: float | None = None


@dataclass(frozen=True, slots=True)
class FlushConnections:
    """Forget tracked connections, so that they are reset instead of hanging.

    `mark` with `mask`: those pinned to a path or region. `address`: only those to this EIP (original destination).
    """

    mark: int
    mask: int = 0xFFFFFFFF
    address: Address | None = None
