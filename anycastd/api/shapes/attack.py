"""The shapes of the API's answers about attacks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anycastd.api.shapes.shape import Shape
from anycastd.model.attack import AttackReason

StateName = Literal["NORMAL", "ELEVATED", "ATTACK"]


class AttackRateShape(Shape):
    """Per second, what came in and what of it was dropped. `new_connections` null: nobody counted them."""

    packets: float
    bits: float
    new_connections: float | None
    dropped_packets: float


class UsualRateShape(Shape):
    """Per second, what is usual."""

    packets: float
    bits: float
    new_connections: float | None


class AttackShareShape(Shape):
    """One value and its share of the sampled packets."""

    value: str
    percent: float


class AttackShapeShape(Shape):
    """What sampled packets look like; each list has the largest first. `spoofed`: sources look random."""

    sampled: int
    mean_bytes: float
    protocols: list[AttackShareShape]
    ports: list[AttackShareShape]
    source_ports: list[AttackShareShape]
    sources: list[AttackShareShape]
    spoofed: bool


class StandingShape(Shape):
    """How traffic to the POP or to one EIP stands; `detail` is empty and `shape` null when it is NORMAL."""

    subject: str
    state: StateName
    since: str = Field(json_schema_extra={"format": "date-time"})
    age_s: float
    reasons: list[AttackReason]
    rate: AttackRateShape
    usual: UsualRateShape
    detail: str
    shape: AttackShapeShape | None


class Attacks(Shape):
    """The POP, and the EIPs that are not NORMAL, the worst first. `detect` false: nobody looks."""

    state: StateName
    detect: bool
    pop: StandingShape
    eips: list[StandingShape]


class AttackSummary(Shape):
    """In few words: the worst state, and how many EIPs are not NORMAL."""

    state: StateName
    elevated: int
    attacked: int
    text: str
