"""A disk that hangs, not one that is full: nobody waits for it for long, and what was given up is not believed."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from anycastd.actuators.disk import Disk
from anycastd.model.status import Alarm
from anycastd.runtime.alarms import Reported
from anycastd.runtime.kept.disk import StateFile
from anycastd.runtime.kept.memories import Memories
from anycastd.runtime.process import closing
from tests.unit.runtime.hung import HungDisk, answered


@pytest.fixture
def hung(monkeypatch: pytest.MonkeyPatch) -> Iterator[HungDisk]:
    disk = HungDisk(monkeypatch)
    yield disk
    disk.answer()


def waiting() -> int:
    """Return how many threads of the disk there are."""
    return sum(thread.name.startswith("slow") for thread in threading.enumerate())


async def test_what_hangs_is_one_thread_however_often_it_is_tried() -> None:
    disk, free = Disk("slow"), threading.Event()
    try:
        for _ in range(20):
            with pytest.raises(TimeoutError, match="the disk does not answer within"):
                await disk.run(free.wait, 0.02)
        assert disk.hangs and waiting() == 1
        free.set()
        await answered(disk)
        assert await disk.run(lambda: "answered") == "answered"
        with pytest.raises(TimeoutError, match="of its own"):
            await disk.run(_fail)
    finally:
        free.set()
        disk.close()


def _fail() -> None:
    message = "of its own"
    raise TimeoutError(message)


async def test_work_that_nobody_waits_for_any_more_is_waited_for_by_the_next() -> None:
    """The end of the daemon cancels whoever saves; the last text must be saved all the same."""
    disk, free, begun = Disk("slow"), threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        free.wait()

    first = asyncio.create_task(disk.run(work))
    await begun.wait()
    first.cancel()
    await asyncio.wait({first})
    assert first.cancelled() and disk.hangs
    last = asyncio.create_task(disk.run(lambda: "last"))
    await asyncio.sleep(0)
    free.set()
    assert await last == "last"
    disk.close()


async def test_a_text_that_was_given_up_may_be_on_disk_and_is_doubted(tmp_path: Path, hung: HungDisk) -> None:
    reported, path = Reported(), tmp_path / "state.json"
    file = StateFile(path, reported)
    assert await file.save(lambda: "old")
    hung.hang()
    assert not await file.save(lambda: "given up")
    assert "does not answer" in reported.details[Alarm.STATE_NOT_SAVED, str(path)]
    assert not file.is_doubted, "as long as it hangs there is nothing to be done about it"
    hung.answer()
    await answered(file.disk)
    assert (path.read_text(), file.is_doubted) == ("given up", True)
    assert await file.save(lambda: "what is so")
    assert (path.read_text(), file.is_doubted) == ("what is so", False)
    assert not reported.details


async def test_memories_that_were_given_up_are_saved_anew(tmp_path: Path, hung: HungDisk) -> None:
    reported = Reported()
    memories = Memories(str(tmp_path), reported)
    hung.hang()
    await memories.save({})
    await memories.save({})
    assert [key[0] for key in reported.details] == [Alarm.STATE_NOT_SAVED]
    hung.answer()
    await answered(memories._file.disk)
    await memories.save({})
    assert not reported.details and not memories._file.is_doubted
    memories.close()


async def test_what_cannot_be_closed_keeps_nothing_else_from_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closing, "CLOSE_WITHIN_S", 0.05)
    ended: list[str] = []

    async def hangs() -> None:
        await asyncio.get_running_loop().create_future()

    async def fails() -> None:
        raise ZeroDivisionError("of all things")

    async def is_well() -> None:
        ended.append("well")

    with caplog.at_level(logging.ERROR):
        await closing.closed({"first": hangs(), "second": fails(), "third": is_well()})
    assert ended == ["well"]
    told = {record.fields["part"]: record.fields["detail"] for record in caplog.records}  # type: ignore[attr-defined]
    assert told == {"first": "not within 0.05 s", "second": "ZeroDivisionError: of all things"}


PROCESS = """
import asyncio, threading
from anycastd.runtime.process import closing
closing.THREADS_WITHIN_S = 0.1
begun = threading.Event()
def hang():
    begun.set()
    threading.Event().wait()
async def main():
    pool = closing.own_threads()
    hung = asyncio.create_task(asyncio.to_thread(hang))
    await asyncio.to_thread(begun.wait)
    print("closed", end="")
    closing.end_hung(pool, 3)
asyncio.run(main())
"""


def test_a_thread_that_hangs_does_not_keep_the_process_from_its_end() -> None:
    command = [sys.executable, "-c", PROCESS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (3, "closed"), done.stderr
