"""What an EIP carries: totals, rates, 5-minute points, and what of it must outlive the daemon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from anycastd.model.address import Address
from anycastd.model.eip import Eip, EipId
from anycastd.model.nft import Count, NamedCounter

SLOT_S = 300
"""Length of a point of the meter, which begins at a multiple of it in Unix time."""


class Direction(StrEnum):
    """`in` from clients to the EIP, `out` from the EIP to clients."""

    IN = "in"
    OUT = "out"


class DropCause(StrEnum):
    """Why packets of an EIP were dropped: above its limit, unbound or blocked, or bound with no usable path."""

    LIMIT = "limit"
    UNBOUND = "unbound"
    NO_PATH = "no_path"


@dataclass(frozen=True, slots=True)
class EipStanding:
    """What the meter must know of an allocated EIP. Limits are bits per second of L3; None = no limit."""

    id: EipId
    in_limit_bps: int | None = None
    out_limit_bps: int | None = None

    @classmethod
    def of(cls, eip: Eip) -> EipStanding:
        """Return the standing of an EIP."""
        return cls(eip.id, eip.bandwidth.in_bps, eip.bandwidth.out_bps)


class Totals(NamedTuple):
    """Packets and bytes (L3), by what became of them. The order is that of `traffic.ledger.TALLIES`."""

    in_packets: int = 0
    in_bytes: int = 0
    out_packets: int = 0
    out_bytes: int = 0
    limit_in_packets: int = 0
    limit_in_bytes: int = 0
    limit_out_packets: int = 0
    limit_out_bytes: int = 0
    unbound_packets: int = 0
    unbound_bytes: int = 0
    no_path_packets: int = 0
    no_path_bytes: int = 0

    def passed(self, direction: Direction) -> Count:
        """Return what was let through."""
        if direction is Direction.IN:
            return Count(self.in_packets, self.in_bytes)
        return Count(self.out_packets, self.out_bytes)

    def dropped(self, direction: Direction) -> dict[DropCause, Count]:
        """Return what was dropped, by cause; answers of an EIP can only be above its limit."""
        if direction is Direction.OUT:
            return {DropCause.LIMIT: Count(self.limit_out_packets, self.limit_out_bytes)}
        return {
            DropCause.LIMIT: Count(self.limit_in_packets, self.limit_in_bytes),
            DropCause.UNBOUND: Count(self.unbound_packets, self.unbound_bytes),
            DropCause.NO_PATH: Count(self.no_path_packets, self.no_path_bytes),
        }


class Rates(NamedTuple):
    """Of what was let through since the reading before: bits and packets a second."""

    in_bps: float = 0.0
    in_pps: float = 0.0
    out_bps: float = 0.0
    out_pps: float = 0.0


class Unforwarded(NamedTuple):
    """Packets that the kernel's routing of one family did not pass on, of all that the machine routes; since it began.

    `expired`: their TTL or hop limit was at its end (with them what has a broken header). `too_big`: larger than the
    way on, and not to be divided. `no_route`: nothing leads there. Who sent them was told by ICMP, as
    far as its rates allow.
    """

    expired: int = 0
    too_big: int = 0
    no_route: int = 0


class EipTraffic(NamedTuple):
    """One EIP at one reading. `totals` since `since_unix_s`, when the meter first saw it; they never go down.

    `number` is the meter's own of it, by which its points are kept; never used twice. `counts` and `speeds` are the
    values of `totals` and `rates`: plain tuples, of which the garbage collector lets go (10,000 EIPs, every 5 s).
    """

    standing: EipStanding
    number: int
    since_unix_s: float
    counts: tuple[int, ...]
    speeds: tuple[float, ...]

    @property
    def totals(self) -> Totals:
        """Return what was counted."""
        return Totals._make(self.counts)

    @property
    def rates(self) -> Rates:
        """Return how fast it was let through."""
        return Rates._make(self.speeds)

    def utilisation_percent(self, direction: Direction) -> float | None:
        """Return how much of the limit is used, or None without a limit."""
        if direction is Direction.IN:
            limit_bps, rate_bps = self.standing.in_limit_bps, self.speeds[0]
        else:
            limit_bps, rate_bps = self.standing.out_limit_bps, self.speeds[2]
        return rate_bps / limit_bps * 100.0 if limit_bps else None


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading made sense of. `interval_s` is the time the rates are of, 0 at a first reading ever.

    `pop` adds up every EIP, those that are gone too; `named` are the drops that belong to no EIP.
    """

    at_s: float
    unix_s: float
    interval_s: float
    eips: Mapping[Address, EipTraffic]
    pop: Totals
    pop_rates: Rates
    named: Mapping[NamedCounter, Count]


class Volume(NamedTuple):
    """What a point holds: bytes and packets let through, and packets dropped by cause."""

    in_bytes: int = 0
    in_packets: int = 0
    out_bytes: int = 0
    out_packets: int = 0
    limit_in_packets: int = 0
    limit_out_packets: int = 0
    unbound_packets: int = 0
    no_path_packets: int = 0


class Point(NamedTuple):
    """Traffic of `slots` slots from `slot` (Unix time / 300) on, spread evenly over them; within one UTC month.

    `values` are those of a `Volume`.
    """

    slot: int
    slots: int
    values: tuple[int, ...]


class SlotTime(NamedTuple):
    """How many seconds of the slots from `slot` on were metered. A slot that no such row covers was not."""

    slot: int
    slots: int
    seconds: float


class Frame(NamedTuple):
    """Traffic of one EIP in the `seconds` that ended at `unix_s`."""

    unix_s: float
    seconds: float
    volume: Volume


@dataclass(frozen=True, slots=True)
class MonthlyRate:
    """The 95th percentile of a UTC month (`2026-09`), bits per second, over `points` metered points.

    `complete` is False while the month goes on.
    """

    month: str
    points: int
    in_bps: int
    out_bps: int
    complete: bool = False

    @property
    def larger_bps(self) -> int:
        """Return the larger of both directions."""
        return max(self.in_bps, self.out_bps)


@dataclass(frozen=True, slots=True)
class Moment:
    """Both clocks at one moment, and which boot the monotonic one belongs to."""

    boot: str
    monotonic_s: float
    unix_s: float


class EipRecord(NamedTuple):
    """What must outlive the daemon of one EIP: the kernel's counters as last seen, and the totals made of them.

    `mark` are the totals at the begin of the open slot. All in the order of `Totals`.
    """

    number: int
    address: Address
    eip: EipId
    since_unix_s: float
    seen: tuple[int, ...]
    total: tuple[int, ...]
    mark: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MeterState:
    """What must outlive the daemon of the POP. `named` holds (as last seen in the kernel, total)."""

    at: Moment
    open_slot: int
    open_seconds: float
    next_number: int
    pop: Totals = field(default_factory=Totals)
    named: Mapping[NamedCounter, tuple[Count, Count]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Saved:
    """What was read back at a start."""

    state: MeterState
    records: tuple[EipRecord, ...]


@dataclass(slots=True)
class Batch:
    """What is to be written: the newest record of each EIP that changed, points and slots to add, numbers to forget.

    By number: `records`, `points`. An EIP's record and points belong together: both are written, or neither.
    """

    state: MeterState
    records: dict[int, EipRecord] = field(default_factory=dict)
    points: dict[int, list[Point]] = field(default_factory=dict)
    slots: list[SlotTime] = field(default_factory=list)
    gone: set[int] = field(default_factory=set)
