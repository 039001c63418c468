"""Routes as we want them at each neighbor and as ExaBGP says it sends them, and the actions between the two."""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from anycastd.model.address import Family, FlowFamily, NeighborName, Prefix
from anycastd.model.flow import FlowMatch

NO_EXPORT = "65535:65281"
BLACKHOLE = "65535:666"
"""RFC 7999: drop what is sent to this address."""
GRACEFUL_SHUTDOWN = "65535:0"
"""RFC 8326. Written as numbers: the word makes ExaBGP 5.0.x run its own `shutdown` (measured)."""

NOT_IN_WORDS = re.compile(r"""[^!-~]|[;{}#"'\\\[\](),]""")
"""What ends, splits or quotes a word of ExaBGP's file, or is beyond ASCII, which it cannot hold."""


@dataclass(frozen=True, slots=True)
class Route:
    """One route to one neighbor, with every attribute explicit. Communities are sorted.

    `as_path` is the whole path as sent (eBGP: our ASN at least once; iBGP: empty, and `local_preference` is set).
    `next_hop` is an address in text, never `self`, so that wanted and observed compare equal.
    """

    prefix: Prefix
    next_hop: str
    as_path: tuple[int, ...] = ()
    med: int | None = None
    local_preference: int | None = None
    communities: tuple[str, ...] = ()
    large_communities: tuple[str, ...] = ()

    @property
    def is_blackhole(self) -> bool:
        """Return whether it is one address of which all is to be dropped: that announces no prefix."""
        return BLACKHOLE in self.communities and self.prefix.prefixlen == self.prefix.max_prefixlen


Routes = Mapping[NeighborName, Mapping[Prefix, Route]]


@dataclass(frozen=True, slots=True)
class FlowRoute:
    """One flow rule to one neighbor (RFC 8955); `rate_bytes_s` 0 = discard.

    `match` is in ExaBGP's words where it printed the rule: by names, so that a rule is known again by its `tag`, a
    large community that stands for match and rate. `key` stands for the match.
    """

    key: str
    destination: Prefix
    match: FlowMatch | str
    rate_bytes_s: int
    tag: str


FilterKey = Prefix | str
FilterRoutes = Mapping[NeighborName, Mapping[FilterKey, Route | FlowRoute]]
"""Blackholes, by prefix, and flow rules, by key: what a neighbor is sent besides prefixes."""


class Priority(IntEnum):
    """Order in our own queue; a command behind others in ExaBGP's pipe waits for all of them (measured)."""

    WITHDRAW = 0
    FAILOVER = 1
    NORMAL = 5
    ASK = 7
    BULK = 9


@dataclass(frozen=True, slots=True)
class Announce:
    """Make `route` what `neighbor` is sent; replaces what was sent for the prefix."""

    neighbor: NeighborName
    route: Route
    priority: Priority = Priority.NORMAL


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Send `neighbor` the prefix no more. `next_hop` is needed by ExaBGP's grammar only."""

    neighbor: NeighborName
    prefix: Prefix
    next_hop: str
    priority: Priority = Priority.WITHDRAW


@dataclass(frozen=True, slots=True)
class AnnounceFlow:
    """Make a flow rule what `neighbor` is sent for its match."""

    neighbor: NeighborName
    flow: FlowRoute
    priority: Priority = Priority.NORMAL


@dataclass(frozen=True, slots=True)
class WithdrawFlow:
    """Send `neighbor` the flow rule no more."""

    neighbor: NeighborName
    flow: FlowRoute
    priority: Priority = Priority.WITHDRAW


@dataclass(frozen=True, slots=True)
class EndOfRib:
    """Send End-of-RIB (RFC 4724): the neighbor then drops what it kept as stale and we did not send again."""

    neighbor: NeighborName
    family: Family | FlowFamily


BgpAction = Announce | Withdraw | AnnounceFlow | WithdrawFlow | EndOfRib


class SessionState(StrEnum):
    """What ExaBGP says of a session."""

    UNKNOWN = "unknown"
    DOWN = "down"
    CONNECTED = "connected"
    ESTABLISHED = "established"


@dataclass(frozen=True, slots=True)
class SessionView:
    """One BGP session: its state, since when (monotonic s), and the last reason it went down."""

    state: SessionState = SessionState.UNKNOWN
    since_s: float = 0.0
    reason: str = ""


class SpeakerState(StrEnum):
    """ExaBGP as a whole: absent, starting, synchronising (acks not aligned yet), ready, or wedged."""

    ABSENT = "absent"
    STARTING = "starting"
    SYNCING = "syncing"
    READY = "ready"
    WEDGED = "wedged"


@dataclass(frozen=True, slots=True)
class BgpObserved:
    """What ExaBGP says it sends. `routes` is the last dump plus what was acknowledged since; None = never dumped.

    `filters` are blackholes and flow rules, which are in no other field; likewise None. `in_flight` are the prefixes
    with a command not yet ended: queued by us, written, or unacknowledged.
    """

    speaker: SpeakerState = SpeakerState.ABSENT
    routes: Routes | None = None
    sessions: Mapping[NeighborName, SessionView] = field(default_factory=dict)
    in_flight: AbstractSet[tuple[NeighborName, Prefix]] = frozenset()
    eor_owed: frozenset[tuple[NeighborName, Family | FlowFamily]] = frozenset()
    """Sessions that came up (or a speaker that started) since the last End-of-RIB we sent for the family."""
    dumped_at_s: float | None = None
    filters: FilterRoutes | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """What an observer's UPDATE says of one prefix; `large_communities` None: it is withdrawn.

    `originator` is the router that a reflector had it from (RFC 4456), empty if none is said.
    """

    observer: NeighborName
    prefix: Prefix
    large_communities: tuple[str, ...] | None
    as_path: tuple[int, ...] = ()
    originator: str = ""


@dataclass(frozen=True, slots=True)
class DeadManStage:
    """What the bridge says to ExaBGP once no daemon was connected for `after_s` seconds (I3); `name` is for people.

    `at_s`: not before that monotonic second either, though a daemon was there in between: what ends, ends.
    """

    name: str
    after_s: float
    actions: tuple[BgpAction, ...]
    at_s: float | None = None
