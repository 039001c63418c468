"""The file check: maintenance by touching a file."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from anycastd.model.checks import BadWhen, CheckKind, FileOptions, Timing
from anycastd.model.probe import Outcome, Why
from anycastd.probes.file import FilePlan, Looks
from tests.unit.probes.world import probing, spec

NOBODY = Looks(None)  # type: ignore[arg-type]
QUICK = Timing(interval_s=0.05, timeout_s=0.05)


def look(path: Path | str, when: BadWhen = BadWhen.EXISTS) -> tuple[Why, str]:
    return FilePlan(FileOptions(path=str(path), when=when), NOBODY).look()


def test_a_file_that_exists_takes_out(tmp_path: Path) -> None:
    file = tmp_path / "maintenance"
    assert look(file) == (Why.ANSWERED, f"{file} is not there")
    assert look(file, BadWhen.ABSENT) == (Why.MAINTENANCE, f"{file} is not there")
    file.touch()
    assert look(file) == (Why.MAINTENANCE, f"{file} is there")
    assert look(file, BadWhen.ABSENT) == (Why.ANSWERED, f"{file} is there")


def test_a_directory_that_is_not_there_holds_no_file(tmp_path: Path) -> None:
    """/run is empty after a boot, and nobody is in maintenance then."""
    assert look(tmp_path / "none" / "maintenance")[0] is Why.ANSWERED


def test_a_link_that_leads_nowhere_is_there(tmp_path: Path) -> None:
    (tmp_path / "maintenance").symlink_to("nowhere")
    assert look(tmp_path / "maintenance")[0] is Why.MAINTENANCE


def test_what_cannot_be_looked_at_is_our_own_fault(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert look(file / "maintenance") == (Why.FILE_UNUSABLE, f"{file}/maintenance: Not a directory")
    assert look(tmp_path / ("x" * 300))[0] is Why.FILE_UNUSABLE
    assert Why.FILE_UNUSABLE.outcome is Outcome.BROKEN


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become somebody else")
def test_an_unreadable_directory_is_unknown(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    os.seteuid(65534)
    try:
        why, detail = look(tmp_path / "maintenance")
    finally:
        os.seteuid(0)
    assert (why, why.outcome, "Permission denied" in detail) == (Why.NO_PERMISSION, Outcome.BROKEN, True)


async def test_it_is_looked_at_at_once_and_again(tmp_path: Path) -> None:
    file = tmp_path / "maintenance"
    file.touch()
    async with probing() as probe:
        probe.engine.set_probes([spec(CheckKind.FILE, FileOptions(path=str(file)), timing=Timing(interval_s=0.1))])
        await probe.until("seen", lambda: Why.MAINTENANCE in probe.whys(), 0.5)
        file.unlink()
        await probe.until("gone", lambda: Why.ANSWERED in probe.whys())


async def test_a_disk_that_hangs_is_our_own_fault_and_holds_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look was made in the event loop: one file on it stopped everything else that is checked, and decided."""
    hung, well, answers, real = tmp_path / "hung" / "file", tmp_path / "well" / "file", threading.Event(), os.lstat

    def lstat(path: str) -> os.stat_result:
        if path == str(hung):
            answers.wait()
        return real(path)

    monkeypatch.setattr(os, "lstat", lstat)
    specs = [
        spec(CheckKind.FILE, FileOptions(path=str(path)), timing=QUICK, name=f"self/a/{path.parent.name}")
        for path in (hung, well)
    ]
    try:
        async with probing() as probe:
            probe.engine.set_probes(specs)
            await probe.until("many looks", lambda: min(len(probe.of(one.id)) for one in specs) >= 5)
            assert {one.why for one in probe.of(specs[0].id)} == {Why.FILE_UNUSABLE}
            assert {one.why for one in probe.of(specs[1].id)} == {Why.ANSWERED}
            answers.set()
            await probe.until("it answers", lambda: probe.of(specs[0].id)[-1].why is Why.ANSWERED)
    finally:
        answers.set()
