"""The journal's file: real SQLite, real damage, real kills."""

from __future__ import annotations

import json
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_network
from pathlib import Path

import pytest

from anycastd.model.journal import Entry, EntryKind, Wanted
from anycastd.model.topology import JournalConfig
from anycastd.policy.snapshot import decode
from anycastd.store import journal_reading as reading
from anycastd.store.journal_file import KEPT_ASIDE, JournalFile, Note
from anycastd.store.journal_reading import JournalUnavailable, Newer
from tests.unit.journal_world import PREFIX, decision, entry, made, note

OTHER = ip_network("2001:db8::/48")
EVER = Wanted(limit=1_000_000, newest_first=False)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[JournalFile]:
    file = JournalFile(tmp_path / "state" / "journal.db")
    yield file
    file.close()


def entries(path: Path, wanted: Wanted = EVER) -> tuple[Entry, ...]:
    with reading.opened(path) as db:
        return reading.page(db, wanted).entries


def pruned(file: JournalFile, config: JournalConfig) -> None:
    while file.prune(config, 1e9):
        assert numbers(file.path), "it must come to an end"


def numbers(path: Path, wanted: Wanted = EVER) -> list[int]:
    return [one.number for one in entries(path, wanted)]


def test_what_is_written_is_read_back_in_full(file: JournalFile) -> None:
    notes = [note(1, before="a", after="b", reason="r", hold="h", detail="ünïcode 'and' \"quotes\""), decision(2)]
    file.append(notes)
    assert entries(file.path) == tuple(one.entry for one in notes)
    with reading.opened(file.path) as db:
        found = reading.one(db, 2)
        assert found is not None
        assert decode(json.loads(found[1])) == made()
        assert reading.one(db, 1) == (notes[0].entry, "")
        assert reading.one(db, 3) is None
    assert file.last == 2
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o640


def test_writing_the_same_again_changes_nothing(file: JournalFile) -> None:
    for _ in range(2):
        file.append([decision(1), note(2)])
    assert numbers(file.path) == [1, 2]


def test_entries_are_found_by_what_is_asked_for(file: JournalFile) -> None:
    file.append(
        [decision(1), decision(2, OTHER), note(3, reason="disk"), note(4, hold="disk"), decision(5, unix_s=2e9)]
    )
    decisions = frozenset({EntryKind.DECISION})
    for wanted, found in (
        (Wanted(), [5, 4, 3, 2, 1]),
        (Wanted(kinds=decisions), [5, 2, 1]),
        (Wanted(kinds=decisions, subject=str(PREFIX)), [5, 1]),
        (Wanted(reason="disk"), [4, 3]),
        (Wanted(reason="settling"), [5, 2, 1]),
        (Wanted(since_unix_s=1.5e9), [5]),
        (Wanted(before=3), [2, 1]),
        (Wanted(after=3, newest_first=False), [4, 5]),
        (Wanted(limit=2), [5, 4]),
        (Wanted(kinds=frozenset()), []),
    ):
        assert numbers(file.path, wanted) == found, wanted


def test_pages_do_not_move_while_entries_come(file: JournalFile) -> None:
    file.append([note(number) for number in range(1, 10)])
    seen, before, coming = list[int](), None, 10
    for _ in range(5):
        with reading.opened(file.path) as db:
            page = reading.page(db, Wanted(limit=2, before=before))
        seen += [one.number for one in page.entries]
        before = page.entries[-1].number
        file.append([note(coming)])
        coming += 1
    assert seen == list(range(9, 0, -1)), "each once, none left out"
    assert not page.more


def test_numbers_go_on_after_a_restart(file: JournalFile) -> None:
    file.append([note(1), note(2)])
    file.close()
    again = JournalFile(file.path)
    again.open()
    assert again.last == 2
    again.close()


@pytest.mark.parametrize("is_decision", [False, True])
def test_decisions_and_other_entries_have_bounds_of_their_own(file: JournalFile, is_decision: bool) -> None:
    make = decision if is_decision else note
    other = note if is_decision else decision
    file.append([other(1), *(make(number) for number in range(2, 800)), other(800)], rest=False)
    bounds = JournalConfig(max_decisions=100, max_events=100, keep_s=1e10)
    pruned(file, bounds)
    left = numbers(file.path)
    assert left == [1, *range(700, 801)]
    with closing(sqlite3.connect(file.path)) as db:
        orphans = "SELECT count(*) FROM snapshots WHERE number NOT IN (SELECT number FROM entries)"
        assert db.execute(orphans).fetchone() == (0,)


def test_what_is_too_old_goes_a_little_at_a_time(file: JournalFile) -> None:
    """A clock that was set forward must not empty the journal in one go."""
    old_s, new_s = 1e9, 1e9 + 1000.0
    file.append([Note(entry(number, unix_s=old_s)) for number in range(1, 1201)], rest=False)
    file.append([Note(entry(1201, unix_s=new_s))])
    left = []
    for _ in range(4):
        file.prune(JournalConfig(keep_s=500.0), new_s)
        left.append(len(numbers(file.path)))
    assert left == [701, 201, 1, 1]
    assert numbers(file.path) == [1201]


def test_the_file_stays_within_its_size(file: JournalFile) -> None:
    bound = 1 << 20
    config = JournalConfig(max_size_bytes=bound, keep_s=1e10)
    for start in range(1, 1601, 400):
        file.append([decision(number) for number in range(start, start + 400)], rest=False)
        pruned(file, config)
    file.close()
    assert file.path.stat().st_size < 1.1 * bound
    left = numbers(file.path)
    assert left == list(range(left[0], 1601)), "the oldest go, whole"
    assert len(left) > 200


