"""The process that speaks BFD: nothing else runs in it, so that nothing makes it late.

usage: python -m anycastd.probes.bfd.process SOCKET [DESCRIPTOR]

The daemon tells it on a unix socket which sessions there are, one JSON object a line, and hears of their states.
It listens on SOCKET, for its own user and root alone; DESCRIPTOR is a first connection that who starts it hands over.
A daemon that goes away changes nothing, the next one finds every session as it is. When none came back for as long as
the last one said, or at SIGTERM, the sessions are told to go AdminDown and the process ends.

The time is the monotonic clock: a step of the clock of the day moves nothing. It takes real-time scheduling (SCHED_RR)
and locks its memory where that is permitted, and says so.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

from anycastd import __version__
from anycastd.probes.bfd.speech import Speech, Wanted
from anycastd.probes.bfd.table import Key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BEAT_S = 0.25
RETRY_S = 1.0
READ_BYTES = 1 << 16
LINE_LIMIT_BYTES = 1 << 24
STATES_AT_ONCE = 64
PRIORITY = 10
MCL_CURRENT, MCL_ONFAULT = 1, 4
EX_USAGE, EX_UNAVAILABLE = 64, 69
NOT_SAID_S = float("inf")


def peer_uid(one: socket.socket) -> int:
    """Return the user at the other end of a unix socket."""
    credentials = one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def take_realtime() -> bool:
    """Ask for SCHED_RR; return whether it was given."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
    except OSError:
        return False
    return True


def lock_memory() -> bool:
    """Keep in memory what is in memory now; return whether that was given.

    What comes later is not asked for: behind a limit an allocation would fail instead.
    """
    locked: int = ctypes.CDLL(None, use_errno=True).mlockall(MCL_CURRENT | MCL_ONFAULT)
    return locked == 0


class Door:
    """The daemon's connection: lines in, states and beats out; never waited for."""

    def __init__(self, one: socket.socket) -> None:
        one.setblocking(False)
        self.socket, self.unread, self.unsent = one, b"", b""

    def read(self) -> list[dict[str, Any]] | None:
        """Return the orders that came; None when the connection is over."""
        try:
            data = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            return None
        *lines, self.unread = (self.unread + data).split(b"\n")
        if not data or len(self.unread) > LINE_LIMIT_BYTES:
            return None
        try:
            return [json.loads(line) for line in lines]
        except ValueError:
            return None

    def send(self, fresh: Callable[[], bytes]) -> bool:
        """Send what is left and what `fresh` returns, as much as is taken; return whether there is more."""
        try:
            while self.unsent or (data := fresh()):
                self.unsent = self.unsent or data
                self.unsent = self.unsent[self.socket.send(self.unsent) :]
        except BlockingIOError:
            return True
        except OSError:
            # its end is seen where it is read
            self.unsent = b""
        return False


