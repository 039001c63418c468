"""The shapes of the fleet in answers and bodies."""

from __future__ import annotations

from pydantic import Field

from anycastd.api.shapes.shape import Shape

MAX_ITEMS = 100
MAX_TEXT = 16_384


class FleetDrainShape(Shape):
    """Why a POP is away by order."""

    drain: str
    owner: str
    reason: str
    forced: bool
    since: str


class FleetPopShape(Shape):
    """One POP as it says it is; null where it says nothing. `age_s` compares two clocks: for a look.

    `room_bps`: what is left of `capacity_bps`. `attack`: the worst of its states. `steps`: of its playbooks, in force.
    Prefixes: `standby`: announced only when called on; `calls`: for which it calls on standbys; `sheds`: whose traffic
    it sends away; `pressed`: with more load than it should have, or an attack.
    """

    pop: str
    present: bool
    state: str | None
    version: str | None
    config: str | None
    said_at: str | None
    age_s: float | None
    started_at: str | None
    regions: dict[str, int] | None
    levels: dict[str, int] | None
    in_bps: float | None
    out_bps: float | None
    eips: int | None
    bound: int | None
    applied_revision: int | None
    capacity_bps: float | None
    room_bps: float | None
    attack: str | None
    attacked_eips: int | None
    steps: int | None
    standby: list[str] | None
    calls: list[str] | None
    sheds: list[str] | None
    pressed: list[str] | None
    alarms: int | None
    drain_phase: str | None
    asn: int | None
    prefixes: int | None
    drained: FleetDrainShape | None


class FleetPopsShape(Shape):
    """Every POP that the fleet knows."""

    pops: list[FleetPopShape]


class FleetStoreShape(Shape):
    """The store as this POP sees it. `trouble`: why it cannot be used; `held`: why what it holds is not applied."""

    kind: str
    endpoints: list[str]
    prefix: str
    member: str
    cluster: str
    applied_revision: int
    bound: int
    trouble: str
    held: str


class FleetShape(Shape):
    """The fleet's store and POPs; `asked`: whether the POPs are of now, else they were read when it last could be."""

    pop: str
    store: FleetStoreShape
    asked: bool
    pops: list[FleetPopShape]


class FleetSnapshotShape(Shape):
    """EIPs and dials as texts by key, and of which cluster and revision they are."""

    cluster: str
    revision: int
    items: dict[str, str]


class FleetRestoreBody(Shape):
    """What shall be in the store: keys with texts, or `here`: all that this POP applied. `last`: no more follows."""

    items: dict[str, str] = Field(default={}, max_length=MAX_ITEMS)
    here: bool = False
    last: bool = True


class FleetChangedShape(Shape):
    """What was done, in words; nothing = there was nothing to do. With `dry_run`: what would be."""

    dry_run: bool
    changes: list[str]
