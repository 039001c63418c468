"""`anycastd freeze` and `unfreeze`: the file itself, without a daemon."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from anycastd.cli.freeze import freeze, is_so, unfreeze
from anycastd.runtime.kept.freeze_file import FreezeFile
from anycastd.runtime.kept.memory_file import clocks


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


def test_a_daemon_that_still_has_the_freeze_before_has_not_noticed() -> None:
    ends = time.time() + 7200
    ordered = {"reason": "incident 42", "until_unix_s": ends}
    said = {"frozen": True, "reason": "incident 42", "expires_in_s": 7200.0}
    assert is_so(said, ordered)
    for other in ({"reason": "another"}, {"expires_in_s": 3600.0}, {"expires_in_s": None}, {"frozen": False}):
        assert not is_so(said | other, ordered)
    assert is_so(said | {"expires_in_s": None}, ordered | {"until_unix_s": None})
    assert not is_so(said, None)
    assert is_so(said | {"frozen": False}, None)


def test_a_full_disk_is_told_with_what_still_freezes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, told = _run(freeze, tmp_path)
    assert (code, f"touch {tmp_path}/freeze" in told, list(tmp_path.iterdir())) == (78, True, [])


@pytest.mark.parametrize("option", ["--for=99999999d", f"--for={'9' * 400}d"])
def test_an_end_that_no_calendar_has_is_refused_before_anything_is_written(tmp_path: Path, option: str) -> None:
    code, told = _run(freeze, tmp_path, option)
    assert (code, "farther away than a hundred years; write never" in told, list(tmp_path.iterdir())) == (2, True, [])


def test_a_file_that_does_not_tell_where_the_state_is_freezes_nothing_elsewhere(tmp_path: Path) -> None:
    """The default directory may be that of another daemon; a mistake somewhere else is in nobody's way."""
    file = tmp_path / "anycastd.yaml"
    file.write_text(f"state_dir: {tmp_path}\napi: {{socket: /run/x.sock\n", encoding="utf-8")
    done = CliRunner().invoke(freeze, ["-c", str(file), "--socket", str(tmp_path / "none.sock")])
    assert (done.exit_code, "does not tell where the state is; say it with --state-dir" in done.output) == (78, True)
    file.write_text(f"state_dir: {tmp_path}\napi: {{soket: 1, soket: 2}}\n", encoding="utf-8")
    done = CliRunner().invoke(freeze, ["-c", str(file), "--socket", str(tmp_path / "none.sock")])
    assert (done.exit_code, (tmp_path / "freeze").exists()) == (0, True)