class Process:
    """The loop of the process."""

    def __init__(self, path: Path, listener: socket.socket) -> None:
        self.path, self._listener = path, listener
        self._epoll = select.epoll()
        self.realtime, self.locked = take_realtime(), False
        self._speech = Speech(self._changed, self._watch, realtime=self.realtime)
        self._door: Door | None = None
        self._news: dict[Key, None] = {}
        self._greeted = self._beat_due = self._writing = False
        self._upkeep_s = self._retry_s = 0.0
        self._alone_since_s, self._alone_s = time.monotonic(), NOT_SAID_S
        self._told_to_end = False
        self._woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        listener.setblocking(False)
        for descriptor in (listener.fileno(), self._woken):
            self._epoll.register(descriptor, select.EPOLLIN)

    def run(self) -> None:
        """Speak until told to end."""
        try:
            while not self._told_to_end:
                self._turn()
        finally:
            # first, so that the next one does not find somebody who is going
            self._listener.close()
            self._speech.leave(time.monotonic())

    def welcome(self, one: socket.socket) -> None:
        """Take a daemon's connection, in place of the last one's."""
        if peer_uid(one) not in (0, os.geteuid()):
            one.close()
            return
        self._part()
        self._door, self._greeted = Door(one), False
        self._epoll.register(one.fileno(), select.EPOLLIN)
        self._news = dict.fromkeys(self._speech.wanted)
        self._flush()

    def _turn(self) -> None:
        wake_s = min(self._speech.next_s(), self._upkeep_s)
        events = self._epoll.poll(max(wake_s - time.monotonic(), 0.0))
        for descriptor, _ in events:
            if descriptor == self._listener.fileno():
                self._accept()
            elif self._door is not None and descriptor == self._door.socket.fileno():
                self._hear()
            elif descriptor == self._woken:
                os.read(self._woken, READ_BYTES)
        # whatever came before this moment is taken in before anybody is said to be silent
        now_s = time.monotonic()
        self._speech.take(now_s)
        self._speech.speak(now_s)
        if now_s >= self._upkeep_s:
            self._upkeep(now_s)
        self._flush()

    def _upkeep(self, now_s: float) -> None:
        self._upkeep_s, self._beat_due = now_s + BEAT_S, True
        if now_s >= self._retry_s:
            self._retry_s = now_s + RETRY_S
            self._speech.retry(now_s)
        if self._door is None and now_s - self._alone_since_s > self._alone_s:
            self._told_to_end = True

    def _accept(self) -> None:
        try:
            one, _ = self._listener.accept()
        except OSError:
            return
        self.welcome(one)

    def _hear(self) -> None:
        door = self._door
        orders = None if door is None else door.read()
        if orders is None:
            self._part()
            return
        for order in orders:
            self._obey(order)

    def _obey(self, order: dict[str, Any]) -> None:
        if "sessions" in order:
            try:
                wanted = [Wanted(said) for said in order["sessions"]]
                alone_s = order["alone_s"]
            except (KeyError, TypeError, ValueError):
                # not our daemon's words: nothing is changed by what is not understood
                self._part()
                return
            self._alone_s = NOT_SAID_S if alone_s is None else float(alone_s)
            self._speech.configure({one.key: one for one in wanted}, time.monotonic())
            self.locked = lock_memory()
            # who orders may have forgotten what it was told
            self._greeted, self._news = False, dict.fromkeys(self._speech.wanted)
        elif "end" in order:
            self._told_to_end = True

    def _part(self) -> None:
        door, self._door = self._door, None
        if door is not None:
            door.socket.close()
            self._writing, self._alone_since_s = False, time.monotonic()

    def _flush(self) -> None:
        door = self._door
        if door is None:
            return
        more = door.send(self._fresh)
        if more is not self._writing:
            self._writing = more
            self._epoll.modify(door.socket.fileno(), select.EPOLLIN | (select.EPOLLOUT if more else 0))

    def _fresh(self) -> bytes:
        """Return what is to be told next: what changes while nobody reads is told once, as it is then."""
        if not self._greeted:
            self._greeted = True
            hello = {"pid": os.getpid(), "version": __version__, "realtime": self.realtime, "locked": self.locked}
            return _line({"hello": hello})
        if self._news:
            keys = tuple(self._news)[:STATES_AT_ONCE]
            for key in keys:
                del self._news[key]
            return b"".join(_line({"state": self._state(key)}) for key in keys if key in self._speech.wanted)
        if self._beat_due:
            self._beat_due = False
            return _line({"beat": self._beat()})
        return b""

    def _state(self, key: Key) -> dict[str, Any]:
        trouble, told = self._speech.troubles.get(key), {"key": key}
        if trouble is not None:
            return told | {"trouble": trouble.number, "what": trouble.what}
        session = self._speech.table.flows[key].session
        remote = session.remote
        return told | {
            "state": session.state,
            "diag": session.diag,
            "since_s": session.changed_s,
            "was_up": session.was_up,
            "downs": session.downs,
            "transmit_us": session.transmit_us,
            "detection_us": session.detection_us,
            "remote_state": remote.state,
            "remote_diag": remote.diag,
            "left": session.left,
            "demanded": session.demanded,
            "resume": [
                session.discriminator,
                remote.discriminator,
                remote.min_rx_us,
                remote.desired_tx_us,
                remote.multiplier,
            ],
        }

    def _beat(self) -> dict[str, Any]:
        speech = self._speech
        late_s, speech.late_s = speech.late_s, 0.0
        return {
            "late_s": late_s,
            "late_worst_s": speech.late_worst_s,
            "sent": speech.sent,
            "heard": speech.heard,
            "unsent": speech.unsent,
            "discarded": speech.discarded,
        }

    def _changed(self, key: Key) -> None:
        self._news[key] = None

    def _watch(self, one: socket.socket) -> None:
        self._epoll.register(one.fileno(), select.EPOLLIN)

    def _end(self, *_: object) -> None:
        self._told_to_end = True


def _line(said: dict[str, Any]) -> bytes:
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


def listen(path: Path) -> socket.socket:
    """Return a listener on the path, for our user alone; raise OSError (EADDRINUSE: another process lives there)."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.setblocking(False)
        try:
            caller.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            path.unlink(missing_ok=True)
        except BlockingIOError:
            # somebody is there who takes no more callers
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)) from None
        else:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    made = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        made.bind(str(path))
        made.listen(4)
    except OSError:
        made.close()
        raise
    finally:
        os.umask(before)
    return made


def main(arguments: list[str]) -> int:
    """Run the process; return the exit status."""
    if not 1 <= len(arguments) <= 2:
        sys.stderr.write(f"{__doc__}\n")
        return EX_USAGE
    try:
        process = Process(Path(arguments[0]), listen(Path(arguments[0])))
    except OSError as error:
        sys.stderr.write(f"anycastd-bfd: {arguments[0]}: {error.strerror}\n")
        return EX_UNAVAILABLE
    if len(arguments) == 2:
        first = socket.socket(fileno=int(arguments[1]))
        first.set_inheritable(False)
        process.welcome(first)
    process.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
