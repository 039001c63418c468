"""The daemon's end of the warden: orders out, news in, on the engine's own epoll."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from anycastd.probes.attempt import Reactor
from anycastd.probes.exec import warden

MAX_RUNNING = 64
"""Programs at once, of all checks."""
READ_BYTES = 65536
NEVER = float("inf")
ENDS_WITHIN_S = 2.0
ANSWERS_WITHIN_S = 5.0
"""It answers an order within some ms; one that is silent for so long hangs."""
ENDED, STOPPED, SILENT = "has ended", "was stopped", "does not answer"


class Listener(Protocol):
    """Who has a program run, and is told of it; each ends with `finished`, `refused` or `lost`."""

    def began(self) -> None:
        """Learn that it runs."""
        ...

    def said(self, text: str) -> None:
        """Learn its first output."""
        ...

    def finished(self, status: int, output: str, cut: bool, now_s: float) -> None:
        """Learn its wait status and its output, `cut` if there was more."""
        ...

    def refused(self, number: int, now_s: float) -> None:
        """Learn the errno for which it could not be started."""
        ...

    def lost(self, what: str, now_s: float) -> None:
        """Learn what the warden did (it has ended, or hangs), and that the program has gone with it."""
        ...


class Programs:
    """Runs programs in the warden, which is started with the first of them, and anew if it should end or hang."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._ids = itertools.count(1)
        self._running: dict[int, Listener] = {}
        self._groups: dict[int, int] = {}
        """The process group of each program that runs, by its number."""
        self._unread = self._unsent = b""
        self._asked_s = NEVER
        """Since when it owes us a word."""

    @property
    def running(self) -> int:
        """Return how many programs run that somebody waits for."""
        return len(self._running)

    @property
    def warden_pid(self) -> int | None:
        """Return the warden's process, if there is one."""
        return None if self._process is None else self._process.pid

    def run(
        self, listener: Listener, argv: Sequence[str], env: Mapping[str, str], keep_bytes: int = warden.KEPT_BYTES
    ) -> int:
        """Have a program run, and so much of its output kept; return its number.

        Raise OSError if the warden cannot be started.
        """
        if self._channel is None:
            self._start()
        number = next(self._ids)
        self._running[number] = listener
        # some microseconds; the starting itself is done elsewhere
        self._order({"run": number, "argv": list(argv), "env": dict(env), "keep": keep_bytes})
        self._asked_s = min(self._asked_s, self._reactor.now())
        return number

    def replaced(self, now_s: float) -> bool:
        """Look, when a program is overdue, whether the warden is; return whether it was killed, and all were told.

        One that hangs sees no program end: what it runs would be called overdue, and be its target's fault.
        """
        what = STOPPED if self._is_stopped() else SILENT if now_s - self._asked_s >= ANSWERS_WITHIN_S else ""
        if what:
            self._abandon(what, now_s)
        return bool(what)

    def _is_stopped(self) -> bool:
        if self._process is None:
            return False
        try:
            told = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            return False
        return told.rpartition(")")[2].split()[0] in ("T", "t")

    def kill(self, number: int) -> None:
        """Have the program and its whole group killed, and hear no more of it."""
        if self._running.pop(number, None) is not None and self._channel is not None:
            self._order({"kill": number})

    def close(self) -> None:
        """End the warden, and with it all that runs."""
        self._let_go()
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                if process.wait(ENDS_WITHIN_S) == 0:
                    self._groups.clear()
            process.kill()
            process.wait()
            self._kill_groups()

    def on_event(self, mask: int, now_s: float) -> None:
        """Take all news in."""
        self._send()
        while (channel := self._channel) is not None:
            try:
                data = channel.recv(READ_BYTES)
            except BlockingIOError:
                return
            except ConnectionError:
                data = b""
            if not data:
                self._abandon(ENDED, now_s)
                return
            self._asked_s = NEVER
            *lines, self._unread = (self._unread + data).split(b"\n")
            for line in lines:
                self._hear(json.loads(line), now_s)

    def broke(self, now_s: float) -> None:
        """Go on: the attempt that raised is the engine's matter."""

    def _hear(self, news: dict[str, Any], now_s: float) -> None:
        number = news["id"]
        if "began" in news:
            self._groups[number] = news["began"]
        elif "said" not in news:
            self._groups.pop(number, None)
        listener = self._running.get(number)
        if listener is None:
            return
        if "began" in news:
            listener.began()
        elif "said" in news:
            listener.said(news["said"])
        else:
            del self._running[number]
            if "failed" in news:
                listener.refused(news["failed"], now_s)
            else:
                listener.finished(news["status"], news["output"], news["cut"], now_s)

    def _order(self, order: dict[str, object]) -> None:
        self._unsent += json.dumps(order).encode() + b"\n"
        self._send()

    def _send(self) -> None:
        # its end is seen where it is read
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while self._unsent and self._channel is not None:
                self._unsent = self._unsent[self._channel.send(self._unsent) :]

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                command = [sys.executable, "-I", "-S", str(Path(warden.__file__)), str(theirs.fileno())]
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),), cwd="/", env={}
                )
                ours.setblocking(False)
                self._reactor.watch(ours.fileno(), self)
            except OSError:
                ours.close()
                raise
        self._channel, self._unread, self._unsent, self._asked_s = ours, b"", b"", NEVER

    def _let_go(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            self._reactor.forget(channel.fileno())
            channel.close()

    def _kill_groups(self) -> None:
        """Kill what a warden that was killed left: its programs went with it, what they had started did not."""
        groups, self._groups = self._groups, {}
        for group in groups.values():
            warden.kill_group(group)

    def _abandon(self, what: str, now_s: float) -> None:
        self._let_go()
        if self._process is not None:
            # one that only left us would still be at it
            self._process.kill()
            self._process.wait()
        self._kill_groups()
        running, self._running = self._running, {}
        for listener in running.values():
            listener.lost(what, now_s)
