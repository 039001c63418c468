"""Run programs inside a node."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence

from anycastd.lab.equipment import tool
from anycastd.lab.processes import Process, child_of

ENTER_PROGRAM = "nsenter"


def enter_argv(node: Process, argv: Sequence[str]) -> list[str]:
    """Give the command line that runs `argv` inside a node.

    The program is killed when nsenter is: a kill of what the caller started must not leave the rest behind.
    """
    enter = [tool(ENTER_PROGRAM), "-t", str(node.pid), "-n", "-m", "-u", "-i", "-p", "-r", "-w"]
    return [*enter, tool("setpriv"), "--pdeathsig", "KILL", "--", *argv]


class NodeProcess(subprocess.Popen[str]):
    """A program running inside a node; signals go to the program itself, not to the nsenter before it."""

    def send_signal(self, sig: int) -> None:
        """Send a signal to the program inside the node."""
        program = child_of(self.pid) if self.poll() is None else None
        if program is None or not program.send(signal.Signals(sig)):
            super().send_signal(sig)
        elif sig == signal.SIGCONT:
            # nsenter stops itself when its child is stopped, and would never wait for it again.
            super().send_signal(sig)


def run_inside(
    node: Process, env: Mapping[str, str], argv: Sequence[str], *, timeout_s: float, text: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program inside a node to its end; raise subprocess.TimeoutExpired (and kill it) after `timeout_s`."""
    stdin = subprocess.DEVNULL if text is None else subprocess.PIPE
    pipe = subprocess.PIPE
    full = enter_argv(node, argv)
    with NodeProcess(
        full, env=dict(env), stdin=stdin, stdout=pipe, stderr=pipe, text=True, errors="replace"
    ) as program:
        try:
            stdout, stderr = program.communicate(text, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            # The program itself, so that nsenter reaps it: an orphan would go to the host's init.
            program.kill()
            program.wait()
            raise
    return subprocess.CompletedProcess(list(argv), program.returncode, stdout, stderr)
