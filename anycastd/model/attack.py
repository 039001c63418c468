"""Whether an attack is on, of the POP as a whole and of each EIP, and what is known of its shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from anycastd.model.address import Address, Prefix


class AttackState(IntEnum):
    """How far traffic is from usual, least first, so that `max` is the worse."""

    NORMAL = 0
    ELEVATED = 1
    ATTACK = 2


class AttackReason(StrEnum):
    """Why a state is not NORMAL. The log field, metric label, API string and heading in the docs."""

    PACKETS_ABOVE_USUAL = "packets_above_usual"
    BITS_ABOVE_USUAL = "bits_above_usual"
    CONNECTIONS_ABOVE_USUAL = "connections_above_usual"
    PACKETS_ABOVE_LEVEL = "packets_above_level"
    BITS_ABOVE_LEVEL = "bits_above_level"
    CONNECTIONS_ABOVE_LEVEL = "connections_above_level"
    DROPPED_BY_LIMIT = "dropped_by_limit"
    DROPPED_BY_DEVICE = "dropped_by_device"
    DROPPED_BY_SOFTIRQ = "dropped_by_softirq"
    CONNTRACK_FULL = "conntrack_full"
    CHECKS_SLOW = "checks_slow"
    ORDERED = "ordered"


@dataclass(frozen=True, slots=True)
class Rate:
    """What came in, per second, and what of it was dropped. `connections` are new ones; None: nobody counted them."""

    packets: float = 0.0
    bits: float = 0.0
    connections: float | None = None
    dropped_packets: float = 0.0


@dataclass(frozen=True, slots=True)
class Share:
    """One value of a field of the attack's packets and its estimated share of them, in percent."""

    value: str
    percent: float


@dataclass(frozen=True, slots=True)
class Shape:
    """What sampled packets look like: `protocols` (`udp`, `tcp syn`), destination `ports`, `sources` (prefixes).

    The largest first, each an estimate from `sampled` packets; a list is bounded. Percentages are of the sampled that
    have such a thing. `source_ports` tell reflectors (53, 123). `spoofed`: nearly every packet has another source.
    """

    sampled: int = 0
    mean_bytes: float = 0.0
    protocols: tuple[Share, ...] = ()
    ports: tuple[Share, ...] = ()
    sources: tuple[Share, ...] = ()
    source_ports: tuple[Share, ...] = ()
    spoofed: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """How the POP or one EIP stands: the state and since when (monotonic s), why, what comes in and what is usual."""

    state: AttackState = AttackState.NORMAL
    since_s: float = 0.0
    reasons: tuple[AttackReason, ...] = ()
    rate: Rate = Rate()
    usual: Rate = Rate()
    detail: str = ""
    shape: Shape | None = None


@dataclass(frozen=True, slots=True)
class AttackView:
    """All that is known at `at_s` (monotonic). `eips` holds those that are not NORMAL, and no other."""

    at_s: float = 0.0
    pop: Standing = Standing()
    eips: Mapping[Address, Standing] = field(default_factory=dict)

    def of(self, prefix: Prefix) -> Standing:
        """Return the worst standing among the POP's and those of EIPs within `prefix`."""
        within = (one for address, one in self.eips.items() if address.version == prefix.version and address in prefix)
        return max((self.pop, *within), key=lambda one: one.state)
