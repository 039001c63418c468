"""The process that runs programs for the daemon; started as a file, with the standard library alone.

Starting a program takes about 1 ms, and as long as the disk pleases: here it holds up nobody but the programs. The
daemon sends one JSON object per line on a socket, `{"run": ID, "argv": [...], "env": {...}, "keep": BYTES}` or
`{"kill": ID}`, and is told `{"id": ID, ...}` with `began` (its process group), `said` (first output), `status` and
`output`, or `failed` (an errno). When the daemon is gone, however it went, the socket ends and everything that runs is
killed. When we are killed, the daemon kills the groups.

Each program leads a process group of its own. At its end, or at the order to kill, the whole group gets SIGKILL. What
left the group (setsid) is adopted by us and killed as soon as no program runs.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import select
import signal
import socket
import sys
from typing import Any

KEPT_BYTES = 512
READ_BYTES = 65536
NOT_STARTED = 127
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 1, 36, 47, 4
# what whoever started the daemon has ignored is inherited, and what Python and the daemon changed
_INHERITED = tuple(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})

_prctl = ctypes.CDLL(None, use_errno=True).prctl


class Program:
    """One program that runs; `errors` ends when it was started, and says why where it could not be."""

    def __init__(self, id_: int, pid: int, errors: int, output: int, keep_bytes: int) -> None:
        self.id, self.pid, self.errors, self.output, self.keep_bytes = id_, pid, errors, output, keep_bytes
        self.kept, self.cut, self.began, self.failed = bytearray(), False, False, 0

    def close(self) -> None:
        """Close what is still open."""
        for descriptor in (self.errors, self.output):
            if descriptor >= 0:
                os.close(descriptor)
        self.errors = self.output = -1


class Warden:
    """Runs programs until the daemon's end of the socket closes."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel, self._epoll, self._unread = channel, select.epoll(), b""
        self._unsent, self._writing = b"", 0
        channel.setblocking(False)
        self._by_pid: dict[int, Program] = {}
        self._by_id: dict[int, Program] = {}
        self._readers: dict[int, Program] = {}
        self._woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # a terminal's or unit's signals are for the daemon: when it ends, we do
            signal.signal(number, signal.SIG_IGN)
        _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        for descriptor in (channel.fileno(), self._woken):
            self._epoll.register(descriptor, select.EPOLLIN)

    def run(self) -> None:
        """Run programs, and kill them all at the end."""
        try:
            while self._turn():
                pass
        finally:
            self._kill_all()

    def _kill_all(self) -> None:
        for program in self._by_pid.values():
            kill_group(program.pid)
        with contextlib.suppress(ChildProcessError):
            while True:
                # who loses its parent by that becomes our child, and is next
                _kill_strays()
                os.waitpid(-1, 0)

    def _turn(self) -> bool:
        for descriptor, mask in self._epoll.poll():
            if descriptor == self._channel.fileno():
                if mask & select.EPOLLOUT:
                    self._send()
                if mask & ~select.EPOLLOUT and not self._listen():
                    return False
            elif descriptor == self._woken:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._woken, READ_BYTES)
            elif (program := self._readers.get(descriptor)) is not None:
                self._read(program, descriptor)
        self._reap()
        return True

    def _listen(self) -> bool:
        try:
            data = self._channel.recv(READ_BYTES)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))
        return bool(data)

    def _obey(self, order: dict[str, Any]) -> None:
        if "run" in order:
            try:
                self._start(order["run"], order["argv"], order["env"], order["keep"])
            except OSError as error:
                self._tell(id=order["run"], failed=error.errno)
        elif (program := self._by_id.get(order["kill"])) is not None:
            kill_group(program.pid)

    def _start(self, id_: int, argv: list[str], env: dict[str, str], keep_bytes: int) -> None:
        pipes: list[int] = []
        try:
            pipes += os.pipe2(os.O_CLOEXEC)
            pipes += os.pipe2(os.O_CLOEXEC)
            parent, pid = os.getpid(), os.fork()
        except OSError:
            for descriptor in pipes:
                os.close(descriptor)
            raise
        errors, told, output, said = pipes
        if not pid:
            _become(argv, env, told, said, parent)
        with contextlib.suppress(OSError):
            # the child does so too: whoever is first, the group is there before it is killed
            os.setpgid(pid, pid)
        os.close(told)
        os.close(said)
        program = Program(id_, pid, errors, output, keep_bytes)
        self._by_pid[pid] = self._by_id[id_] = program
        for descriptor in (errors, output):
            os.set_blocking(descriptor, False)
            self._readers[descriptor] = program
            self._epoll.register(descriptor, select.EPOLLIN)

    def _read(self, program: Program, descriptor: int) -> None:
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return
        if descriptor == program.errors:
            self._started(program, data)
        elif data:
            self._keep(program, data)
        else:
            self._forget(descriptor)
            os.close(descriptor)
            program.output = -1

    def _started(self, program: Program, data: bytes) -> None:
        self._forget(program.errors)
        os.close(program.errors)
        program.errors = -1
        if data:
            program.failed = int(data)
        else:
            program.began = True
            self._tell(id=program.id, began=program.pid)

    def _keep(self, program: Program, data: bytes) -> None:
        first, room = not program.kept, program.keep_bytes - len(program.kept)
        program.kept += data[:room]
        program.cut = program.cut or len(data) > room
        if first:
            self._tell(id=program.id, said=_text(program.kept))

    def _forget(self, descriptor: int) -> None:
        self._readers.pop(descriptor, None)
        self._epoll.unregister(descriptor)

    def _reap(self) -> None:
        while True:
            try:
                # looked at first and reaped after: as long as the leader is not reaped, its group's number is its own
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                break
            program = self._by_pid.pop(ended.si_pid, None)
            if program is not None:
                kill_group(program.pid)
            status = os.waitpid(ended.si_pid, 0)[1]
            if program is not None:
                self._ended(program, status)
        if not self._by_pid:
            _kill_strays()

    def _ended(self, program: Program, status: int) -> None:
        self._by_id.pop(program.id, None)
        for descriptor in (program.errors, program.output):
            if descriptor >= 0:
                # what it said last; of what it left running nothing is waited for
                self._read(program, descriptor)
        for descriptor in (program.errors, program.output):
            if descriptor >= 0:
                self._forget(descriptor)
        program.close()
        if program.failed:
            self._tell(id=program.id, failed=program.failed)
        else:
            self._tell(id=program.id, status=status, output=_text(program.kept), cut=program.cut)

    def _tell(self, **what: object) -> None:
        self._unsent += json.dumps(what).encode() + b"\n"
        self._send()

    def _send(self) -> None:
        """Tell as much as the daemon takes: one that is late must not keep us from killing."""
        # that it is gone is seen when the socket is read
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while self._unsent:
                self._unsent = self._unsent[self._channel.send(self._unsent) :]
        writing = select.EPOLLOUT if self._unsent else 0
        if writing != self._writing:
            self._writing = writing
            self._epoll.modify(self._channel.fileno(), select.EPOLLIN | writing)


