"""The shapes of drains, overrides and the freeze, in answers and in bodies of requests."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from anycastd.api.shapes.shape import LevelName, Shape
from anycastd.model.decision import Reason
from anycastd.model.operator import After, DrainPhase, DrainScope, OverrideKind, State

YEAR_S = 365 * 86400.0


def _printable(text: str) -> str:
    if not text.isprintable():
        message = "is one line without control characters: it is shown on terminals"
        raise ValueError(message)
    return text


Line = Annotated[str, AfterValidator(_printable)]


class LastingBody(Shape):
    """Why and how long (null = the configured time). `owner` is shown beside who asks."""

    reason: Line = Field(default="", max_length=256)
    owner: Line = Field(default="", max_length=64)
    expires_in_s: float | None = Field(default=None, gt=0, le=YEAR_S, allow_inf_nan=False)
    never_expires: bool = False


class DrainBody(LastingBody):
    """What to drain; `name` is empty for the POP. `after`: what becomes of connections that are left at the end."""

    scope: DrainScope
    name: str = Field(default="", max_length=128)
    after: After = After.KEEP


class OverrideBody(LastingBody):
    """What to force: the `level` of a prefix, or the `state` of a tunnel or backend."""

    kind: OverrideKind
    name: str = Field(max_length=128)
    level: LevelName | None = None
    state: State | None = None


class OrderShape(Shape):
    """What every order has. `expires_at` null = until it is undone."""

    id: str
    name: str
    owner: str
    reason: str
    forced: bool
    began_at: str | None
    expires_at: str | None
    expires_in_s: float | None


class HeldShape(Shape):
    """A prefix that a drain has not taken as far as its phase, and why."""

    prefix: str
    neighbor: str | None
    level: LevelName
    hold: Reason
    why: str


class DrainShape(OrderShape):
    """One drain. `next_step_in_s`: when the phase ends at the latest; `stays`: not by itself. Null is not known."""

    scope: DrainScope
    after: After
    phase: DrainPhase
    phase_since: str | None
    next_step_in_s: float | None
    setbacks: int
    rate_bps: float | None
    baseline_bps: float | None
    connections: int | None
    quiet_for_s: float | None
    held: list[HeldShape]
    stays: bool
    done: bool
    text: str


class DrainList(Shape):
    """Drains in the order in which they began."""

    drains: list[DrainShape]


class OverrideShape(OrderShape):
    """One override."""

    kind: OverrideKind
    level: LevelName | None
    state: State | None
    text: str


class OverrideList(Shape):
    """Overrides in the order in which they began."""

    overrides: list[OverrideShape]


class FreezeShape(Shape):
    """Whether announcements are frozen; `unread`: because the file of orders cannot be read."""

    frozen: bool
    eips: bool
    owner: str
    reason: str
    unread: str
    since: str | None
    expires_at: str | None
    expires_in_s: float | None
    text: str


class OrdersShape(Shape):
    """Everything that operators ordered, on the page of the whole POP."""

    freeze: FreezeShape
    drains: list[DrainShape]
    overrides: list[OverrideShape]


class OrderedShape(Shape):
    """An order that was taken; with `dry_run` nothing was done, and `changes` says what would be."""

    id: str
    dry_run: bool
    replayed: bool
    changes: list[str]
