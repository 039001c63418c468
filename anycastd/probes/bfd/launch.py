"""The BFD process, as the daemon starts, finds and ends it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import anycastd

PROGRAM = "import sys; sys.path.insert(0, sys.argv.pop(1)); from anycastd.probes.bfd.process import main; " \
          "sys.exit(main(sys.argv[1:]))"  # fmt: skip
ENDS_WITHIN_S = 2.0
DIES_WITHIN_S = 0.02


class Found:
    """A running BFD process and a connection to it; `child` if it is ours by birth."""

    def __init__(self, channel: socket.socket, pid: int, child: subprocess.Popen[bytes] | None) -> None:
        self.channel, self.pid, self._child = channel, pid, child
        self.adopted = child is None
        channel.setblocking(False)
        try:
            # its number may be another's one day
            self._descriptor = os.pidfd_open(pid)
        except OSError:
            self._descriptor = -1

    def kill(self) -> None:
        """Have it killed, so that it says no farewell: its peers must not see the sessions go down."""
        if self._descriptor < 0:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
        # while it dies it still holds the ports, and its socket may still be connected to
        select.select([self._descriptor], [], [], DIES_WITHIN_S)

    def close(self, *, wait: bool) -> None:
        """Let go of it; with `wait`, see its end."""
        self.channel.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._child is not None and wait:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(ENDS_WITHIN_S)
        if self._child is not None and self._child.poll() is None:
            # it lives on, as it is meant to; that we do not wait for it is no mistake
            self._child.returncode = 0


def connect(path: str) -> Found | None:
    """Return the process that listens there, or None; it must be of our user, or root's."""
    channel = socket.socket(socket.AF_UNIX)
    # one that stands still takes only so many callers, and is not waited for
    channel.setblocking(False)
    try:
        channel.connect(path)
        pid, uid, _ = struct.unpack("3i", channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    except OSError:
        channel.close()
        return None
    if uid not in (0, os.geteuid()):
        channel.close()
        return None
    return Found(channel, pid, None)


def start(path: str) -> Found:
    """Start the process in a session of its own, with a first connection; raise OSError if that cannot be done."""
    ours, theirs = socket.socketpair()
    root = str(Path(anycastd.__file__).parents[1])
    # without site packages: what it does not load, it need not keep in memory
    command = [sys.executable, "-I", "-S", "-c", PROGRAM, root, path, str(theirs.fileno())]
    with theirs:
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                cwd="/",
                env={},
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
    return Found(ours, child.pid, child)
