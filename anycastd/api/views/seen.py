"""The fleet as the API shows it: how a prefix may leave, who is heard, and who counts for a prefix."""

from __future__ import annotations

from collections.abc import Iterator

from anycastd.api.views.moments import Json, age_s, iso
from anycastd.model.address import NeighborName, Prefix
from anycastd.model.fleet import NotCounted, Others
from anycastd.model.fleet_view import Guard
from anycastd.model.status import Status

WORDS = {
    NotCounted.BLIND: "no observer is there, nobody can be seen",
    NotCounted.NOT_HEARD: "never heard",
    NotCounted.STALE: "its beacon stands still: its daemon, or the way to it, is gone",
    NotCounted.NOT_ANSWERED: "it has not yet heard of our present start, or is a recording",
    NotCounted.UNREADABLE: "its beacon cannot be read",
    NotCounted.DUPLICATE: "two POPs use its number",
    NotCounted.INCOMPLETE: "a part of its beacon is on the way",
    NotCounted.NO_UPSTREAM: "it has no upstream",
    NotCounted.NOT_CARRIED: "it does not have this prefix",
    NotCounted.NAME_SHARED: "the prefix's name in beacons is that of another",
    NotCounted.GONE: "WITHDRAWN",
    NotCounted.DEPREF: "DEPREF",
    NotCounted.DRAINING: "DEPREF, being drained",
    NotCounted.NOT_ECHOED: "NORMAL, has not yet seen our present DEPREF",
    NotCounted.SAME_DOMAIN: "another POP of its failure domain is counted",
}
"""What parts a POP from being counted, for people."""
COUNTED = "NORMAL, and it has seen our present DEPREF"


def fleet(status: Status) -> Json:
    """Return the fleet as it is seen."""
    seen = status.fleet
    return {
        "guard": seen.guard.value,
        "number": seen.number,
        "boot": seen.boot,
        "seq": seen.seq,
        "said_at": iso(status, seen.said_s),
        "store": seen.store,
        "observers": [
            {
                "observer": one.name,
                "established": one.established,
                "heard": one.heard,
                "foreign": one.foreign,
                "unreadable": one.unreadable,
                "flooded": one.flooded,
            }
            for one in seen.observers
        ],
        "pops": [
            {
                "pop": one.name,
                "number": one.number,
                "heard": one.why is None,
                "why": None if one.why is None else one.why.value,
                "beacon_age_s": None if one.moved_s is None else age_s(status, one.moved_s),
                "boot": one.boot,
                "seq": one.seq,
                "upstreams": one.upstreams,
                "by": list(one.by),
            }
            for one in seen.pops
        ],
    }


def others(status: Status, prefix: Prefix) -> list[Json]:
    """Return each other POP for one prefix: whether it is counted, and if not why."""
    found = status.fleet.others.get(prefix)
    if found is None:
        return []
    ways = {one.name: list(one.by) for one in status.fleet.pops}
    return sorted((_entry(pop, why, ways.get(pop, [])) for pop, why in _each(found)), key=lambda one: str(one["pop"]))


def _each(found: Others) -> Iterator[tuple[str, NotCounted | None]]:
    for pop in found.counted:
        yield pop, None
    for one in found.uncounted:
        yield one.pop, one.why


def _entry(pop: str, why: NotCounted | None, by: list[NeighborName]) -> Json:
    words = COUNTED if why is None else WORDS[why]
    heard = f" (by {', '.join(by)})" if by else ""
    return {
        "pop": pop,
        "counted": why is None,
        "why": None if why is None else why.value,
        "by": by,
        "text": f"{pop}: {'counted' if why is None else 'not counted'}, {words}{heard}",
    }


def other_lines(status: Status, entries: list[Json]) -> list[str]:
    """Return the lines of `explain` about the other POPs; none if nobody can be asked."""
    if status.fleet.guard is Guard.STATIC:
        return []
    return [entry["text"] for entry in entries] or ["there are no other POPs"]
