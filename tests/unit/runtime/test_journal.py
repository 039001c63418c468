"""The journal beside the event loop: storms, trouble with the file, and what is said of what was lost."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from anycastd.model.journal import EntryKind, LostWhy, Wanted
from anycastd.model.topology import JournalConfig
from anycastd.runtime.journal.journal import DAMAGED, JOURNAL, Journal
from anycastd.store import journal_reading as reading
from anycastd.store.journal_file import JournalFile
from tests.unit.journal_world import QUICK, Told, made, running, until

STORM = 8000


async def test_what_is_noted_is_in_the_file_in_order_and_numbered(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        world.journal.note(EntryKind.START, "fra", after="1.0")
        world.journal.note(EntryKind.DECISION, "203.0.113.0/24", after="DEPREF", snapshot=made())
        await world.written()
        world.journal.note(EntryKind.STOP, "fra")
    async with running(tmp_path) as world:
        world.journal.note(EntryKind.START, "fra")
        await world.written()
        kinds = [(one.number, one.kind.value) for one in await world.all()]
        assert kinds == [(1, "start"), (2, "decision"), (3, "stop"), (4, "start")]
        assert world.journal.last_written == 4
        assert world.told.standing == {}
        facts = world.journal.facts()
        assert (facts.written, facts.lost, facts.waiting) == ({EntryKind.START: 1}, {}, 0)
        assert facts.size_bytes


async def test_what_is_told_of_it_is_told_without_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape asks in the event loop: on a disk that hangs it would hold everything."""
    async with running(tmp_path) as world:
        world.journal.note(EntryKind.START, "fra")
        await world.written()
        await until("its size was looked at", lambda: world.journal.facts().size_bytes)
        monkeypatch.setattr(JournalFile, "size_bytes", property(lambda file: pytest.fail("asked in the loop")))
        assert world.journal.facts().size_bytes


@pytest.mark.slow
async def test_a_storm_of_decisions_arrives_whole_and_costs_the_loop_little(tmp_path: Path) -> None:
    snapshots = [made(ip_network((0x0A000000 + (number << 8), 24))) for number in range(STORM)]
    async with running(tmp_path) as world:
        await until("the file is open", lambda: world.journal.opened)
        begun_s = time.perf_counter()
        for snapshot in snapshots:
            world.journal.note(EntryKind.DECISION, str(snapshot.facts.spec.prefix), snapshot=snapshot)
        took_s = time.perf_counter() - begun_s
        await world.written()
        assert len(await world.all()) == STORM
        assert world.journal.facts().lost == {}
    assert took_s / STORM < 100e-6, "a few microseconds each on a quiet machine"


async def test_more_than_may_wait_is_counted_and_told_at_its_place(tmp_path: Path) -> None:
    async with running(tmp_path, replace(QUICK, max_waiting=100)) as world:
        for number in range(250):
            world.journal.note(EntryKind.CHECK, f"check-{number}")
        await world.written()
        world.journal.note(EntryKind.CHECK, "later")
        await world.written()
        found = await world.all()
        assert [one.subject for one in found] == [*(f"check-{n}" for n in range(100)), "journal", "later"]
        gap = found[100]
        assert (gap.kind, gap.reason, gap.after) == (EntryKind.GAP, LostWhy.QUEUE_FULL.value, "150")
        assert world.journal.facts().lost == {LostWhy.QUEUE_FULL: 150}
        assert [one.number for one in found] == sorted({one.number for one in found})


async def test_a_damaged_file_costs_no_entry_and_is_an_alarm_until_it_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    path.write_bytes(b"damaged" * 1000)
    async with running(tmp_path) as world:
        world.journal.note(EntryKind.ALARM, "x")
        await world.written()
        assert [one.subject for one in await world.all()] == ["x"]
        (aside,) = await asyncio.to_thread(lambda: list(tmp_path.glob("*.damaged-*")))
        await until("the file itself is well again", lambda: str(path) not in world.told.standing)
        assert str(aside) in world.told.standing[DAMAGED]
        aside.unlink()
        world.journal.note(EntryKind.ALARM, "y")
        await until("it was looked at", lambda: not world.told.standing)
        assert any("is set aside" in one for one in world.told.ever)


