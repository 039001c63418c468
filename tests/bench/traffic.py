"""The traffic meter with 10,000 EIPs that are all busy: how long it holds the loop, and what a scrape costs.

CPU time, since the machine is not quiet. As in the daemon the collector's thresholds are its own, each bite ends with a
look for garbage in what it made, and what the last reading but two said is let go in pieces. The counters are made
beforehand.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from anycastd.model.address import Address, KnownIPv4Address
from anycastd.model.eip import Bandwidth, Eip, EipId
from anycastd.model.nft import Count, Counters, NftSet
from anycastd.model.traffic import SLOT_S, EipTraffic
from anycastd.resources.records import Records
from anycastd.resources.standings import Standings
from anycastd.runtime.process.garbage import THRESHOLDS
from anycastd.runtime.traffic.letting_go import let_go
from anycastd.runtime.traffic.meter import KEPT_READINGS
from anycastd.store.traffic import TrafficFile
from anycastd.telemetry.traffic import TrafficFacts, pieces_of
from anycastd.traffic.meter import Meter
from tests.bench.figures import Figure

EIPS, READINGS, INTERVAL_S = 10_000, 121, 5.0
HOLD_BUDGET_MS, READING_BUDGET_MS = 5.0, 50.0


def _reading(addresses: list[Address], number: int) -> Counters:
    passed = {address: Count(number * at, number * at * 800) for at, address in enumerate(addresses, 1)}
    dropped = dict.fromkeys(addresses, Count(7, 700))
    sets = {NftSet.IN4: passed, NftSet.OUT4: dict(passed), NftSet.LIMIT_IN4: dropped, NftSet.LIMIT_OUT4: dropped}
    return Counters(number * INTERVAL_S, sets)


def _bites_ms(steps: Iterator[object]) -> list[float]:
    found, begun_s = [], time.process_time()
    for _ in steps:
        gc.collect(1)
        found.append((time.process_time() - begun_s) * 1000.0)
        begun_s = time.process_time()
    return [*found, (time.process_time() - begun_s) * 1000.0]


def run() -> list[Figure]:
    """Return the figures of the meter, of a write and of a scrape."""
    addresses: list[Address] = [KnownIPv4Address(0x0A000000 + number) for number in range(EIPS)]
    records = Records(
        Eip(id=EipId(str(one)), address=one, bandwidth=Bandwidth(in_bps=10**8, out_bps=10**8)) for one in addresses
    )
    eips = Standings(lambda: records)
    begun_s = 1_790_000_100.0 // SLOT_S * SLOT_S
    before = gc.get_threshold()
    meter, sums, held, writes = Meter("bench"), [], [], []
    kept: deque[list[EipTraffic]] = deque()
    with tempfile.TemporaryDirectory() as directory:
        file = TrafficFile(Path(directory) / "traffic.db", history_s=86400.0)
        file.open()
        gc.collect()
        gc.set_threshold(*THRESHOLDS)
        for number in range(1, READINGS + 1):
            counters = _reading(addresses, number)
            bites = _bites_ms(meter.steps(counters, eips, begun_s + number * INTERVAL_S))
            sums.append(sum(bites))
            held += bites
            assert meter.sample is not None
            kept.append(list(meter.sample.eips.values()))
            if len(kept) > KEPT_READINGS:
                asyncio.run(let_go(kept.popleft()))
            if (batch := meter.take_batch()) is not None:
                at_s = time.process_time()
                file.write(batch)
                writes.append((time.process_time() - at_s) * 1000.0)
        file.close()
    pieces = _bites_ms(iter(pieces_of(TrafficFacts(meter.sample))))
    gc.set_threshold(*before)
    return _figures(sums, held, writes, pieces)


def _figures(sums: list[float], held: list[float], writes: list[float], pieces: list[float]) -> list[Figure]:
    middle = statistics.median(sums)
    ranked = sorted(held)
    p999 = ranked[int(len(ranked) * 0.999)]
    return [
        Figure(
            f"Counters of {EIPS} busy EIPs made sense of",
            f"{middle:.0f} ms CPU each {INTERVAL_S:g} s; at the end of a slot {max(sums):.0f} ms",
            budget=f"<= {READING_BUDGET_MS:.0f} ms",
            missed=f"It takes {middle:.0f} ms." if middle > READING_BUDGET_MS else "",
        ),
        Figure(
            "The same: the loop held at once",
            f"p99.9 {p999:.1f} ms, longest {ranked[-1]:.1f} ms, n = {len(ranked)}",
            budget=f"p99.9 <= {HOLD_BUDGET_MS:.0f} ms",
            missed=f"The p99.9 is {p999:.1f} ms." if p999 > HOLD_BUDGET_MS else "",
        ),
        Figure("The same: a slot written (in a thread)", f"{max(writes):.0f} ms CPU"),
        Figure(
            "The same: a scrape",
            f"{sum(pieces):.0f} ms CPU, longest piece {max(pieces):.1f} ms",
            budget=f"longest piece <= {HOLD_BUDGET_MS:.0f} ms",
            missed=f"One took {max(pieces):.1f} ms." if max(pieces) > HOLD_BUDGET_MS else "",
        ),
    ]


if __name__ == "__main__":
    for figure in run():
        print(figure.name, "|", figure.measured, "|", figure.budget, figure.missed)
