"""The shapes of blackholes and flow rules, in answers and in bodies of requests."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from anycastd.api.shapes.orders import YEAR_S, Line
from anycastd.api.shapes.shape import Shape
from anycastd.resources.filters import MAX_VALUES

Flag = Literal["fin", "syn", "rst", "psh", "ack", "urg"]
Span = Annotated[str, Field(pattern=r"^[0-9]{1,5}(-[0-9]{1,5})?$")]
Spans = Annotated[list[Span], Field(max_length=MAX_VALUES)]


class FilterBody(Shape):
    """Why, how long (null = as configured) and to whom (none named = all that take it)."""

    reason: Line = Field(max_length=256)
    owner: Line = Field(default="", max_length=64)
    ttl_s: float | None = Field(default=None, gt=0, le=YEAR_S, allow_inf_nan=False)
    neighbors: list[Annotated[str, Field(max_length=64)]] = Field(default=[], max_length=64)


class BlackholeBody(FilterBody):
    """Which address loses every packet."""

    address: str = Field(max_length=64)


class MatchShape(Shape):
    """Which packets; an empty list is any. Ports and lengths are values or ranges, `53` or `1024-65535`."""

    destination: str = Field(max_length=64)
    source: str | None = Field(default=None, max_length=64)
    protocols: list[Annotated[str, Field(max_length=16)]] = Field(default=[], max_length=MAX_VALUES)
    destination_ports: Spans = Field(default=[])
    source_ports: Spans = Field(default=[])
    lengths: Spans = Field(default=[])
    tcp_flags_set: list[Flag] = Field(default=[])
    tcp_flags_unset: list[Flag] = Field(default=[])


class FlowBody(FilterBody):
    """Which packets are dropped, or limited to a rate in bits per second of L3 (0 = dropped)."""

    match: MatchShape
    rate_bps: int = Field(default=0, ge=0, le=10**13)


class FilterShape(Shape):
    """What both have. `sent` are the neighbors that ExaBGP says it sends it to, `unsent` those that should be too."""

    id: str
    owner: str
    reason: str
    began_at: str
    expires_at: str
    expires_in_s: float
    sent: list[str]
    unsent: list[str]
    dropped_packets: int
    dropped_bytes: int
    text: str


class BlackholeShape(FilterShape):
    """One blackhole."""

    address: str


class FlowShape(FilterShape):
    """One flow rule."""

    match: MatchShape
    rate_bps: int


class BlackholeList(Shape):
    """Blackholes, oldest first, and how many may be."""

    blackholes: list[BlackholeShape]
    limit: int


class FlowList(Shape):
    """Flow rules, oldest first, and how many may be."""

    rules: list[FlowShape]
    limit: int


class ProposalShape(Shape):
    """A flow rule that fits an attack, and how much of the sampled packets it covers at least."""

    match: MatchShape
    rate_bps: int
    covers_percent: float
    why: str
    text: str


class ProposalList(Shape):
    """The most specific first."""

    eip: str
    proposals: list[ProposalShape]


class FilteredShape(Shape):
    """What was taken; with `dry_run` nothing was done, and `changes` says what would be."""

    id: str
    dry_run: bool
    replayed: bool
    changes: list[str]