async def test_a_file_of_a_newer_release_stays_and_events_go_on(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        world.journal.note(EntryKind.ALARM, "old")
        await world.written()
    with closing(sqlite3.connect(tmp_path / JOURNAL)) as db:
        db.execute("PRAGMA user_version = 9")
    before = (tmp_path / JOURNAL).read_bytes()
    async with running(tmp_path) as world:
        reader = world.journal.readers.join()
        world.journal.note(EntryKind.ALARM, "new")
        await until("it is told", lambda: world.told.standing)
        assert (
            "it is left alone; nothing is journalled until it is moved away"
            in world.told.standing[str(tmp_path / JOURNAL)]
        )
        got = reader.take()
        assert got is not None
        assert (got.number, got.subject) == (0, "new")
    assert (tmp_path / JOURNAL).read_bytes() == before


async def test_a_file_that_cannot_be_had_is_tried_again_and_nothing_is_lost(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.write_text("a file where the directory should be")
    async with running(directory) as world:
        for number in range(10):
            world.journal.note(EntryKind.ALARM, str(number))
        await until("it is told", lambda: world.told.standing)
        directory.unlink()
        await until("it is well", lambda: not world.told.standing)
        assert [one.subject for one in await world.all()] == [str(number) for number in range(10)]


async def test_an_end_writes_what_waits_even_if_it_never_ran(tmp_path: Path) -> None:
    journal = Journal(tmp_path / JOURNAL, QUICK, Told())
    for number in range(20):
        journal.note(EntryKind.ALARM, str(number))
    await journal.close()
    async with running(tmp_path) as world:
        assert len(await world.all()) == 20


async def test_a_slow_reader_keeps_its_backlog_and_is_told_of_the_rest(tmp_path: Path) -> None:
    async with running(tmp_path, replace(QUICK, reader_backlog=10)) as world:
        journal = world.journal
        await until("the file is open", lambda: journal.opened)
        await world.written()
        slow, quick = journal.readers.join(), journal.readers.join()
        taken = 0
        for number in range(25):
            journal.note(EntryKind.ALARM, str(number))
            taken += quick.take() is not None
        assert taken == 25
        assert [one.subject for one in iter(slow.take, None)] == [str(number) for number in range(10)]
        lost, first, last = slow.take_lost()
        assert (lost, last - first) == (15, 14)
        journal.note(EntryKind.ALARM, "again")
        got = slow.take()
        assert got is not None
        assert (got.subject, slow.lost) == ("again", 0)
        assert journal.facts().lost == {LostWhy.SLOW_READER: 15}


async def test_places_for_readers_are_given_back(tmp_path: Path) -> None:
    async with running(tmp_path, replace(QUICK, max_readers=2)) as world:
        readers = world.journal.readers
        assert [readers.reserve() for _ in range(3)] == [True, True, False]
        reader = readers.join()
        assert world.journal.facts().readers == 2
        readers.release(reader)
        assert readers.reserve()
        world.journal.note(EntryKind.ALARM, "x")
        assert reader.take() is None, "who has gone gets nothing more"


async def test_a_reader_is_woken_by_news_and_by_the_end(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        reader = world.journal.readers.join()
        assert not await reader.wait(0.01)
        waiting = asyncio.create_task(reader.wait(10.0))
        await asyncio.sleep(0)
        world.journal.note(EntryKind.ALARM, "x")
        assert await waiting
        reader.take()
        world.journal.readers.end()
        assert await reader.wait(10.0)
        assert reader.ended


async def test_a_text_that_utf8_cannot_hold_does_not_hold_up_what_comes_after_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", JournalConfig(), lambda subject, detail: None)
    journal.note(EntryKind.CHECK, "a", detail="byte \udc80 of a name, \u00fc")
    journal.note(EntryKind.CHECK, "b", detail="fine")
    await journal.close()
    with reading.opened(tmp_path / "journal.db") as db:
        found = reading.page(db, Wanted(newest_first=False)).entries
    assert [one.detail for one in found] == ["byte \\udc80 of a name, \u00fc", "fine"]


async def test_a_directory_that_cannot_be_looked_into_is_told_of_and_no_end(tmp_path: Path) -> None:
    """As that of a disk that has gone; the journal's stage failed, which makes the daemon not ready for a minute."""
    async with running(tmp_path / ("x" * 300)) as world:
        world.journal.note(EntryKind.START, "fra")
        await until("it is told of", lambda: world.told.standing)
        assert "entries wait in memory" in next(iter(world.told.standing.values()))