def _become(argv: list[str], env: dict[str, str], told: int, said: int, parent: int) -> None:
    """Become the program; never returns. What it inherits is nothing but /dev/null, one pipe and `env`."""
    number = errno.EINVAL
    try:
        os.setpgid(0, 0)
        # a warden that is killed takes at least its direct children along
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            # it was killed before that: nobody would end us
            os._exit(NOT_STARTED)
        _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
        for inherited in _INHERITED:
            signal.signal(inherited, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.chdir("/")
        os.umask(0o022)
        os.execve(argv[0], argv, env)
    except OSError as error:
        number = error.errno or number
    finally:
        os.write(told, str(number).encode())
        os._exit(NOT_STARTED)


def kill_group(pid: int) -> None:
    """Kill all of a program's process group that is left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _kill_strays() -> None:
    """Kill all children that are left: adopted, since their parents ended before them."""
    me = os.getpid()
    with contextlib.suppress(OSError), open(f"/proc/self/task/{me}/children", encoding="ascii") as children:  # noqa: PTH123
        for pid in map(int, children.read().split()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _text(data: bytes | bytearray) -> str:
    return bytes(data).decode("utf-8", "replace")


if __name__ == "__main__":
    orders = socket.socket(fileno=int(sys.argv[1]))
    # a program that held it open would hide our end from the daemon
    orders.set_inheritable(False)
    Warden(orders).run()
