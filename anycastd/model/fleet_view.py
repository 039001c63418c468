"""What status, explain and metrics show of the fleet: who is heard, by whom, and who counts for a prefix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from anycastd.model.address import NeighborName, Prefix
from anycastd.model.fleet import NotCounted, Others


class Guard(StrEnum):
    """How a prefix may leave: when others echoed us, not now because nobody is heard, or never (nobody to ask)."""

    ECHO = "echo"
    BLIND = "blind"
    STATIC = "static"


@dataclass(frozen=True, slots=True)
class PopSeen:
    """One other POP; `why` None = it is heard. `moved_s`: when its beacon last moved, on our clock; None = never.

    `by`: the observers (or the store) by which it is heard now; `upstreams`: its own established upstream sessions.
    """

    name: str
    number: int
    why: NotCounted | None
    moved_s: float | None = None
    boot: int = 0
    seq: int = 0
    upstreams: int = 0
    by: tuple[NeighborName, ...] = ()


@dataclass(frozen=True, slots=True)
class ObserverSeen:
    """One observer: whether it is established, and how many of its UPDATEs were beacons, or something else.

    `unreadable` could not be read at all, `flooded` were not read because there were too many.
    """

    name: NeighborName
    established: bool
    heard: int = 0
    foreign: int = 0
    unreadable: int = 0
    flooded: int = 0


@dataclass(frozen=True, slots=True)
class FleetView:
    """The fleet at one moment. `said_s`: when our beacon was last said; `others`: asked for when it is shown.

    `store`: whether beacons go through the fleet's store now; None = they are not to.
    """

    guard: Guard = Guard.STATIC
    number: int = 0
    boot: int = 0
    seq: int = 0
    said_s: float | None = None
    pops: tuple[PopSeen, ...] = ()
    observers: tuple[ObserverSeen, ...] = ()
    others: Mapping[Prefix, Others] = field(default_factory=dict)
    store: bool | None = None
