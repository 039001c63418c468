"""`timers`: pacing, for all prefixes at the top of the file and for one below it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycastd.config.schema.base import Section
from anycastd.config.values.fields import duration

DAY_S = 86400.0


class TimersSection(Section):
    """Pacing; what is not written is taken from the global `timers`, then from the defaults."""

    settle: Annotated[float | None, duration(0.0, 3600.0)] = Field(
        default=None, description="How long a prefix waits depreferenced before it asks to withdraw."
    )
    gshut_wait: Annotated[float | None, duration(0.0, 3600.0)] = Field(
        default=None,
        description="How long it is announced with GSHUT (65535:0) before health withdraws it, once other POPs are "
        "confirmed; 0s: withdrawn at once.",
    )
    return_after: Annotated[float | None, duration(0.0, DAY_S)] = Field(
        default=None,
        description="How long it must be fine before it is announced normally again; doubles with each relapse.",
    )
    return_step: Annotated[float | None, duration(1.0, DAY_S)] = Field(
        default=None, description="How long each step of `return_prepends` lasts."
    )
    return_max: Annotated[float | None, duration(0.0, DAY_S)] = Field(
        default=None, description="The most that `return_after` grows to."
    )
    backoff_reset: Annotated[float | None, duration(1.0, 30 * DAY_S)] = Field(
        default=None, description="Failures further apart than this do not count as relapses."
    )
    linger: Annotated[float | None, duration(0.0, DAY_S)] = Field(
        default=None,
        description="How long packets are still carried after a withdrawal; the Internet needs minutes to follow.",
    )
    half_life: Annotated[float | None, duration(1.0, DAY_S)] = Field(
        default=None,
        description="Half-life of the change budget, as the neighbors' route-flap damping has it (RFC 2439).",
    )
