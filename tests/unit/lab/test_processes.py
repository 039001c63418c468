"""Processes are known by pid and start time, and ended by that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from anycastd.lab import processes
from anycastd.lab.processes import MARK, Process, child_of, end_all, marked, running
from tests.wait import wait_until

LAB = f"u-{os.getpid()}"


@pytest.fixture
def sleeper() -> Iterator[Process]:
    with subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: f"{LAB}.a"}) as program:
        process = running(program.pid)
        assert process is not None
        yield process
        program.kill()


def test_process_with_another_start_time_is_another_process(sleeper: Process) -> None:
    stranger = Process(sleeper.pid, sleeper.start_ticks + 1)
    assert sleeper.is_alive()
    assert not stranger.is_alive()
    assert not stranger.send(signal.SIGKILL)
    assert sleeper.is_alive()


def test_dead_process_is_not_alive_even_before_it_is_reaped(sleeper: Process) -> None:
    assert sleeper.send(signal.SIGKILL)
    wait_until("it ended", 5, lambda: not sleeper.is_alive())
    assert Path(f"/proc/{sleeper.pid}").exists(), "nobody has reaped it yet"


def test_mark_names_one_lab_only(sleeper: Process) -> None:
    wait_until("the program runs", 5, lambda: marked(LAB) == [sleeper])
    assert marked(LAB[:-1]) == []
    assert marked(f"{LAB}0") == []


def test_end_all_ends_what_no_file_knows(sleeper: Process) -> None:
    wait_until("the program runs", 5, lambda: marked(LAB))
    end_all(LAB, [], 5.0)
    assert not sleeper.is_alive()


def test_name_with_brackets_does_not_shift_the_fields(tmp_path: Path) -> None:
    program = tmp_path / "a) S (b"
    program.symlink_to(sys.executable)
    with subprocess.Popen([program, "-c", "input()"], stdin=subprocess.PIPE) as started:
        found = running(started.pid)
        assert found is not None
        assert found.start_ticks > 1000
        assert child_of(os.getpid()) is not None
        started.kill()


def test_inside_finds_by_the_innermost_pid() -> None:
    me = running(os.getpid())
    assert me is not None
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    inner = next(line for line in status.splitlines() if line.startswith("NSpid")).split()[-1]
    assert processes.inside(me, int(inner)) == me
