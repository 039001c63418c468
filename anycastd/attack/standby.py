"""A standby: silent until it is called on, then announced until nobody has called for long, then slowly away (S29).

Pure. What is not known keeps what is: a store that is away makes no standby join, and none leave.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Stage(StrEnum):
    """How far a standby is. JOINED: as health says; LEAVING: depreferenced at most; SILENT: away, past the guard."""

    SILENT = "silent"
    JOINED = "joined"
    LEAVING = "leaving"


@dataclass(frozen=True, slots=True)
class Standby:
    """A standby for one prefix. `calm_since_s`: since when nobody calls; `by`: who calls, or called last."""

    stage: Stage = Stage.SILENT
    since_s: float = 0.0
    calm_since_s: float | None = None
    by: tuple[str, ...] = ()


def follow(standby: Standby, by: tuple[str, ...] | None, now_s: float, *, calm_s: float, leave_s: float) -> Standby:
    """Return the standby after a look at who calls on it; `by` None: it cannot be told."""
    if by is None:
        # the time in which nothing was known does not count as calm
        return standby if standby.calm_since_s is None else replace(standby, calm_since_s=None)
    if by:
        if standby.stage is Stage.JOINED:
            same = standby.by == by and standby.calm_since_s is None
            return standby if same else replace(standby, by=by, calm_since_s=None)
        return Standby(Stage.JOINED, now_s, None, by)
    if standby.stage is Stage.SILENT:
        return standby
    if standby.calm_since_s is None:
        return replace(standby, calm_since_s=now_s)
    if standby.stage is Stage.JOINED and now_s >= standby.calm_since_s + calm_s:
        return replace(standby, stage=Stage.LEAVING, since_s=now_s, calm_since_s=now_s)
    if standby.stage is Stage.LEAVING and now_s >= max(standby.calm_since_s, standby.since_s) + leave_s:
        return replace(standby, stage=Stage.SILENT, since_s=now_s)
    return standby
