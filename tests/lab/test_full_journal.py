"""A disk that is really full, and one that is really read-only, under the journal: a tmpfs of this process alone.

The test runs itself in a mount namespace of its own, which goes with the process however that ends.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from anycastd.model.journal import EntryKind, LostWhy
from tests.lab.test_full_disk import fill, remount
from tests.unit.journal_world import QUICK, Running, made, running, until

pytestmark = pytest.mark.lab

SIZE_KIB = 1024
WAITING, MORE = 200, 300
OLD = 5


@pytest.mark.parametrize("case", ["full", "full_at_start", "read_only_at_start"])
def test_a_disk_that_takes_no_more_while_the_journal_is_written(case: str, tmp_path: Path) -> None:
    inside = (
        f"mount -t tmpfs -o size={SIZE_KIB}k none {tmp_path} && exec {sys.executable} -m {__name__} {case} {tmp_path}"
    )
    command = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", inside]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "told, waited, counted, written"), done.stdout + done.stderr


def decide(world: Running, count: int) -> None:
    for _ in range(count):
        world.journal.note(EntryKind.DECISION, "203.0.113.0/24", after="DEPREF", snapshot=made())


async def overflow(world: Running, told: str) -> None:
    """Decide more than may wait while the file takes nothing: the alarm says why, and what is beyond is counted."""
    journal = world.journal
    decide(world, 1)
    await until("it is told", lambda: any(told in one for one in world.told.standing.values()))
    decide(world, MORE - 1)
    facts = journal.facts()
    assert (facts.waiting, facts.lost) == (WAITING, {LostWhy.FILE_REFUSES: MORE - WAITING})


async def recovered(world: Running, before: int) -> None:
    """Everything that waited is there, then the word of what is not, then what came after."""
    await until("the alarm is gone", lambda: not world.told.standing)
    await world.written()
    decide(world, 1)
    await world.written()
    found = await world.all()
    kinds = [one.kind for one in found]
    assert kinds == [EntryKind.DECISION] * (before + WAITING) + [EntryKind.GAP, EntryKind.DECISION]
    gap = found[-2]
    assert (gap.reason, gap.after) == ("file_refuses", str(MORE - WAITING))
    assert [one.number for one in found] == sorted({one.number for one in found})


async def full(world: Running, directory: Path) -> None:
    decide(world, OLD)
    await world.written()
    ballast = directory / "ballast"
    fill(ballast)
    # what room is left in the file's own pages is used up first
    while not world.told.standing:
        decide(world, 1)
        await asyncio.sleep(0.05)
    before = world.journal.last_written
    decide(world, WAITING - world.journal.facts().waiting)
    decide(world, MORE - WAITING)
    assert world.journal.facts().lost == {LostWhy.FILE_REFUSES: MORE - WAITING}
    assert any("the disk is full" in one or "is full" in one for one in world.told.standing.values())
    assert len(await world.all()) == before, "what is there can be read meanwhile"
    ballast.unlink()
    await recovered(world, before)


async def full_at_start(world: Running, directory: Path) -> None:
    await overflow(world, "full")
    (directory / "ballast").unlink()
    await recovered(world, 0)


async def read_only_at_start(world: Running, directory: Path) -> None:
    await overflow(world, "Read-only file system")
    remount(directory, "rw")
    await recovered(world, 0)


CASES = {case.__name__: case for case in (full, full_at_start, read_only_at_start)}


async def main(case: str, directory: Path) -> None:
    if case == "full_at_start":
        fill(directory / "ballast")
    elif case == "read_only_at_start":
        remount(directory, "ro")
    async with running(directory, replace(QUICK, max_waiting=WAITING)) as world:
        await CASES[case](world, directory)
    print("told, waited, counted, written")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
