"""How an attack is absorbed (I6, docs/attack.md): what health may not do meanwhile, and what the data plane does."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class HoldDepref(StrEnum):
    """When health may not depreference a prefix under attack: until room elsewhere is known, always, or never."""

    WITHOUT_ROOM = "without_room"
    ALWAYS = "always"
    NEVER = "never"


class Untrack(StrEnum):
    """Whether new flows of an attacked EIP go without connection tracking where its binding allows it."""

    AUTO = "auto"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsorbHolds:
    """What of health's word is held while an attack is on, and for `calm_s` after it (S29).

    What health depreferenced within `look_back_s` before the attack was seen is taken back: checks may see it first.
    """

    hold_withdrawal: bool = True
    hold_depref: HoldDepref = HoldDepref.WITHOUT_ROOM
    calm_s: float = 60.0
    look_back_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsorbConfig:
    """What is done while an attack is on.

    `dscp`: the mark of our own packets (checks, BFD, BGP), 0 to 63; None: they have none.
    """

    enabled: bool = True
    holds: AbsorbHolds = field(default_factory=AbsorbHolds)
    untrack: Untrack = Untrack.AUTO
    dscp: int | None = 48
