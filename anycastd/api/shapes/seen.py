"""The shapes of the API's answers about the fleet."""

from __future__ import annotations

from anycastd.api.shapes.shape import Shape
from anycastd.model.fleet import NotCounted
from anycastd.model.fleet_view import Guard


class ObserverShape(Shape):
    """One observer, and how many of its UPDATEs were beacons, something else, unreadable, or too many."""

    observer: str
    established: bool
    heard: int
    foreign: int
    unreadable: int
    flooded: int


class PopSeenShape(Shape):
    """One other POP; `why` null = it is heard. `by` are the observers by which it is, and `store`."""

    pop: str
    number: int
    heard: bool
    why: NotCounted | None
    beacon_age_s: float | None
    boot: int
    seq: int
    upstreams: int
    by: list[str]


class SeenShape(Shape):
    """The fleet as this POP sees it; `number`, `boot` and `seq` are of our own beacon.

    `store`: whether beacons go through the fleet's store now; null = they are not to.
    """

    guard: Guard
    number: int
    boot: int
    seq: int
    said_at: str | None
    store: bool | None
    observers: list[ObserverShape]
    pops: list[PopSeenShape]


class OtherShape(Shape):
    """What one other POP is to us for one prefix; `why` null = counted. `by`: the ways by which it is heard."""

    pop: str
    counted: bool
    why: NotCounted | None
    by: list[str]
    text: str
