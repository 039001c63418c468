"""Relay ExaBGP's helper pipes to the daemon's unix socket; runs alone on any Python 3, as ExaBGP's user.

usage: python3 -SE bridge.py SOCKET DIRECTORY

Kept whatever happens: standard input is always drained, because ExaBGP's whole reactor blocks in a write to a helper
that does not read; this process does not end while standard input is open, because ExaBGP ends itself after five
helper deaths in 64 s; only whole ASCII lines go to ExaBGP, because anything else makes it kill its helper.

A line of the daemon that begins with `!` is an order to this process: `!term`, `!kill`, `!reload` signal ExaBGP,
`!clear` makes it withdraw everything, `!deadman` reads DIRECTORY/deadman.json anew: a list of stages
`{"action", "after_s", "lines"}`. A stage's lines are sent once when no daemon was connected for `after_s` seconds. One
with `at_s`, a second of CLOCK_MONOTONIC, is sent from then on while no daemon is connected: what ends, ends alone.
SIGUSR1 is `!clear` before ExaBGP is ended: from then on no daemon is heard, which would announce everything again.

No pathlib and no typing: they alone would take 2 MiB for as long as ExaBGP runs (measured).
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import sys
import time

RETRY_S = 0.2
CHUNK_BYTES = 1 << 16
UP_LIMIT_BYTES = 32 << 20
DOWN_LIMIT_BYTES = 1 << 18
LINE_LIMIT_BYTES = 1 << 20
UPDATES_LIMIT_BYTES = 1 << 20
"""While more waits for the daemon, UPDATEs of observers are dropped: a flood of them must not part us from it."""
UPDATE, HEAD_BYTES = b'"type": "update"', 300
PROTOCOL = 1
DIGEST = "anycastd_digest"
"""In the environment when a service of its own started ExaBGP."""
VERSION = "ANYCASTD_EXABGP_VERSION"
"""In the environment by launcher.py."""
SIGNALS = {b"!term": signal.SIGTERM, b"!kill": signal.SIGKILL, b"!reload": signal.SIGUSR1}


class Lines:
    """Cuts a byte stream into whole lines; a line that never ends is thrown away."""

    def __init__(self) -> None:
        self._rest = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that `data` completes, without their ends."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        if whole and self._skipping:
            del whole[0]
            self._skipping = False
        if len(self._rest) > LINE_LIMIT_BYTES:
            self._rest, self._skipping = b"", True
        return whole


class DeadMan:
    """What to say to ExaBGP when the daemon has been away for too long."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._stages: list[tuple[float, str, list[bytes]]] = []
        self._ends: list[tuple[float, str, list[bytes]]] = []
        self.fired: str | None = None
        self._done = 0

    def load(self) -> None:
        """Read the stages; a file that is missing or not understood means none."""
        try:
            with open(self._path, encoding="ascii") as file:
                said = json.load(file)
            self._stages = sorted(
                (float(stage["after_s"]), str(stage["action"]), [str(line).encode("ascii") for line in stage["lines"]])
                for stage in said
                if stage.get("at_s") is None
            )
            self._ends = sorted(
                (float(stage["at_s"]), str(stage["action"]), [str(line).encode("ascii") for line in stage["lines"]])
                for stage in said
                if stage.get("at_s") is not None
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._stages, self._ends = [], []

    def rearm(self) -> None:
        """Begin anew: a daemon is connected."""
        self._done, self.fired = 0, None

    def due(self, away_s: float, now_s: float) -> list[bytes]:
        """Return the lines of every stage that became due, once."""
        lines: list[bytes] = []
        while self._ends and now_s >= self._ends[0][0]:
            _, name, more = self._ends.pop(0)
            self.fired = self.fired or name
            lines += more
        while self._done < len(self._stages) and away_s >= self._stages[self._done][0]:
            _, self.fired, more = self._stages[self._done]
            lines += more
            self._done += 1
        return lines


class Bridge:
    """The two pipes, the socket and what is buffered between them."""

    def __init__(self, path: str, directory: str) -> None:
        self.path, self.directory = path, directory
        self.began_s = self.away_since_s = time.monotonic()
        self.exabgp = os.getppid()
        self.sock: socket.socket | None = None
        self.retry_s = 0.0
        self.up, self.down = bytearray(), bytearray()
        self.from_exabgp, self.from_daemon = Lines(), Lines()
        self.dropped = 0
        self.dead_man = DeadMan(os.path.join(self.directory, "deadman.json"))
        self.dead_man.load()
        self.closing = False
        # a signal may come at any line: it is taken where the pipes and the socket are
        self.told, wakeup = os.pipe()
        os.set_blocking(wakeup, False)
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGUSR1, lambda number, frame: None)

    def close(self) -> None:
        """Withdraw everything, and hear no daemon any more, which would announce it again."""
        os.read(self.told, CHUNK_BYTES)
        self.closing = True
        self.hang_up()
        self.write_lines([b"clear adj-rib out"])

    def run(self) -> None:
        """Relay until ExaBGP closes our standard input."""
        os.set_blocking(0, False)
        os.set_blocking(1, False)
        reading = True
        while reading:
            now_s = time.monotonic()
            if self.sock is None and not self.closing:
                self.connect(now_s)
            if self.sock is None and not self.closing:
                self.write_lines(self.dead_man.due(now_s - self.away_since_s, now_s))
            for descriptor, event in self.wait():
                if descriptor == 0:
                    reading = self.read_exabgp() and reading
                elif descriptor == 1:
                    self.write_exabgp()
                elif descriptor == self.told:
                    self.close()
                elif self.sock is not None and descriptor == self.sock.fileno():
                    self.serve(event)

    def wait(self) -> list[tuple[int, int]]:
        """Wait until something can be read or written, at most until the next try to connect."""
        poll = select.poll()
        poll.register(0, select.POLLIN)
        poll.register(self.told, select.POLLIN)
        if self.down:
            poll.register(1, select.POLLOUT)
        if self.sock is not None:
            room = select.POLLIN if len(self.down) < DOWN_LIMIT_BYTES else 0
            poll.register(self.sock, room | (select.POLLOUT if self.up else 0))
        return poll.poll(None if self.sock is not None else int(RETRY_S * 1000))

    def connect(self, now_s: float) -> None:
        """Try to reach the daemon, and say hello."""
        if now_s < self.retry_s:
            return
        self.retry_s = now_s + RETRY_S
        sock = socket.socket(socket.AF_UNIX)
        try:
            # a unix connect waits while the backlog is full, and nothing here may wait
            sock.setblocking(False)
            sock.connect(self.path)
        except OSError:
            sock.close()
            return
        self.sock, self.from_daemon = sock, Lines()
        self.up[:] = json.dumps(self.hello(now_s)).encode() + b"\n"
        self.dropped = 0
        self.dead_man.rearm()

    def hello(self, now_s: float) -> dict[str, object]:
        """Return what a daemon must know first."""
        return {
            "bridge": "hello",
            "protocol": PROTOCOL,
            "pid": os.getpid(),
            "exabgp": self.exabgp,
            "dropped": self.dropped,
            "deadman": self.dead_man.fired,
            "config": self.config(),
            "uptime_s": round(now_s - self.began_s, 3),
            "version": os.environ.get(VERSION, ""),
        }

    def config(self) -> str:
        """Return the digest of the configuration that ExaBGP runs with, as the daemon noted it or its service began."""
        began = os.environ.get(DIGEST, "")
        try:
            with open(os.path.join(self.directory, "state.json"), encoding="ascii") as file:
                said = json.load(file)
            return str(said["config"]) if said["pid"] == self.exabgp else began
        except (OSError, ValueError, KeyError, TypeError):
            return began

    def hang_up(self) -> None:
        """Forget the daemon; what it did not take is lost, and its next hello says so."""
        if self.sock is not None:
            self.sock.close()
        self.sock = None
        self.away_since_s = time.monotonic()
        self.dropped += self.up.count(b"\n")
        self.up.clear()

    def read_exabgp(self) -> bool:
        """Drain standard input; return False at its end."""
        try:
            data = os.read(0, CHUNK_BYTES)
        except BlockingIOError:
            return True
        except OSError as error:
            return error.errno == errno.EINTR
        lines = self.from_exabgp.feed(data)
        if self.sock is None:
            self.dropped += len(lines)
        else:
            if len(self.up) > UPDATES_LIMIT_BYTES:
                lines = self.without_updates(lines)
            self.up += b"".join(line + b"\n" for line in lines)
            if len(self.up) > UP_LIMIT_BYTES:
                self.hang_up()
        return bool(data)

    def without_updates(self, lines: list[bytes]) -> list[bytes]:
        """Drop what can be missed: each beacon is said again in seconds."""
        kept = [line for line in lines if line.find(UPDATE, 0, HEAD_BYTES) < 0]
        self.dropped += len(lines) - len(kept)
        return kept

    def write_exabgp(self) -> None:
        """Write what fits; a closed pipe means that ExaBGP ends, which standard input will say."""
        try:
            del self.down[: os.write(1, self.down[:CHUNK_BYTES])]
        except BlockingIOError:
            return
        except OSError:
            self.down.clear()

    def write_lines(self, lines: list[bytes]) -> None:
        """Queue whole ASCII lines for ExaBGP."""
        self.down += b"".join(line + b"\n" for line in lines if line.isascii())

    def serve(self, event: int) -> None:
        """Read from and write to the daemon."""
        if self.sock is None:
            return
        try:
            if event & select.POLLOUT and self.up:
                del self.up[: self.sock.send(self.up[: 4 * CHUNK_BYTES])]
            if event & (select.POLLIN | select.POLLHUP | select.POLLERR):
                data = self.sock.recv(CHUNK_BYTES)
                if not data:
                    self.hang_up()
                    return
                self.take(self.from_daemon.feed(data))
        except BlockingIOError:
            return
        except OSError:
            self.hang_up()

    def take(self, lines: list[bytes]) -> None:
        """Obey orders; pass everything else on."""
        for line in lines:
            if not line.startswith(b"!"):
                self.write_lines([line])
            elif line in SIGNALS:
                self.signal(SIGNALS[line])
            elif line == b"!deadman":
                self.dead_man.load()
            elif line == b"!clear":
                self.write_lines([b"clear adj-rib out"])

    def signal(self, number: signal.Signals) -> None:
        """Signal ExaBGP, unless it has gone and something else adopted us."""
        if self.exabgp > 1 and os.getppid() == self.exabgp:
            try:
                os.kill(self.exabgp, number)
            except OSError:
                self.dropped += 1


def main() -> None:
    """Run until ExaBGP goes; SIGTERM, which ExaBGP sends its helpers when it ends, is obeyed."""
    for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    Bridge(sys.argv[1], sys.argv[2]).run()


if __name__ == "__main__":
    main()
