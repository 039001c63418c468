"""`anycastd freeze` and `unfreeze`: the file itself, without a daemon."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from anycastd.cli.freeze import freeze, unfreeze
from anycastd.runtime.freeze_file import FreezeFile
from anycastd.runtime.memory_file import clocks


@pytest.fixture
def strict_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def _run(verb: object, directory: Path, *more: str) -> tuple[int, str]:
    arguments = ["--state-dir", str(directory), "--socket", str(directory / "none.sock"), *more]
    done = CliRunner().invoke(verb, arguments)  # type: ignore[arg-type]
    return done.exit_code, done.output


@pytest.mark.usefixtures("strict_umask")
def test_the_daemon_may_read_reason_and_end_whatever_the_umask(tmp_path: Path) -> None:
    code, _ = _run(freeze, tmp_path, "--reason", "incident", "--for", "2h")
    assert code == 0
    assert stat.S_IMODE((tmp_path / "freeze").stat().st_mode) == 0o644
    found = FreezeFile(tmp_path / "freeze").look(clocks())
    assert found is not None
    assert (found.reason, found.expires_s is not None) == ("incident", True)


def test_unfreeze_tells_whether_there_was_a_file(tmp_path: Path) -> None:
    _run(freeze, tmp_path)
    assert "is removed" in _run(unfreeze, tmp_path)[1]
    code, told = _run(unfreeze, tmp_path)
    assert (code, told.startswith("nothing changed")) == (0, True)
    assert _run(unfreeze, tmp_path / "nowhere")[0] != 0
