"""The part of the packet filter that is ours: table `inet anycastd`, wanted or observed, and the changes between.

The rules are constant (a text rendered once from the settings); an EIP is elements of sets and maps only. A set's
elements are a mapping from key to value; sets without data have the value None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from anycastd.model.address import Address, Prefix
from anycastd.model.flow import FlowMatch

BUCKETS = 64
REGION_MASK = 0xFF000000
BY_SOURCE = 0x00800000
"""Set in the number of a pool whose buckets are chosen by the client's address alone."""


class NftSet(StrEnum):
    """The one list of sets and maps; 4 and 6 are the family of the addresses in them.

    Data of maps are named behind the arrow; sets with `counter` count packets and bytes in each element.
    """

    OWN4 = "own4"
    """Prefixes that are ours: packets to addresses in them are ours to judge (intervals)."""
    OWN6 = "own6"
    EIP4 = "eip4"
    """EIP -> pool number (below 2^24)."""
    EIP6 = "eip6"
    POOL = "pool"
    """Pool number -> path mark, for a pool with one path."""
    SLOT = "slot"
    """(Pool number, bucket 0..63) -> path mark, for a pool with several."""
    NAT4 = "nat4"
    """Path mark -> backend address."""
    NAT6 = "nat6"
    PORT4 = "port4"
    """(Path mark, IP protocol number, port) -> (backend address, port)."""
    PORT6 = "port6"
    HIDE4 = "hide4"
    """Path mark -> our address that the backend sees."""
    HIDE6 = "hide6"
    TRANSLATED = "translated"
    """Path marks whose packets need a connection's translation: none can be carried without one."""
    IN4 = "in4"
    """EIPs (counter): let through from clients. Every allocated EIP, so that counters outlive a rebind."""
    IN6 = "in6"
    NEW4 = "new4"
    """EIPs that carry something (counter): the first packet of each connection; of what is not tracked, each SYN."""
    NEW6 = "new6"
    OUT4 = "out4"
    """EIPs (counter): let through to clients."""
    OUT6 = "out6"
    LIMIT_IN4 = "limin4"
    """EIPs with a limit -> Limit (counter: what was dropped for being above it)."""
    LIMIT_IN6 = "limin6"
    LIMIT_OUT4 = "limout4"
    LIMIT_OUT6 = "limout6"
    IDLE4 = "idle4"
    """EIPs that carry nothing (unbound, blocked): dropped (counter)."""
    IDLE6 = "idle6"
    DARK4 = "dark4"
    """EIPs without a path: dropped (counter)."""
    DARK6 = "dark6"
    PONG4 = "pong4"
    """EIPs whose echo requests the POP answers itself."""
    PONG6 = "pong6"
    FREE4 = "free4"
    """EIPs that are not tracked."""
    FREE6 = "free6"
    LOOSE4 = "loose4"
    """EIPs under attack: what begins there (SYNs, datagrams, echo requests) is not tracked, connections are."""
    LOOSE6 = "loose6"
    CLASS4 = "class4"
    """EIP -> minor number of its HTB class (major 0xa001)."""
    CLASS6 = "class6"


@dataclass(frozen=True, slots=True)
class Limit:
    """A policer: bytes per second of L3, and how many bytes may come at once."""

    bytes_per_s: int
    burst_bytes: int


Key = Address | Prefix | int | tuple[int, ...]
Value = int | Address | tuple[Address, int] | Limit | None
Elements = Mapping[NftSet, Mapping[Key, Value]]


@dataclass(frozen=True, slots=True)
class LocalFilter:
    """Packets to EIPs that are dropped, or limited to `rate_bytes_s`, before anything else is asked of them.

    `id` names the counter of what is dropped. `until_unix_s`: the kernel itself ends it then, should nobody have.
    """

    id: str
    match: FlowMatch
    rate_bytes_s: int = 0
    until_unix_s: int | None = None


@dataclass(frozen=True, slots=True)
class NftSettings:
    """What the constant rules depend on; another value means that the rules are rendered and installed anew.

    `mss4`, `mss6`: the largest TCP segment that fits every tunnel (smallest MTU - 40, - 60). `seed` is the same in
    the whole fleet. `outer_udp_ports`: of the tunnels' own packets, which are not tracked. `own_sources`: the addresses
    from which we check: packets from there go first and carry `dscp`, as those of BGP and BFD do. `own_first` False:
    none do.
    """

    table: str = "anycastd"
    mss4: int = 1410
    mss6: int = 1390
    seed: int = 0x616E7963
    outer_udp_ports: tuple[int, ...] = (4789,)
    own_first: bool = True
    own_sources: tuple[Address, ...] = ()
    dscp: int | None = None
    filters: tuple[LocalFilter, ...] = ()
    """Blackholes and flow rules: few, so that they are rules and not elements."""


@dataclass(frozen=True, slots=True)
class NftObserved:
    """What was read back. `elements` None = never read. `rules` says whether the constant rules stand as installed.

    `elements` is a live view that the reader keeps up to date: with 10,000 EIPs a copy a change would cost more than
    the change. `resync` counts the times that a full reading found something else than was known before, so that a
    comparison of everything is due; otherwise only what was asked for has changed.
    """

    elements: Elements | None = None
    rules: bool = False
    resync: int = 0


@dataclass(frozen=True, slots=True)
class PutElement:
    """Make an element so: add it, or replace the one that has its key, in one transaction."""

    set: NftSet
    key: Key
    value: Value = None


@dataclass(frozen=True, slots=True)
class DropElement:
    """Remove an element."""

    set: NftSet
    key: Key


NftChange = PutElement | DropElement


@dataclass(frozen=True, slots=True)
class Count:
    """Packets and bytes (L3) of one counter."""

    packets: int = 0
    bytes: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.packets + other.packets, self.bytes + other.bytes)

    def __sub__(self, other: Count) -> Count:
        return Count(self.packets - other.packets, self.bytes - other.bytes)


class NamedCounter(StrEnum):
    """Drops that belong to no EIP; packets to our prefixes that are not delivered are in one of these or in a set's."""

    UNBOUND4 = "unbound4"
    """To an address that no EIP has."""
    UNBOUND6 = "unbound6"
    NO_PATH = "no_path"
    """No pool, no path, or no route of the region that is not a blackhole."""
    UNTRACKED = "untracked"
    """Packets of no known connection that only a translation could deliver (an ICMP error, or out of window)."""


class PopCounter(StrEnum):
    """Totals of the POP, read each second; cheap, since each is one number for all EIPs."""

    ARRIVED4 = "arrived4"
    """Packets to our prefixes, whatever becomes of them."""
    ARRIVED6 = "arrived6"
    LIMITED = "limited"
    """Of these, dropped above a limit."""
    OPENED = "opened"
    """The first packet of a connection that got a path; of what is not tracked, each SYN."""


@dataclass(frozen=True, slots=True)
class PopTotals:
    """One reading of the POP's totals; `at_s` is monotonic, `dropped_packets`: for no EIP's sake, and by filters.

    They can fall: the counter of a filter that has ended goes some day.
    """

    at_s: float
    counts: Mapping[PopCounter, Count] = field(default_factory=dict)
    dropped_packets: int = 0


@dataclass(frozen=True, slots=True)
class Counters:
    """One reading of every counter; `at_s` is monotonic."""

    at_s: float
    elements: Mapping[NftSet, Mapping[Address, Count]] = field(default_factory=dict)
    named: Mapping[NamedCounter, Count] = field(default_factory=dict)
