"""The meter at work: readings, the file in its thread, and what the API is told, with a real file."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from anycastd.api.ports import Shown
from anycastd.errors import ActuatorTransient
from anycastd.model.eip import Eip, EipId, EipStatus, EipView, PlacementReason
from anycastd.model.nft import Counters, NftSet
from anycastd.model.topology import EipConfig
from anycastd.model.traffic import EipStanding
from anycastd.runtime.traffic.meter import TrafficMeter
from tests.unit.traffic.kernel import NOON, SIX, STANDINGS, A, B, Kernel


class Pop:
    """A kernel, and the daemons that meter it one after another."""

    def __init__(self, path: Path) -> None:
        self.path, self.kernel = path, Kernel().allocate(A, B, SIX)
        self.eips = dict(STANDINGS)
        self.told: list[str] = []
        self.unreadable = False
        self.meter = self.start()

    def start(self) -> TrafficMeter:
        self.meter = TrafficMeter(
            self.read, lambda: self.eips, self.path, EipConfig(), self.told.append, "boot", lambda: self.kernel.wall_s
        )
        return self.meter

    async def read(self) -> Counters:
        if self.unreadable:
            raise ActuatorTransient("the socket is full")
        return self.kernel.reading()

    async def carry(self, readings: int = 1, packets: int = 10, seconds: float = 5.0) -> None:
        """Let an EIP carry so much before each reading, and wait until what it brought is written or refused."""
        for _ in range(readings):
            self.kernel.carry(A, packets)
            self.kernel.wait(seconds)
            await self.meter.take_reading()
            if self.meter._writing is not None:
                await self.meter._writing

    def total(self) -> int:
        assert self.meter.sample is not None
        return self.meter.sample.eips[A].totals.in_packets


@pytest.fixture
async def pop(tmp_path: Path) -> AsyncIterator[Pop]:
    made = Pop(tmp_path / "traffic.db")
    await made.carry(packets=0)
    yield made
    await made.meter.stop()


async def test_a_restart_goes_on_where_the_last_run_was(pop: Pop) -> None:
    await pop.carry(70)
    await pop.meter.stop()
    pop.start()
    await pop.carry(5)
    assert pop.total() == 750
    found = await pop.meter.traffic(A, 3600.0)
    assert found["eip"] == STANDINGS[A].id
    assert sum(point["in"]["packets"] for point in found["points"]) == 590 + 40
    assert pop.told[0] == ""


async def test_a_run_that_ended_without_a_word_lost_nothing(pop: Pop) -> None:
    await pop.carry(70)
    pop.meter._disk.submit(pop.meter._file.close).result()
    pop.start()
    await pop.carry(1)
    assert pop.total() == 710


async def test_the_months_are_told(pop: Pop) -> None:
    await pop.carry(20, seconds=300.0, packets=30)
    months = (await pop.meter.traffic(A, 86400.0))["percentile_95"]
    assert [(month["month"], month["complete"]) for month in months] == [("2026-08", True), ("2026-09", False)]
    assert (months[1]["points"], months[1]["in_bps"]) == (20, 80)


async def test_a_reading_that_fails_is_made_up_for_by_the_next(pop: Pop) -> None:
    pop.unreadable = True
    await pop.carry()
    assert pop.total() == 0
    pop.unreadable = False
    await pop.carry()
    assert pop.total() == 20
    assert pop.meter.sample is not None
    assert pop.meter.sample.interval_s == 10.0


async def test_a_full_disk_is_told_and_metering_goes_on_until_there_is_room(pop: Pop) -> None:
    pop.eips |= {A + n: EipStanding(EipId(f"eip-{n:08d}")) for n in range(100, 200)}
    for address in pop.eips:
        pop.kernel.carry(address, 1)
    pop.meter._disk.submit(pop.meter._file._rows, "PRAGMA max_page_count = 1").result()
    await pop.carry(1, seconds=300.0)
    await pop.carry(2, seconds=300.0)
    assert "full" in pop.told[-1]
    assert pop.total() == 31
    # the last 5 of 300 seconds are in the slot that is open
    assert sum(point["in"]["packets"] for point in (await pop.meter.traffic(A, 86400.0))["points"]) == 30
    pop.meter._disk.submit(pop.meter._file._rows, "PRAGMA max_page_count = 100000").result()
    await pop.carry(1, seconds=300.0)
    assert pop.told[-1] == ""
    await pop.meter.stop()
    pop.start()
    await pop.carry()
    assert pop.total() == 51


async def test_a_file_that_cannot_be_opened_is_tried_again_and_then_gone_on_from(tmp_path: Path) -> None:
    first = Pop(tmp_path / "traffic.db")
    first.kernel.carry(B, 50)
    await first.carry(2, packets=100)
    first.kernel.reset(B)
    first.kernel.carry(B, 5)
    await first.carry(1, packets=100)
    await first.meter.stop()
    hidden = tmp_path / "hidden"
    first.path.rename(hidden)
    first.path.mkdir()
    first.start()
    await first.carry(2)
    assert "traffic.db" in first.told[-1]
    assert first.total() == 320, "what the kernel says, until the saved totals are known"
    assert (await first.meter.traffic(A, 60.0))["history_missing"]
    first.path.rmdir()
    hidden.rename(first.path)
    await first.carry(2)
    assert first.told[-1] == ""
    assert first.total() == 340
    await first.meter.stop()
    first.start()
    await first.carry()
    assert first.meter.sample is not None
    assert first.meter.sample.eips[B].totals.in_packets == 55
    await first.meter.stop()


async def test_while_a_write_takes_long_what_is_newer_waits_and_is_written_at_a_stop(pop: Pop) -> None:
    stuck = threading.Event()
    pop.meter._disk.submit(stuck.wait)
    for _ in range(3):
        pop.kernel.carry(A, 30)
        pop.kernel.wait(300.0)
        await pop.meter.take_reading()
    assert pop.total() == 90
    stuck.set()
    await pop.meter.stop()
    pop.start()
    await pop.carry(packets=0)
    points = (await pop.meter.traffic(A, 86400.0))["points"]
    assert [point["in"]["packets"] for point in points] == [29, 30, 30]


async def test_a_file_made_late_gets_every_account(tmp_path: Path) -> None:
    pop = Pop(tmp_path / "traffic.db")
    pop.path.mkdir()
    await pop.carry(packets=100)
    pop.kernel.reset(A)
    await pop.carry(2)
    pop.path.rmdir()
    await pop.carry(2)
    await pop.meter.stop()
    pop.start()
    await pop.carry()
    assert pop.total() == 150
    with closing(sqlite3.connect(pop.path)) as database:
        assert database.execute("SELECT count(*) FROM traffic_eip").fetchone() == (3,)
    await pop.meter.stop()


@pytest.mark.parametrize("span_s", [0.0, -1.0, 59.9, 36 * 86400.0, float("nan")])
async def test_a_span_out_of_range_is_refused(pop: Pop, span_s: float) -> None:
    with pytest.raises(ValueError, match=r"span must be from 60 s to [0-9]+ s \(eip.history\)"):
        await pop.meter.traffic(A, span_s)


async def test_a_request_is_answered_by_its_span(pop: Pop) -> None:
    await pop.carry(30)
    eip = Eip(id=STANDINGS[A].id, address=A)
    shown = Shown(EipView(eip, EipStatus.UNBIND, PlacementReason.UNBOUND, ""), None)
    assert len((await pop.meter.asked(shown, {"span": "1m"}))["points"]) == 12
    assert len((await pop.meter.asked(shown, {}))["points"]) == 30
    for query in ({"span": "soon"}, {"span": "1s"}):
        with pytest.raises(ValueError, match="span"):
            await pop.meter.asked(shown, query)


async def test_an_address_that_is_not_allocated_is_a_key_error_and_a_new_one_has_no_traffic(pop: Pop) -> None:
    with pytest.raises(KeyError):
        await pop.meter.traffic(A + 77, 60.0)
    pop.eips[A + 77] = EipStanding(EipId("eip-00000077"), 5, 6)
    found = await pop.meter.traffic(A + 77, 60.0)
    assert (found["points"], found["totals"]["in"]["bytes"], found["rates"]["in"]["limit_bps"]) == ([], 0, 5)


async def test_it_reads_at_its_interval_until_cancelled(tmp_path: Path) -> None:
    kernel, readings = Kernel().allocate(A), 0
    enough = asyncio.Event()

    async def read() -> Counters:
        nonlocal readings
        readings += 1
        kernel.carry(A, 1, tally=NftSet.OUT4)
        kernel.wait(0.01)
        if readings == 3:
            enough.set()
        return kernel.reading()

    config = EipConfig(traffic_interval_s=0.01)
    meter = TrafficMeter(read, lambda: STANDINGS, tmp_path / "traffic.db", config, print, "boot", lambda: NOON)
    running = asyncio.create_task(meter.run())
    await asyncio.wait_for(enough.wait(), 5.0)
    running.cancel()
    assert meter.sample is not None
    assert meter.overview()["totals"]["out"]["packets"] >= 2
    await meter.stop()


@pytest.mark.parametrize("moved", [True, False])
async def test_a_file_that_is_moved_away_is_begun_anew_with_every_account(pop: Pop, moved: bool) -> None:
    pop.kernel.carry(B, 7)
    await pop.carry(2, seconds=300.0)
    if moved:
        pop.path.rename(pop.path.with_suffix(".old"))
    else:
        for one in pop.path.parent.glob("traffic.db*"):
            one.unlink()
    # two slots on: one to see it, one for the new file
    await pop.carry(3, seconds=300.0)
    assert any("moved or removed" in told for told in pop.told)
    assert pop.told[-1] == ""
    assert pop.path.exists()
    total = pop.total()
    await pop.meter.stop()
    pop.start()
    await pop.carry(1, packets=0)
    assert pop.meter.sample is not None
    assert (pop.total(), pop.meter.sample.eips[B].totals.in_packets) == (total, 7)
