"""The shapes of what is asked and answered about EIPs, tasks, quotas and dials."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from anycastd.api.shapes.shape import Shape
from anycastd.config.values.net import AddressField, PrefixField
from anycastd.model.eip import (
    MAX_WEIGHT,
    Affinity,
    EipStatus,
    Mode,
    Ping,
    PlacementReason,
    Shaping,
    Source,
    Spread,
    TaskState,
    Tracking,
    Transport,
    WhenUnhealthy,
)

Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


def _hint(**facts: Any) -> Any:
    """Return a field whose bounds are told to clients; they are enforced with all other rules, to be told at once."""
    return Field(json_schema_extra=facts)


Port = Annotated[int, _hint(minimum=1, maximum=65535)]
Rate = Annotated[int, _hint(minimum=64_000, maximum=400_000_000_000)]
Percentage = Annotated[int, _hint(minimum=0, maximum=100)]


class PortMapShape(Shape):
    """Packets to `port` of the EIP go to `to_port` of the backend."""

    transport: Transport
    port: Port
    to_port: Port


class TargetShape(Shape):
    """One backend of an association; `mode` null is the region's own. Lower `priority` first."""

    backend: str
    weight: Annotated[int, _hint(minimum=0, maximum=MAX_WEIGHT)] = 100
    priority: Annotated[int, _hint(minimum=1, maximum=100)] = 1
    mode: Mode | None = None
    ports: list[PortMapShape] = Field(default_factory=list)


class AssociationShape(Shape):
    """To which backends an EIP is bound."""

    targets: list[TargetShape]
    spread: Spread = Spread.NEAREST
    affinity: Affinity = Affinity.NONE
    when_unhealthy: WhenUnhealthy = WhenUnhealthy.FAIL_OPEN


class BandwidthShape(Shape):
    """L3 bits per second from clients (`in_bps`) and to clients (`out_bps`); null = no limit."""

    in_bps: Rate | None = None
    out_bps: Rate | None = None
    shaping: Shaping = Shaping.POLICE


class AllocateBody(Shape):
    """What `POST /v1/eips` takes: an address, or a prefix to take the next free address of."""

    address: Annotated[AddressField, WithJsonSchema({"type": "string"})] | None = None
    prefix: Annotated[PrefixField, WithJsonSchema({"type": "string"})] | None = None
    bandwidth: BandwidthShape = BandwidthShape()
    ping: Ping = Ping.BACKEND
    tracking: Tracking = Tracking.CONNTRACK
    description: str = ""


class BandwidthChange(Shape):
    """What of the limits is to change; null takes a limit away."""

    in_bps: Rate | None = None
    out_bps: Rate | None = None
    shaping: Shaping | None = None


class ModifyBody(Shape):
    """What `PATCH /v1/eips/{eip}` takes; what is not there stays as it is."""

    bandwidth: BandwidthChange | None = None
    ping: Ping | None = None
    tracking: Tracking | None = None
    description: str | None = None
    blocked: bool | None = None
    blocked_reason: str | None = None


class DialBody(Shape):
    """What `PATCH /v1/regions/{name}` takes; null = as the file says."""

    traffic_dial_percentage: Percentage | None


class ShareShape(Shape):
    """A backend and its share of the new connections."""

    backend: str
    region: str
    mode: Mode
    percent: float


class PlacementShape(Shape):
    """Where the packets go now, and why."""

    reason: PlacementReason
    detail: str
    since: Moment
    shares: list[ShareShape]


class EipShape(Shape):
    """One EIP. `placement` is null while it carries nothing or the kernel was not read back since its last change."""

    id: str
    address: str
    prefix: str | None
    status: EipStatus
    reason: PlacementReason
    detail: str
    generation: int
    source: Source
    association: AssociationShape | None
    placement: PlacementShape | None
    bandwidth: BandwidthShape
    ping: Ping
    tracking: Tracking
    blocked: bool
    blocked_reason: str
    description: str
    created_at: Moment | None
    changed_at: Moment | None
    """Null of an EIP of the file: it is as old as its line there."""
    released_at: Moment | None
    restorable_until: Moment | None
    last_error: str
    notes: list[str]


class EipList(Shape):
    """A page of EIPs in the order of their addresses; `next_token` null = the last page."""

    eips: list[EipShape]
    next_token: str | None


class TaskShape(Shape):
    """One change of an EIP. RUNNING until the kernel was read back with its generation."""

    id: str
    state: TaskState
    verb: str
    eip: str
    address: str
    generation: int
    detail: str
    created_at: Moment
    ended_at: Moment | None


class TaskList(Shape):
    """Tasks, newest first."""

    tasks: list[TaskShape]


class Changed(Shape):
    """A change that was accepted; `task` null = there was nothing to change. With `dry_run` nothing was done."""

    task: TaskShape | None
    eip: EipShape
    dry_run: bool
    changes: list[str]


class QuotaShape(Shape):
    """How many there are (null: counted for each EIP) and may be."""

    quota: str
    current: int | None
    limit: int


class Quotas(Shape):
    """What is limited."""

    quotas: list[QuotaShape]


class DialedShape(Shape):
    """A region's dial: in force, and as the file has it; `changes` says what changed, or would.

    `generation` is of the operator's dial; 0: the file's is in force.
    """

    region: str
    traffic_dial_percentage: int
    configured_percentage: int
    generation: int
    dry_run: bool
    changes: list[str]
