"""A file that a verb writes is there whole, or as it was."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from anycastd.cli.whole_file import put


def test_a_full_disk_leaves_the_last_good_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, link = tmp_path / "fleet.json", tmp_path / "link"
    link.symlink_to(path)
    put(link, "good")
    assert (path.read_text(), link.is_symlink()) == ("good", True)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        put(path, "another")
    assert (path.read_text(), sorted(one.name for one in tmp_path.iterdir())) == ("good", ["fleet.json", "link"])


def test_what_is_no_file_is_written_to_and_stays_what_it_is() -> None:
    put(Path("/dev/null"), "anything")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_who_may_read_a_file_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    path.write_text("old", encoding="utf-8")
    path.chmod(0o600)
    put(path, "new")
    assert (path.read_text(encoding="utf-8"), path.stat().st_mode & 0o777) == ("new", 0o600)
