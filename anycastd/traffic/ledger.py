"""One EIP's account: what the kernel's counters said last, and the totals made of them, which never go down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter, sub

from anycastd.model.address import Address
from anycastd.model.eip import EipId
from anycastd.model.nft import NftSet
from anycastd.model.traffic import EipRecord, EipStanding, Point, Totals, Volume
from anycastd.traffic.slots import Border

TALLIES: tuple[tuple[NftSet, NftSet], ...] = (
    (NftSet.IN4, NftSet.IN6),
    (NftSet.OUT4, NftSet.OUT6),
    (NftSet.LIMIT_IN4, NftSet.LIMIT_IN6),
    (NftSet.LIMIT_OUT4, NftSet.LIMIT_OUT6),
    (NftSet.IDLE4, NftSet.IDLE6),
    (NftSet.DARK4, NftSet.DARK6),
)
"""What is counted for an EIP; tally N has the fields 2N (packets) and 2N+1 (bytes) of `Totals`."""

WIDTH = 2 * len(TALLIES)
ZEROS = (0,) * WIDTH
QUIET = tuple(Volume())
volume: Callable[[list[int]], tuple[int, ...]] = itemgetter(*map(Totals._fields.index, Volume._fields))
"""Of counts in the order of `Totals` those that a point holds, in its order."""


class Ledger:
    """`seen`: the kernel's counters at the last reading, 0 for an element that was not there. `grown`: since the one
    before. `mark`: the totals at the begin of the open slot. Lists of ints in the order of `Totals`."""

    __slots__ = (
        "address", "changed", "eip", "gone_s", "grown", "lively", "mark", "moved_in", "number", "seen", "since_unix_s",
        "standing", "total",
    )  # fmt: skip

    def __init__(self, number: int, address: Address, since_unix_s: float) -> None:
        self.number, self.address, self.since_unix_s = number, address, since_unix_s
        self.eip = EipId("")
        self.standing: EipStanding | None = None
        self.seen, self.total, self.grown, self.mark = list(ZEROS), list(ZEROS), list(ZEROS), list(ZEROS)
        self.moved_in = 0
        """The last reading in which it grew."""
        self.lively = False
        """Whether the sample shows rates above 0."""
        self.changed = True
        """Whether it differs from what was handed out to be saved."""
        self.gone_s: float | None = None

    @classmethod
    def restored(cls, record: EipRecord) -> Ledger:
        """Return the account that was saved."""
        ledger = cls(record.number, record.address, record.since_unix_s)
        ledger.eip = record.eip
        ledger.seen, ledger.total, ledger.mark = list(record.seen), list(record.total), list(record.mark)
        ledger.changed = False
        return ledger

    def record(self) -> EipRecord:
        """Return what is to be saved."""
        self.changed = False
        return EipRecord(
            self.number, self.address, self.eip, self.since_unix_s,
            tuple(self.seen), tuple(self.total), tuple(self.mark),
        )  # fmt: skip

    def grow(self, reading: int, field: int, packets: int, octets: int) -> None:
        """Add to the tally whose packets are that field."""
        if self.moved_in != reading:
            self.grown = list(ZEROS)
            self.moved_in = reading
            self.changed = True
        total, grown = self.total, self.grown
        total[field] += packets
        total[field + 1] += octets
        grown[field] += packets
        grown[field + 1] += octets

    def cut(self, border: Border, reading: int) -> Iterator[Point]:
        """Yield the points that a border ends, and begin the open slot; slots without traffic have no point."""
        if self.total == self.mark:
            return
        grown = self.grown if self.moved_in == reading else ZEROS
        before = list(map(sub, self.total, grown))

        def at(share: float) -> list[int]:
            return [base + int(more * share) for base, more in zip(before, grown, strict=True)]

        begin = self.mark
        for slot, slots, share in ((border.slot, 1, border.head), *((p.slot, p.slots, p.end) for p in border.closed)):
            end = at(share)
            found = volume(list(map(sub, end, begin)))
            if found != QUIET:
                yield Point(slot, slots, found)
            begin = end
        # the last border is where the open slot begins, whatever rounding did to the shares
        self.mark = begin
        self.changed = True
