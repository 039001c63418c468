"""What only a process of its own can show: stopped as a whole, or out of descriptors."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.probes.world import OK, answer, server
from tests.wait import wait_until

ROOT = Path(__file__).parents[3]


class Child:
    """A running child and what it has printed so far."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path) -> None:
        self.process, self._out = process, out

    def lines(self) -> list[str]:
        """Return what was printed."""
        return self._out.read_text().split("\n")[:-1]

    def write(self, data: bytes) -> None:
        """Send a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()


@contextlib.contextmanager
def child(out: Path, *arguments: object) -> Iterator[Child]:
    """Run a child; it is killed at the end, also if stopped."""
    with out.open("wb") as stdout:
        command = [sys.executable, "-m", "tests.unit.probes.child", *map(str, arguments)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stdout, cwd=ROOT)
    try:
        yield Child(process, out)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_stopped_for_two_seconds(tmp_path: Path) -> None:
    """What was in flight is our own fault, missed slots are not caught up on, and all is well after."""
    with server(answer(OK, delay_s=0.2)) as running, child(tmp_path / "out", running.port, 0.4) as it:
        wait_until("five good results", 10, lambda: it.lines()[4:])
        it.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, it.process.pid, os.WSTOPPED)
        requests = running.requests
        signal.sigtimedwait([], 2.0)
        before = len(it.lines())
        it.process.send_signal(signal.SIGCONT)
        wait_until("ten results more", 10, lambda: it.lines()[before + 10 :])
        assert set(it.lines()) <= {"answered", "loop_late"}
        # no storm: about one request for each result since, not the twenty that were missed
        assert running.requests - requests <= len(it.lines()) - before + 8
        assert it.process.stdin is not None
        it.process.stdin.close()
        wait_until("the counts", 5, lambda: it.lines()[-1].startswith("started"))
        assert int(it.lines()[-1].split()[-1]) >= 18


def test_out_of_descriptors(tmp_path: Path) -> None:
    """Said as our own fault, survived, and over when there are descriptors again."""
    with server(answer(OK)) as running, child(tmp_path / "out", running.port, 0.4, 0) as it:
        wait_until("results", 10, lambda: it.lines()[3:])
        assert set(it.lines()) == {"no_descriptors"}
        it.write(b"go\n")
        wait_until("recovered", 10, lambda: "answered" in it.lines())
