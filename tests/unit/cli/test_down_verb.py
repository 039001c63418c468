"""`anycastd down` where no kernel is changed: who is found, who is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from anycastd.cli import down
from anycastd.cli.client import EX_NOPERM, AskError

LISTENS = """
import signal, socket, sys
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
listening.listen()
print("up", flush=True)
signal.pause()
"""


def test_the_kernel_tells_who_listens(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    assert down.daemon_of(str(path)) is None
    process = subprocess.Popen([sys.executable, "-c", LISTENS, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"up\n"
        assert down.daemon_of(str(path)) == process.pid
        down.leave(process.pid)
        assert process.wait(10) == -signal.SIGTERM
    finally:
        process.kill()
        process.communicate()
    assert down.daemon_of(str(path)) is None, "a socket that a dead daemon left"
    down.leave(process.pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it asks as another user")
def test_another_users_daemon_is_refused_with_what_to_do() -> None:
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        pid = os.fork()
        if pid == 0:
            os.setresuid(65534, 65534, 65534)
            try:
                down.leave(sleeper.pid)
            except AskError as error:
                os._exit(error.exit_code)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == EX_NOPERM
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()
