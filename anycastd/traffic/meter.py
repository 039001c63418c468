"""The meter: readings of the kernel's counters in, one `Sample` out of each, and what is to be saved.

Rules. A counter that is smaller than before began anew: it counts from 0. So does one whose element was missing from
two readings in a row and is there again; missing from one, it may have been passed over (the kernel's listing of a
set that grows is not exact), and to count it from 0 would count all of it twice. A set that a reading does not have
was not read. With nothing saved, the first reading ever counts in the totals and in no point,
since nobody knows when that traffic was. An address that another EIP has got begins at 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from operator import sub

from anycastd.model.address import Address
from anycastd.model.eip import EipId
from anycastd.model.nft import Count, Counters, NamedCounter, NftSet
from anycastd.model.traffic import (
    Batch,
    EipStanding,
    EipTraffic,
    Frame,
    MeterState,
    Moment,
    Rates,
    Sample,
    Saved,
    Totals,
)
from anycastd.traffic.ledger import TALLIES, ZEROS, Ledger, volume
from anycastd.traffic.recent import Recent
from anycastd.traffic.slots import Border, OpenSlot

BITE = 256
"""How many EIPs are worked on before the caller gets the word again: well below a millisecond."""
KEEP_GONE_S = 3600.0
"""How long the account of an EIP that is no longer allocated is kept, should it come back."""

_SILENT = tuple(Rates())
_NONE = Count()
_traffic: Callable[[tuple[EipStanding, int, float, tuple[int, ...], tuple[float, ...]]], EipTraffic]
_traffic = partial(tuple.__new__, EipTraffic)  # half the time of EipTraffic(...), 10,000 times a reading


class Meter:
    """All accounts of a POP. Not to be fed again before the steps of a reading have ended."""

    def __init__(self, boot: str, saved: Saved | None = None, recent: Recent | None = None) -> None:
        self.sample: Sample | None = None
        self.recent = recent or Recent()
        self._boot, self._before = boot, saved.state.at if saved else None
        self._ledgers: dict[Address, Ledger] = {}
        """In the order of their numbers."""
        self._shown: dict[Address, EipTraffic] = {}
        self._reading, self._next_number = 0, saved.state.next_number if saved else 1
        self._pop = list(saved.state.pop) if saved else list(ZEROS)
        self._named = dict(saved.state.named) if saved else {}
        self._slot = OpenSlot(saved.state.open_slot, saved.state.open_seconds) if saved else OpenSlot()
        self._counting: dict[NftSet, int] = {}
        """How many elements of each set are known to have counted something."""
        self._missed: dict[NftSet, set[Address]] = {}
        """Those of them that the last reading did not have."""
        self._began_anew = False
        self._gone: set[int] = set()
        self._batch: Batch | None = None
        if saved:
            self._restore(saved)

    def _restore(self, saved: Saved) -> None:
        rebooted = saved.state.at.boot != self._boot
        for record in sorted(saved.records):
            ledger = Ledger.restored(record._replace(seen=ZEROS) if rebooted else record)
            self._ledgers[record.address] = ledger
            for tally, sets in enumerate(TALLIES):
                name = sets[record.address.version == 6]
                self._counting[name] = self._counting.get(name, 0) + bool(ledger.seen[2 * tally])
        if rebooted:
            self._named = {name: (_NONE, total) for name, (_, total) in self._named.items()}

    def feed(self, counters: Counters, eips: Mapping[Address, EipStanding], unix_s: float) -> Sample:
        """Take in one reading, made at `unix_s`, and return what it says."""
        for _ in self.steps(counters, eips, unix_s):
            pass
        assert self.sample is not None
        return self.sample

    def steps(self, counters: Counters, eips: Mapping[Address, EipStanding], unix_s: float) -> Iterator[None]:
        """Take in one reading in bites of less than a millisecond; `sample` is new when they have ended.

        A reading not later than the one before is passed over.
        """
        elapsed_s, first = self._elapsed_s(counters.at_s, unix_s), self._before is None
        if elapsed_s <= 0.0 and self._reading:
            return
        self._reading += 1
        pop_before = tuple(self._pop)
        for tally, sets in enumerate(TALLIES):
            for name in sets:
                if (elements := counters.elements.get(name)) is not None:
                    yield from self._count(tally, name, elements, unix_s)
        self._count_named(counters.named)
        if first:
            self._forget_when()
        self._before = Moment(self._boot, counters.at_s, unix_s)
        yield from self._show(eips, elapsed_s, unix_s)
        yield from self._leave(eips, counters.at_s)
        pop_grown = [0] * len(ZEROS) if first else list(map(sub, self._pop, pop_before))
        self.sample = Sample(
            counters.at_s, unix_s, elapsed_s, self._shown.copy(), Totals._make(self._pop),
            Rates._make(_speeds(pop_grown, elapsed_s)), {name: total for name, (_, total) in self._named.items()},
        )  # fmt: skip
        if self._reading > 1:
            yield from self._remember(unix_s, elapsed_s)
        yield from self._close(unix_s, elapsed_s)

    def _elapsed_s(self, at_s: float, unix_s: float) -> float:
        """Return the time since the reading before; since a reboot only the wall clock can tell, and not below 0."""
        if self._before is None:
            return 0.0
        if self._before.boot == self._boot:
            return max(at_s - self._before.monotonic_s, 0.0)
        return max(unix_s - self._before.unix_s, 0.0)

    def _count(self, tally: int, name: NftSet, elements: Mapping[Address, Count], unix_s: float) -> Iterator[None]:
        field, known, counting = 2 * tally, 0, 0
        octets_field, ledgers, reading = field + 1, self._ledgers, self._reading
        packets_grown = octets_grown = 0
        for position, (address, count) in enumerate(elements.items(), 1):
            if position % BITE == 0:
                yield
            ledger = ledgers.get(address) or self._begin(address, unix_s)
            seen, packets, octets = ledger.seen, count.packets, count.bytes
            had_packets, had_octets = seen[field], seen[octets_field]
            if had_packets:
                known += 1
            if packets:
                counting += 1
            if packets == had_packets and octets == had_octets:
                continue
            seen[field], seen[octets_field] = packets, octets
            if packets < had_packets or octets < had_octets:
                self._begins_anew(ledger, tally)
            else:
                packets, octets = packets - had_packets, octets - had_octets
            if packets or octets:
                packets_grown += packets
                octets_grown += octets
                ledger.grow(reading, field, packets, octets)
        yield
        self._pop[field] += packets_grown
        self._pop[octets_field] += octets_grown
        missing = self._missing(tally, name, elements) if known < self._counting.get(name, 0) else set()
        self._counting[name] = counting + len(missing)
        self._missed[name] = missing

    def _begins_anew(self, ledger: Ledger, tally: int) -> None:
        ledger.changed = True
        # what passed is what is billed: it is saved at once, while a limit that is changed often can wait
        self._began_anew |= tally < 2

    def _missing(self, tally: int, name: NftSet, elements: Mapping[Address, Count]) -> set[Address]:
        """Return which elements are missing for the first time; those that were missing before are gone."""
        field, version, before = 2 * tally, 6 if name is TALLIES[tally][1] else 4, self._missed.get(name, set())
        missing = set()
        for address, ledger in self._ledgers.items():
            if ledger.seen[field] and address.version == version and address not in elements:
                if address in before:
                    ledger.seen[field : field + 2] = 0, 0
                    self._begins_anew(ledger, tally)
                else:
                    missing.add(address)
        return missing

    def _count_named(self, named: Mapping[NamedCounter, Count]) -> None:
        for name, count in named.items():
            seen, total = self._named.get(name, (_NONE, _NONE))
            anew = count.packets < seen.packets or count.bytes < seen.bytes
            self._named[name] = (count, total + (count if anew else count - seen))

    def _begin(self, address: Address, unix_s: float) -> Ledger:
        ledger = self._ledgers[address] = Ledger(self._next_number, address, unix_s)
        self._next_number += 1
        return ledger

    def _forget_when(self) -> None:
        """Take what the first reading ever found as of no known time: in the totals, in no rate and no point."""
        for ledger in self._ledgers.values():
            ledger.mark, ledger.grown, ledger.moved_in = list(ledger.total), list(ZEROS), 0
        # saved at once: after a crash what passed since then has a time
        self._began_anew = True

    def _show(self, eips: Mapping[Address, EipStanding], elapsed_s: float, unix_s: float) -> Iterator[None]:
        reading = self._reading
        for position, address in enumerate(list(eips), 1):
            if position % BITE == 0:
                yield
            # asked for here and not all at once: each may be made only now
            if (standing := eips.get(address)) is None:
                # it went between two bites
                continue
            ledger = self._ledgers.get(address) or self._begin(address, unix_s)
            if ledger.eip != standing.id:
                self._hand_over(ledger, standing.id, unix_s)
            moved = ledger.moved_in == reading
            same = ledger.standing is standing or ledger.standing == standing
            if same and not moved and not ledger.lively and ledger.gone_s is None:
                continue
            ledger.standing, ledger.lively, ledger.gone_s = standing, moved, None
            speeds = _speeds(ledger.grown, elapsed_s) if moved else _SILENT
            counts = tuple(ledger.total)
            self._shown[address] = _traffic((standing, ledger.number, ledger.since_unix_s, counts, speeds))
        yield

    def _hand_over(self, ledger: Ledger, eip: EipId, unix_s: float) -> None:
        """Let another EIP have the address: its totals begin at 0 (what this reading brought is its own)."""
        if ledger.eip:
            self._gone.add(ledger.number)
            ledger.number, self._next_number = self._next_number, self._next_number + 1
            ledger.since_unix_s = unix_s
            ledger.total = list(ledger.grown) if ledger.moved_in == self._reading else list(ZEROS)
            ledger.mark = list(ZEROS)
            self._ledgers[ledger.address] = self._ledgers.pop(ledger.address)
        ledger.eip, ledger.changed, ledger.standing = eip, True, None

    def _leave(self, eips: Mapping[Address, EipStanding], at_s: float) -> Iterator[None]:
        if len(self._ledgers) == len(eips):
            return
        for position, (address, ledger) in enumerate(list(self._ledgers.items()), 1):
            if position % BITE == 0:
                yield
            if address in eips:
                continue
            self._shown.pop(address, None)
            if ledger.gone_s is None:
                ledger.gone_s = at_s
            # while the kernel still counts it, forgetting it would count all of it once more
            if at_s - ledger.gone_s > KEEP_GONE_S and not any(ledger.seen):
                del self._ledgers[address]
                self._gone.add(ledger.number)

    def _remember(self, unix_s: float, elapsed_s: float) -> Iterator[None]:
        frame, reading = self.recent.begin(unix_s, elapsed_s), self._reading
        for position, ledger in enumerate(list(self._ledgers.values()), 1):
            if position % BITE == 0:
                yield
            if ledger.moved_in == reading:
                frame.add(ledger.number, volume(ledger.grown))

    def frames(self, number: int, since_unix_s: float) -> list[Frame]:
        """Return the recent readings of one EIP that ended after `since_unix_s`, oldest first."""
        return self.recent.of(number, since_unix_s)

    def _close(self, unix_s: float, elapsed_s: float) -> Iterator[None]:
        border, times = self._slot.advance(unix_s, elapsed_s)
        if border is None and not self._began_anew:
            return
        batch = Batch(self.state(), slots=times)
        for position, ledger in enumerate(list(self._ledgers.values()), 1):
            if position % BITE == 0:
                yield
            self._save(ledger, batch, border)
        self._hand_out(batch)

    def _save(self, ledger: Ledger, batch: Batch, border: Border | None) -> None:
        if border is not None and (points := list(ledger.cut(border, self._reading))):
            batch.points[ledger.number] = points
        if ledger.changed:
            batch.records[ledger.number] = ledger.record()

    def _hand_out(self, batch: Batch) -> None:
        batch.gone, self._gone, self._began_anew = self._gone, set(), False
        self._batch = batch

    def state(self) -> MeterState:
        """Return what must outlive the daemon of the POP as of the last reading."""
        assert self._before is not None and self._slot.slot is not None
        return MeterState(
            self._before, self._slot.slot, self._slot.seconds, self._next_number, Totals._make(self._pop),
            dict(self._named),
        )  # fmt: skip

    def keep_all(self) -> None:
        """Have the next reading hand out every account, for a file that has none."""
        for ledger in self._ledgers.values():
            ledger.changed = True
        self._began_anew = True

    def take_batch(self) -> Batch | None:
        """Return what the last reading gave to be saved: at the end of a slot, and when counters began anew."""
        batch, self._batch = self._batch, None
        return batch

    def last_batch(self) -> Batch | None:
        """Return all that is not handed out yet, for a stop; None before the first reading."""
        if self._reading == 0:
            return None
        batch = Batch(self.state())
        for ledger in self._ledgers.values():
            self._save(ledger, batch, None)
        self._hand_out(batch)
        return self.take_batch()


def _speeds(grown: list[int], elapsed_s: float) -> tuple[float, ...]:
    """Return the values of `Rates`."""
    if elapsed_s <= 0.0:
        return _SILENT
    return (grown[1] * 8.0 / elapsed_s, grown[0] / elapsed_s, grown[3] * 8.0 / elapsed_s, grown[2] / elapsed_s)
