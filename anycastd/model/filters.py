"""What an operator sacrifices or filters under attack: blackholes of single addresses, and flow rules."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from anycastd.model.address import Address, NeighborName, Prefix
from anycastd.model.flow import FlowMatch
from anycastd.model.nft import Count


class FilterKind(StrEnum):
    """What stands: everything to one address is dropped, or packets of a kind are dropped or limited."""

    BLACKHOLE = "blackhole"
    FLOW = "flow"


class Auto(StrEnum):
    """What becomes of the rule that fits an attack: nothing, it is shown to the operator, or it is set."""

    OFF = "off"
    PROPOSE = "propose"
    APPLY = "apply"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blackhole:
    """Every packet to one address is dropped: here, and at the neighbors that take it (none named = all of those).

    Times are monotonic seconds.
    """

    id: str
    address: Address
    neighbors: tuple[NeighborName, ...] = ()
    owner: str
    reason: str
    began_s: float
    expires_s: float

    @property
    def what(self) -> str:
        """Return it in words."""
        return f"blackhole of {self.address}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRule:
    """Packets that match are dropped, or limited to `rate_bytes_s` (L3; 0 = dropped): here, and at neighbors."""

    id: str
    match: FlowMatch
    rate_bytes_s: int = 0
    neighbors: tuple[NeighborName, ...] = ()
    owner: str
    reason: str
    began_s: float
    expires_s: float

    @property
    def what(self) -> str:
        """Return it in words."""
        done = f"limit to {rate_words(self.rate_bytes_s)}" if self.rate_bytes_s else "drop"
        return f"flow rule, {done}: {self.match.words}"


def rate_words(bytes_s: int) -> str:
    """Return a rate in bits: `10 Mbit/s`."""
    bits = bytes_s * 8
    for unit, size in (("Gbit/s", 10**9), ("Mbit/s", 10**6), ("kbit/s", 10**3)):
        if bits >= size:
            return f"{bits / size:.4g} {unit}"
    return f"{bits} bit/s"


Filter = Blackhole | FlowRule


@dataclass(frozen=True, slots=True)
class Filters:
    """Those in force at one moment, oldest first. `unread` says why the file that holds them cannot be read."""

    standing: tuple[Filter, ...] = ()
    unread: str = ""

    @property
    def blackholes(self) -> tuple[Blackhole, ...]:
        """Return the blackholes."""
        return tuple(one for one in self.standing if isinstance(one, Blackhole))

    @property
    def rules(self) -> tuple[FlowRule, ...]:
        """Return the flow rules."""
        return tuple(one for one in self.standing if isinstance(one, FlowRule))

    def within(self, prefix: Prefix) -> tuple[Filter, ...]:
        """Return those whose destination lies within `prefix`."""
        return tuple(one for one in self.standing if lies_in(destination_of(one), prefix))


def destination_of(one: Filter) -> Prefix | Address:
    """Return what it is about."""
    return one.address if isinstance(one, Blackhole) else one.match.destination


def lies_in(what: Prefix | Address, prefix: Prefix) -> bool:
    """Return whether an address or prefix lies within a prefix."""
    if what.version != prefix.version:
        return False
    first = getattr(what, "network_address", what)
    length = getattr(what, "prefixlen", what.max_prefixlen)
    return first in prefix and length >= prefix.prefixlen


@dataclass(frozen=True, slots=True)
class FilterFacts:
    """What is counted of one."""

    id: str
    kind: FilterKind
    destination: str
    ends_unix_s: float
    dropped: Count
