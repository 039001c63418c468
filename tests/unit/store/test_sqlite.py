"""The embedded store on real files: atomic, compared, watched, and never written over."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio

from anycastd.store import sqlite, sqlite_file
from anycastd.store.port import ABSENT, Compacted, Conflict, Item, Snapshot, StoreUnavailable, Write
from anycastd.store.sqlite import SqliteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "anycastd.db"


@pytest_asyncio.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    yield store
    await store.close()


async def reopened(path: Path) -> Snapshot:
    again = SqliteStore(path)
    try:
        return await again.snapshot("/")
    finally:
        await again.close()


async def test_a_commit_is_there_for_the_next_process(store: SqliteStore, path: Path) -> None:
    assert await store.snapshot("/") == Snapshot(0)
    assert await store.commit([Write("/b", "2"), Write("/a", "1"), Write("other", "x")], {"/a": ABSENT}) == 1
    assert await store.commit([Write("/b", None), Write("/a", "3")], {"/a": 1, "/b": 1}) == 2
    assert await reopened(path) == Snapshot(2, {"/a": Item("3", 2)})
    assert (await store.snapshot("")).items == {"/a": Item("3", 2), "other": Item("x", 1)}


@pytest.mark.parametrize(
    ("expected", "key", "found"),
    [({"/a": ABSENT}, "/a", 1), ({"/a": 7}, "/a", 1), ({"/a": 1, "/gone": 2}, "/gone", 0), ({"/new": 1}, "/new", 0)],
)
async def test_a_commit_that_expects_something_else_changes_nothing(
    store: SqliteStore, expected: dict[str, int], key: str, found: int
) -> None:
    await store.commit([Write("/a", "1"), Write("/gone", "1")], {})
    await store.commit([Write("/gone", None)], {"/gone": 1})
    with pytest.raises(Conflict) as conflict:
        await store.commit([Write("/a", "9"), Write("/new", "9")], expected)
    assert (conflict.value.key, conflict.value.found) == (key, found)
    assert await store.snapshot("/") == Snapshot(2, {"/a": Item("1", 1)})


async def test_a_deleted_key_can_be_made_anew(store: SqliteStore) -> None:
    await store.commit([Write("/a", "1")], {})
    await store.commit([Write("/a", None)], {})
    assert await store.commit([Write("/a", "2")], {"/a": ABSENT}) == 3


async def test_a_watch_misses_nothing_and_goes_on(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "POLL_S", 0.02)
    await store.commit([Write("/a", "1"), Write("/b", "1")], {})
    watch = store.watch("/", 0)
    assert (await anext(watch)).items == {"/a": Item("1", 1), "/b": Item("1", 1)}
    following = asyncio.ensure_future(anext(watch))
    await store.commit([Write("/a", None), Write("elsewhere", "1")], {})
    assert await following == Snapshot(2, {"/a": Item(None, 2)})
    other = SqliteStore(path)
    await other.commit([Write("/c", "from another process")], {})
    await other.close()
    assert (await anext(watch)).items == {"/c": Item("from another process", 3)}


async def test_a_watch_from_before_what_is_known_says_so(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "KEEP_DELETIONS", 2)
    for value in ("1", None, "2", "3", "4"):
        await store.commit([Write("/a" if value in ("1", None) else "/b", value)], {})
    await store.tidy()
    with pytest.raises(Compacted):
        await anext(store.watch("/", 1))
    assert (await anext(store.watch("/", 3))).items == {"/b": Item("4", 5)}


async def test_the_file_is_for_owner_and_group(store: SqliteStore, path: Path) -> None:
    await store.commit([Write("/a", "1")], {})
    files = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
    assert files == dict.fromkeys(("anycastd.db", "anycastd.db-wal", "anycastd.db-shm"), 0o640)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750


async def test_acknowledged_means_on_the_disk(store: SqliteStore, path: Path) -> None:
    await store.commit([Write("/a", "1")], {})
    with store._file._connected() as db:
        (synchronous,), (journal,) = (db.execute(f"PRAGMA {n}").fetchone() for n in ("synchronous", "journal_mode"))
    assert (synchronous, journal) == (2, "wal")


def test_what_was_acknowledged_survives_kill_9(path: Path) -> None:
    script = (
        "import asyncio, sys; from pathlib import Path\n"
        "from anycastd.store.port import Write; from anycastd.store.sqlite import SqliteStore\n"
        "async def main():\n"
        "    store = SqliteStore(Path(sys.argv[1]))\n"
        "    for n in range(10000):\n"
        "        await store.commit([Write(f'/{n}', 'x'), Write('/last', str(n))], {})\n"
        "        print(n, flush=True)\n"
        "asyncio.run(main())"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 40:
                break
        process.send_signal(signal.SIGKILL)
        acknowledged = [40, *(int(line) for line in process.stdout.read().split())][-1]
    items = asyncio.run(reopened(path)).items
    last = int(items["/last"].value or "")
    assert last in (acknowledged, acknowledged + 1)
    assert set(items) == {"/last", *(f"/{n}" for n in range(last + 1))}


async def test_a_full_disk_keeps_nothing_of_the_commit_and_the_next_can_go(store: SqliteStore, path: Path) -> None:
    await store.commit([Write("/a", "1")], {})
    with store._file._connected() as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages + 2}").fetchall()
    with pytest.raises(StoreUnavailable, match=f"{path}: the disk is full: free space in {path.parent}"):
        await store.commit([Write("/a", "2"), *(Write(f"/big/{n}", "x" * 3000) for n in range(20))], {})
    assert await store.snapshot("/") == Snapshot(1, {"/a": Item("1", 1)})
    assert await store.commit([Write("/a", "3")], {"/a": 1}) == 2


async def test_a_file_that_is_locked_is_told_and_used_again_later(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_WITHIN_S", 0.01)
    await store.commit([Write("/a", "1")], {})
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="another process holds it locked: fuser"):
            await store.commit([Write("/a", "2")], {})
        # who writes does not keep others from reading
        assert (await store.snapshot("/a")).revision == 1
        holder.execute("ROLLBACK")
    assert await store.commit([Write("/a", "2")], {}) == 2


def bytes_of(path: Path) -> bytes:
    return path.read_bytes()


def restore(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def renamed(directory: Path, before: str, after: str) -> None:
    """Replace the beginnings of the names of files."""
    for entry in list(directory.iterdir()):
        if entry.name.startswith(before):
            entry.rename(entry.with_name(after + entry.name.removeprefix(before)))


def damage_header(path: Path) -> None:
    path.write_bytes(b"not a database at all" + path.read_bytes()[21:])


def damage_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096 : 3 * 4096] = os.urandom(2 * 4096)
    path.write_bytes(bytes(data))


def damage_length(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [damage_header, damage_page, damage_length])
async def test_a_damaged_file_is_refused_and_never_written(path: Path, damage: Callable[[Path], None]) -> None:
    store = SqliteStore(path)
    await store.commit([Write(f"/{n}", "x" * 100) for n in range(200)], {})
    await store.close()
    good = bytes_of(path)
    damage(path)
    bad = bytes_of(path)
    store = SqliteStore(path)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="it is damaged and is left as it is"):
            await store.snapshot("/")
        with pytest.raises(StoreUnavailable, match="damaged"):
            await store.commit([Write("/0", "new")], {})
    assert bytes_of(path) == bad
    restore(path, good)
    assert len((await store.snapshot("/")).items) == 200
    await store.close()


@pytest.mark.parametrize(
    ("pragma", "told"),
    [("application_id = 7", "a database of something else"), ("user_version = 99", "schema version 99, this release")],
)
async def test_a_file_of_others_is_left_alone(store: SqliteStore, path: Path, pragma: str, told: str) -> None:
    await store.commit([Write("/a", "1")], {})
    await store.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA {pragma}")
    other = SqliteStore(path)
    with pytest.raises(StoreUnavailable, match=told):
        await other.commit([Write("/a", "2")], {})
    await other.close()


async def test_a_file_that_was_exchanged_under_us_is_not_taken_for_ours(store: SqliteStore, path: Path) -> None:
    await store.commit([Write("/a", "1")], {})
    renamed(path.parent, "", "old-")
    with pytest.raises(StoreUnavailable, match="moved or removed while in use"):
        await store.commit([Write("/a", "2")], {})
    with pytest.raises(StoreUnavailable, match="moved or removed while in use"):
        await store.snapshot("/")
    stranger = SqliteStore(path)
    await stranger.commit([Write("/b", "1")], {})
    await stranger.close()
    with pytest.raises(StoreUnavailable, match="another file stands where ours was"):
        await store.commit([Write("/b", "2")], {})
    renamed(path.parent, "anycastd.db", "stranger")
    renamed(path.parent, "old-", "")
    assert (await store.snapshot("/")).items == {"/a": Item("1", 1)}


async def test_a_directory_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    store = SqliteStore(tmp_path / "state" / "anycastd.db")
    with pytest.raises(StoreUnavailable, match=r"state/anycastd\.db: (Not a directory|File exists)"):
        await store.snapshot("/")
    await store.close()


async def test_two_processes_share_the_file(store: SqliteStore, path: Path) -> None:
    other = SqliteStore(path)
    both = [store, other]
    await asyncio.gather(*(both[n % 2].commit([Write(f"/{n}", "x")], {f"/{n}": ABSENT}) for n in range(20)))
    racing = [one.commit([Write("/0", "y")], {"/0": (await store.snapshot("/0")).items["/0"].revision}) for one in both]
    outcomes = await asyncio.gather(*racing, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict", "int"]
    assert len((await other.snapshot("/")).items) == 20
    await other.close()


async def test_what_changed_is_found_by_its_revision_and_not_by_looking_at_every_key(
    store: SqliteStore, path: Path
) -> None:
    await store.commit([Write(f"/eips/{number}", "x" * 200) for number in range(500)], {})
    revision = await store.commit([Write("/eips/7", "y")], {})
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    file = sqlite_file.SqliteFile(path)
    file.snapshot("/")
    assert file._open is not None
    file._open.set_progress_handler(count, 100)
    assert list(file.since("/", revision - 1).items) == ["/eips/7"]
    file.close()
    assert steps < 10, "every 100 steps of SQLite's machine; 500 keys take at least 20 times as many"
