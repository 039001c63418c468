"""The kernel's counters as a value that traffic changes, and a disk that keeps what the meter hands out."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address

from anycastd.model.address import Address
from anycastd.model.eip import EipId
from anycastd.model.nft import Count, Counters, NamedCounter, NftSet
from anycastd.model.traffic import Batch, EipRecord, EipStanding, MeterState, Point, Saved, SlotTime
from anycastd.traffic.ledger import TALLIES

NOON = 1_790_000_100.0 - 1_790_000_100.0 % 300
"""A border of slots: 2026-09-21T14:15:00Z."""
A, B, SIX = ip_address("203.0.113.10"), ip_address("203.0.113.11"), ip_address("2001:db8:113::10")
STANDINGS = {
    A: EipStanding(EipId("eip-0000000a"), 10_000_000, None),
    B: EipStanding(EipId("eip-0000000b")),
    SIX: EipStanding(EipId("eip-00000006"), None, 20_000_000),
}
COUNTED = tuple(name for sets in TALLIES for name in sets)


def set_of(tally: NftSet, address: Address) -> NftSet:
    """Return the set of an address' family for a set named by its IPv4 member."""
    return next(sets[address.version == 6] for sets in TALLIES if sets[0] is tally)


@dataclass
class Kernel:
    """Counters by set and address; `now_s` is monotonic, `wall_s` what the wall clock says."""

    now_s: float = 1000.0
    wall_s: float = NOON
    elements: dict[NftSet, dict[Address, Count]] = field(default_factory=lambda: {name: {} for name in COUNTED})
    named: dict[NamedCounter, Count] = field(default_factory=dict)

    def allocate(self, *addresses: Address) -> Kernel:
        for address in addresses:
            for tally in (NftSet.IN4, NftSet.OUT4):
                self.elements[set_of(tally, address)].setdefault(address, Count())
        return self

    def carry(self, address: Address, packets: int, octets: int | None = None, tally: NftSet = NftSet.IN4) -> None:
        elements = self.elements[set_of(tally, address)]
        more = Count(packets, packets * 100 if octets is None else octets)
        elements[address] = elements.get(address, Count()) + more

    def reset(self, address: Address, tally: NftSet = NftSet.IN4) -> None:
        self.elements[set_of(tally, address)][address] = Count()

    def wait(self, seconds: float) -> Kernel:
        self.now_s += seconds
        self.wall_s += seconds
        return self

    def reading(self) -> Counters:
        return Counters(self.now_s, {name: dict(found) for name, found in self.elements.items()}, dict(self.named))


@dataclass
class Disk:
    """What was written, as the store keeps it."""

    state: MeterState | None = None
    records: dict[int, EipRecord] = field(default_factory=dict)
    points: list[tuple[int, Point]] = field(default_factory=list)
    slots: list[SlotTime] = field(default_factory=list)

    def write(self, batch: Batch | None) -> None:
        if batch is None:
            return
        self.state = batch.state
        self.records |= batch.records
        self.points += [(number, point) for number, points in batch.points.items() for point in points]
        self.slots += batch.slots
        for number in batch.gone:
            self.records.pop(number, None)

    def saved(self) -> Saved | None:
        return Saved(self.state, tuple(self.records.values())) if self.state else None

    def bytes_in(self, number: int = 1) -> dict[int, int]:
        """Return the bytes from clients by slot, of points that stand for one slot."""
        return {point.slot: point.values[0] for of, point in self.points if of == number and point.slots == 1}
