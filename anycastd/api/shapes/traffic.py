"""The shapes of what is answered about traffic. Rates are bits and packets a second of L3."""

from __future__ import annotations

from pydantic import Field

from anycastd.api.shapes.eips import Moment
from anycastd.api.shapes.shape import Shape


class CountShape(Shape):
    """Packets and bytes (L3)."""

    packets: int
    bytes: int


class PassedShape(CountShape):
    """What was let through in one direction, and what was dropped, by cause."""

    dropped: dict[str, CountShape]


class TotalsShape(Shape):
    """Both directions; `in` is from clients."""

    in_: PassedShape = Field(alias="in")
    out: PassedShape


class RateShape(Shape):
    """One direction."""

    bps: int
    pps: float


class RatesShape(Shape):
    """Both directions, over the last interval."""

    in_: RateShape = Field(alias="in")
    out: RateShape


class LimitedRateShape(RateShape):
    """One direction of an EIP, beside its limit."""

    limit_bps: int | None
    utilisation_percent: float | None


class LimitedRatesShape(Shape):
    """Both directions of an EIP."""

    in_: LimitedRateShape = Field(alias="in")
    out: LimitedRateShape


class InPointShape(CountShape):
    """What came in within one point."""

    dropped_packets: dict[str, int]


class PointShape(Shape):
    """A part of the curve: `seconds` long from `time`."""

    time: Moment
    seconds: float
    in_: InPointShape = Field(alias="in")
    out: InPointShape


class MonthShape(Shape):
    """The 95th percentile of a UTC month over its 5-minute points."""

    month: str
    points: int
    complete: bool
    in_bps: int
    out_bps: int
    larger_bps: int


class EipTrafficShape(Shape):
    """The traffic of one EIP."""

    eip: str
    address: str
    since: Moment
    span_s: float
    rates: LimitedRatesShape
    totals: TotalsShape
    filtered: CountShape = Field(
        description="Dropped by blackholes and flow rules of this address since the daemon started; in no total."
    )
    connections: int | None = Field(description="Tracked now; null = not counted yet, or a stateless EIP.")
    percentile_95: list[MonthShape]
    history_missing: str
    points: list[PointShape]


class BusyEipShape(Shape):
    """One of the busiest EIPs."""

    eip: str
    address: str
    rates: LimitedRatesShape


class TrafficShape(Shape):
    """The POP's traffic, and its busiest EIPs."""

    time: Moment | None
    eips: int
    rates: RatesShape
    totals: TotalsShape
    dropped_of_no_eip: dict[str, CountShape]
    busiest: list[BusyEipShape]
