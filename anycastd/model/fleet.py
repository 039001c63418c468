"""What POPs tell each other, and what policy is given of it: claims, epochs, beacons, who is counted and who is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from anycastd.model.address import Prefix

MAX_POP = 254
"""POPs are numbered 1 to this: the number is the last byte of the beacon's address."""


class Claim(IntEnum):
    """What a POP says of a prefix, in two bits, least first. GSHUT is said as DEPREF: it is announced, no more.

    DRAINING: as DEPREF, but the POP could serve it; an operator drains it.
    """

    GONE = 0
    DEPREF = 1
    DRAINING = 2
    NORMAL = 3


@dataclass(frozen=True, slots=True, order=True)
class Epoch:
    """One entry, or intent to enter, into DEPREF of any prefix of a POP; `counter` (16 bits) counts within a boot.

    `boot` must be greater at each start of the POP's daemon: the Unix time of the start, or one more than the last.
    """

    boot: int
    counter: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Beacon:
    """All that a POP says at one moment. `seq` grows with each beacon of a boot; `epoch` counts within the boot.

    `upstreams`: its established upstream sessions. `intents`: the prefixes that it wants to drain. `echoes`: the last
    epoch that it has seen of each other POP, by number. `calls`: the prefixes for which it calls on standbys.
    """

    pop: int
    boot: int
    seq: int
    epoch: int = 0
    upstreams: int = 0
    claims: Mapping[Prefix, Claim] = field(default_factory=dict)
    intents: frozenset[Prefix] = frozenset()
    echoes: Mapping[int, Epoch] = field(default_factory=dict)
    calls: frozenset[Prefix] = frozenset()


@dataclass(frozen=True, slots=True)
class Said:
    """What a POP says of one prefix: its claim, and whether it wants to drain it."""

    claim: Claim
    intends: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one beacon route carries. Part 0 is the head: `epoch`, `upstreams`, `echoes`, and in `versions` the seq of
    each other part as it was when the head was made, and in `calls` the short names of the prefixes for which standbys
    are called. `said` is by the prefix's name (`fleet/codec.py`), in its order.
    """

    pop: int
    boot: int
    seq: int
    number: int = 0
    epoch: int = 0
    upstreams: int = 0
    said: Mapping[int, Said] = field(default_factory=dict)
    echoes: Mapping[int, Epoch] = field(default_factory=dict)
    versions: Mapping[int, int] = field(default_factory=dict)
    calls: frozenset[int] = frozenset()


class NotCounted(StrEnum):
    """Why another POP is not counted for a prefix. The field of `status` and `explain`, and the heading in the docs."""

    BLIND = "blind"
    NOT_HEARD = "not_heard"
    STALE = "stale"
    NOT_ANSWERED = "not_answered"
    UNREADABLE = "unreadable"
    DUPLICATE = "duplicate"
    INCOMPLETE = "incomplete"
    NO_UPSTREAM = "no_upstream"
    NOT_CARRIED = "not_carried"
    NAME_SHARED = "name_shared"
    GONE = "gone"
    DEPREF = "depref"
    DRAINING = "draining"
    NOT_ECHOED = "not_echoed"
    SAME_DOMAIN = "same_domain"


class FleetFault(StrEnum):
    """What is wrong with what is heard: the operator must look at it. The POPs concerned are not counted."""

    BEACON_UNREADABLE = "beacon_unreadable"
    BEACON_REPLAYED = "beacon_replayed"
    UNKNOWN_POP = "unknown_pop"
    POP_TWICE = "pop_twice"
    OWN_NUMBER_TAKEN = "own_number_taken"
    NAME_SHARED = "name_shared"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: of which POP or prefix (in words), and how it shows."""

    kind: FleetFault
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class Uncounted:
    """Another POP, by name, that is not counted, and why."""

    pop: str
    why: NotCounted


@dataclass(frozen=True, slots=True, kw_only=True)
class Others:
    """What policy is given of the other POPs for one prefix (`Facts.fleet`); None in its place = nobody can be asked.

    `pops`: how many the fleet has, this one included. `counted`: those that say NORMAL and have seen the entry into
    DEPREF (or the intent) which the prefix's memory counts as `entry`; worthless for any other. `goes_first`: those of
    them that want to drain the prefix and have the better rank. `present`: those that announce it at any level;
    `normal`: those that say NORMAL, whether or not they saw our entry. `uncounted`: all that are not in `counted`.
    `blind_since_s`: since when nobody can be heard. That too few are present counts from `sure_from_s` on: what was not
    heard yet, just after a session came up, is not absent. From `boot_at_s` on a prefix comes up unproven.
    """

    pops: int
    entry: int = 0
    counted: tuple[str, ...] = ()
    goes_first: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    normal: tuple[str, ...] = ()
    uncounted: tuple[Uncounted, ...] = ()
    blind_since_s: float | None = None
    sure_from_s: float = 0.0
    boot_at_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSpec:
    """The fleet as configured, the same on every POP but for `number`. Times are seconds.

    `pops`: the name of each POP by its number, this one's (`number`) included. `base`: where beacons live, at least
    256 addresses of one family; `asn` is the first part of their large communities. A beacon is sent each
    `heartbeat_s`, and when something changes, at most each `min_gap_s`; after three heartbeats without one a POP counts
    no more. `blind_s`: how long nobody must be heard before withdrawn prefixes come back; `boot_s`: how long a start
    may take before they come up unproven. `min_upstreams`: how many established upstream sessions must have what is
    claimed.
    """

    number: int
    pops: Mapping[int, str]
    base: Prefix
    asn: int
    heartbeat_s: float = 3.0
    min_gap_s: float = 0.1
    blind_s: float = 10.0
    boot_s: float = 60.0
    min_upstreams: int = 1

    @property
    def stale_s(self) -> float:
        """Return after how long without a new beacon a POP counts no more."""
        return 3 * self.heartbeat_s
