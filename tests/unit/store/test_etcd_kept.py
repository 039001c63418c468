"""What is kept of the fleet's store: each change, in order, also over a damaged file."""

from __future__ import annotations

from pathlib import Path

import pytest

from anycastd.store.etcd.kept import Kept, KeptFile, NotKept
from anycastd.store.port import Item


def test_what_was_kept_is_read_by_the_next_life(tmp_path: Path) -> None:
    first = KeptFile(tmp_path / "state" / "fleet.db")
    assert first.read() == Kept()
    first.replace(Kept("7", 12, 11, {"/a": Item("1", 5), "/b": Item("2", 12)}))
    first.change({"/a": Item("one", 13), "/b": Item(None, 14)}, {"revision": 14, "beat": 15})
    first.close()
    assert KeptFile(tmp_path / "state" / "fleet.db").read() == Kept("7", 14, 15, {"/a": Item("one", 13)})


def test_what_comes_late_does_not_replace_what_is_newer(tmp_path: Path) -> None:
    """Our own commit may be kept before the watch brings a foreign one that was earlier."""
    file = KeptFile(tmp_path / "fleet.db")
    file.change({"/a": Item("new", 20)}, {"beat": 20})
    file.change({"/a": Item("old", 19)}, {"revision": 19})
    file.change({"/a": Item(None, 18)}, {"revision": 19})
    assert file.read().items == {"/a": Item("new", 20)}


def test_a_damaged_file_is_set_aside_and_a_new_one_begun(tmp_path: Path) -> None:
    path = tmp_path / "fleet.db"
    path.write_bytes(b"no database at all" * 100)
    file = KeptFile(path)
    with pytest.raises(NotKept, match="set aside"):
        file.read()
    assert file.read() == Kept()
    assert (tmp_path / "fleet.db.damaged").exists()


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    from anycastd.store.sqlite_file import SqliteFile

    SqliteFile(tmp_path / "fleet.db").snapshot("/")
    before = (tmp_path / "fleet.db").read_bytes()
    with pytest.raises(NotKept, match="move it away"):
        KeptFile(tmp_path / "fleet.db").read()
    assert (tmp_path / "fleet.db").read_bytes() == before
