"""The number of a start always grows."""

from __future__ import annotations

from pathlib import Path

import pytest

from anycastd.runtime.kept.boot_number import LARGEST, keep_boot, next_boot


def test_it_is_the_time_and_grows_though_the_clock_is_set_back(tmp_path: Path) -> None:
    path = tmp_path / "boot.json"
    assert next_boot(path, 1_790_000_000.9) == (1_790_000_000, "")
    assert next_boot(path, 1_790_000_000.9) == (1_790_000_001, "")
    assert next_boot(path, 5.0) == (1_790_000_002, "")
    assert next_boot(path, 1_800_000_000.0) == (1_800_000_000, "")
    assert path.stat().st_mode & 0o007 == 0


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"format": 2, "boot": 5}', '{"format": 1, "boot": -1}', '{"format": 1, "boot": "x"}',
             '{"format": 1, "boot": 4294967296}', "[" * 100_000, '{"format": 1, "boot": 1e999}']
)  # fmt: skip
def test_a_file_that_is_none_is_told_and_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / "boot.json"
    path.write_text(text)
    boot, complaint = next_boot(path, 1_790_000_000.0)
    assert boot == 1_790_000_000
    assert str(path) in complaint
    assert next_boot(path, 5.0) == (1_790_000_001, "")


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    boot, complaint = next_boot(tmp_path / "file" / "boot.json", 1_790_000_000.0)
    assert boot == 1_790_000_000
    assert "boot.json" in complaint


def test_it_fits_a_beacon(tmp_path: Path) -> None:
    assert next_boot(tmp_path / "boot.json", 2.0**40)[0] == LARGEST < 1 << 32


def test_a_number_that_was_begun_in_between_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "boot.json"
    next_boot(path, 1_790_000_000.0)
    assert keep_boot(path, 1_790_000_001) == ""
    assert next_boot(path, 5.0) == (1_790_000_002, "")
    assert "boot.json" in keep_boot(path / "boot.json", 7)