@pytest.mark.parametrize("damage", ["garbage", "truncated", "overwritten"])
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(file: JournalFile, damage: str) -> None:
    file.append([decision(number) for number in range(1, 300)], rest=False)
    file.close()
    whole = file.path.read_bytes()
    bad = {
        "garbage": b"not a database at all, but long enough to be looked at" * 100,
        "truncated": whole[: len(whole) // 2],
        "overwritten": whole[:8192] + b"\xff" * 65536 + whole[8192 + 65536 :],
    }[damage]
    file.path.write_bytes(bad)
    before_s = int(time.time())
    again = JournalFile(file.path)
    with pytest.raises(JournalUnavailable, match="is set aside as journal"):
        again.open()
    again.open()
    (aside,) = again.damaged()
    assert aside.read_bytes() == bad
    assert again.last >= before_s, "no number is given twice"
    again.append([note(again.last + 1)])
    assert len(numbers(again.path)) == 1
    again.close()


def test_only_the_newest_damaged_files_are_kept(file: JournalFile) -> None:
    file.path.parent.mkdir()
    for number in range(KEPT_ASIDE + 2):
        file.path.with_name(f"journal.db.damaged-{1000 + number}").write_bytes(b"old")
    file.path.write_bytes(b"damaged" * 1000)
    with pytest.raises(JournalUnavailable, match="set aside"):
        file.open()
    assert len(file.damaged()) == KEPT_ASIDE
    assert file.damaged()[-1].read_bytes() == b"damaged" * 1000


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("PRAGMA user_version = 2", "it has format 2, this release knows 1; it is left alone"),
        ("PRAGMA application_id = 7", "a database of something else; it is left alone"),
    ],
)
def test_a_file_of_another_release_or_program_is_not_touched(file: JournalFile, statement: str, told: str) -> None:
    file.append([note(1)])
    file.close()
    with closing(sqlite3.connect(file.path)) as db:
        db.execute(statement)
    before = file.path.read_bytes()
    again = JournalFile(file.path)
    for _ in range(2):
        with pytest.raises(Newer, match=told):
            again.append([note(2)])
    again.close()
    assert file.path.read_bytes() == before
    assert again.damaged() == []
    with pytest.raises(Newer, match=told), reading.opened(file.path):
        pass


def test_entries_of_a_kind_that_a_newer_release_added_are_left_out(file: JournalFile) -> None:
    file.append([note(1), decision(2), note(3), decision(4)])
    file.close()
    with closing(sqlite3.connect(file.path)) as db, db:
        db.execute("UPDATE entries SET kind = 'weather' WHERE number IN (1, 3)")
    assert numbers(file.path) == [2, 4]
    with reading.opened(file.path) as db:
        page = reading.page(db, Wanted(limit=1, newest_first=False))
        assert ([one.number for one in page.entries], page.more) == ([2], True)
        assert reading.one(db, 3) is None
    file.append([note(5)])
    with closing(sqlite3.connect(file.path)) as db:
        assert db.execute("SELECT count(*) FROM entries").fetchone() == (5,)


def test_a_file_that_was_removed_is_begun_anew(file: JournalFile) -> None:
    file.append([note(1)])
    for ending in ("", "-wal", "-shm"):
        file.path.with_name(file.path.name + ending).unlink()
    file.append([note(2)])
    assert numbers(file.path) == [2]


def test_an_empty_file_is_a_new_one(file: JournalFile) -> None:
    file.path.parent.mkdir()
    file.path.touch()
    file.append([note(1)])
    assert numbers(file.path) == [1]


def test_reading_leaves_nothing_behind(file: JournalFile) -> None:
    file.append([note(1)])
    file.close()
    assert numbers(file.path) == [1]
    assert [one.name for one in file.path.parent.iterdir()] == ["journal.db"]


def test_why_a_file_cannot_be_read_is_told(file: JournalFile, tmp_path: Path) -> None:
    cases = {
        "missing.db": "no such file; did the daemon ever run",
        "empty.db": "it is empty",
        "junk.db": "it is damaged",
    }
    (tmp_path / "empty.db").touch()
    (tmp_path / "junk.db").write_bytes(b"junk" * 1000)
    for name, told in cases.items():
        with pytest.raises(JournalUnavailable, match=told), reading.opened(tmp_path / name):
            pass


WRITER = """
import sys
from pathlib import Path
from anycastd.store.journal_file import JournalFile, Note
from tests.unit.journal_world import decision
file, number = JournalFile(Path(sys.argv[1])), 1
while True:
    file.append([decision(n) for n in range(number, number + 50)], rest=False)
    number += 50
    print(number - 1, flush=True)
"""


def test_what_was_committed_survives_a_kill_in_the_middle_of_writing(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    for round_ in range(1, 3):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            committed = [int(writer.stdout.readline()) for _ in range(5 * round_)][-1]
            writer.send_signal(signal.SIGKILL)
            committed = max([committed, *map(int, writer.stdout.read().split())])
        found = numbers(path)
        assert found[:committed] == list(range(1, committed + 1)), "read beside a log that nobody closed"
        assert len(found) % 50 == 0, "a batch is there whole or not at all"
        file = JournalFile(path)
        file.open()
        assert file.last == len(found)
        file.close()
