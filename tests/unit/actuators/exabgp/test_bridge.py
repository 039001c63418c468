"""The real bridge between real pipes and a real socket; we are ExaBGP and the daemon."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anycastd.actuators.exabgp.files import BRIDGE_SOURCE
from anycastd.actuators.exabgp.process import SYSTEM_PYTHON
from tests.wait import wait_until


class Between:
    """A bridge, its two pipes, and the socket that it looks for."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.path = directory, directory / "sock"
        argv = [SYSTEM_PYTHON, "-SE", str(BRIDGE_SOURCE), str(self.path), str(directory)]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.listener: socket.socket | None = None
        self.daemon: socket.socket | None = None
        self.rest = b""

    def connect(self) -> dict[str, Any]:
        """Be a daemon; return the hello."""
        self.path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen()
        self.listener.settimeout(5)
        self.daemon, _ = self.listener.accept()
        self.daemon.settimeout(5)
        self.rest = b""
        hello: dict[str, Any] = json.loads(self.line())
        return hello

    def leave(self) -> None:
        """Be gone."""
        for sock in (self.daemon, self.listener):
            if sock is not None:
                sock.close()
        self.daemon = self.listener = None
        self.path.unlink(missing_ok=True)

    def line(self) -> str:
        """Return the next line to the daemon."""
        assert self.daemon is not None
        while b"\n" not in self.rest:
            self.rest += self.daemon.recv(65536)
        line, _, self.rest = self.rest.partition(b"\n")
        return line.decode()

    def say(self, text: bytes) -> None:
        """Speak as the daemon."""
        assert self.daemon is not None
        self.daemon.sendall(text)

    def print(self, text: bytes, within_s: float = 10.0) -> None:
        """Speak as ExaBGP, whose writes must never block for long."""
        assert self.process.stdin is not None
        descriptor = self.process.stdin.fileno()
        while text:
            _, ready, _ = select.select([], [descriptor], [], within_s)
            assert ready, "the bridge does not drain its standard input"
            text = text[os.write(descriptor, text[:4096]) :]

    def heard(self) -> str:
        """Return the next line to ExaBGP."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], 5)
        assert ready, "nothing came"
        return self.process.stdout.readline().decode().rstrip("\n")

    def end(self) -> None:
        """End all."""
        self.leave()
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def between(tmp_path: Path) -> Iterator[Between]:
    made = Between(tmp_path)
    yield made
    made.end()


def test_hello_and_lines_both_ways(between: Between) -> None:
    (between.directory / "state.json").write_text(json.dumps({"pid": os.getpid(), "config": "abc-def"}))
    hello = between.connect()
    assert hello == {
        "bridge": "hello",
        "protocol": 1,
        "pid": between.process.pid,
        "exabgp": os.getpid(),
        "dropped": 0,
        "deadman": None,
        "config": "abc-def",
        "uptime_s": hello["uptime_s"],
        "version": "",
    }
    between.print(b'{"x": 1}\ndo')
    assert between.line() == '{"x": 1}'
    between.print(b"ne\n")
    assert between.line() == "done"
    between.say(b"show nei")
    between.say(b"ghbor json\nshow neighbor summary\n")
    assert between.heard() == "show neighbor json"
    assert between.heard() == "show neighbor summary"


def test_neither_half_lines_nor_other_bytes_reach_exabgp(between: Between) -> None:
    between.connect()
    between.say("caf\u00e9\n".encode() + b"show neighbor json\nneighbor 10.9.0.2 announce rou")
    between.leave()
    between.connect()
    between.say(b"show neighbor summary\n")
    assert [between.heard(), between.heard()] == ["show neighbor json", "show neighbor summary"]


def test_standard_input_is_drained_while_nobody_listens_and_while_nobody_reads(between: Between) -> None:
    flood = b'{"peer": 1}\n' * 50_000
    between.print(flood)
    hello = between.connect()
    assert hello["dropped"] >= 49_000
    for _ in range(4):
        between.print(b"x" * 99 + b"\n" + flood)
    between.print(b"y" * (3 << 20))
    assert between.process.poll() is None


def test_a_daemon_that_never_reads_is_left_and_told_later(between: Between) -> None:
    between.connect()
    for _ in range(45):
        between.print(b"x" * ((1 << 20) - 1) + b"\n")
    between.leave()
    assert between.connect()["dropped"] > 0
    between.print(b"done\n")
    assert between.line() == "done"


def test_a_flood_of_updates_drops_updates_and_nothing_else(between: Between) -> None:
    between.connect()
    update = b'{ "exabgp": "5.0.0", "host" : "vm", "type": "update", "neighbor": "' + b"x" * 4000 + b'" }\n'
    # four times what may wait for a daemon that is busy, and then the answer to a command
    for _ in range(1100):
        between.print(update)
    between.print(b"done\n")
    lines = 1
    while (line := between.line()) != "done":
        assert line.encode() == update[:-1]
        lines += 1
    assert lines < 1100
    between.leave()
    assert between.connect()["dropped"] == 1101 - lines


def test_the_dead_man_speaks_once_a_stage_and_a_new_daemon_hears_of_it(between: Between) -> None:
    between.connect()
    line = "neighbor 10.9.0.2 withdraw route 10.0.0.0/8 next-hop 1.1.1.1"
    stages = [
        {"action": "withdraw", "after_s": 0.6, "lines": [line]},
        {"action": "depref", "after_s": 0.2, "lines": ["one", "two"]},
    ]
    (between.directory / "deadman.json").write_text(json.dumps(stages))
    between.say(b"!deadman\nshow neighbor json\n")
    assert between.heard() == "show neighbor json"
    between.leave()
    assert [between.heard(), between.heard()] == ["one", "two"]
    assert between.heard() == line
    assert between.connect()["deadman"] == "withdraw"
    between.leave()
    assert between.heard() == "one"


def test_what_ends_is_withdrawn_at_its_moment_if_no_daemon_is_there(between: Between) -> None:
    between.connect()
    now_s = time.monotonic()
    stages = [
        {"action": "ended", "after_s": 0.0, "at_s": now_s - 1, "lines": ["withdraw one"]},
        {"action": "ended", "after_s": 0.0, "at_s": now_s + 0.6, "lines": ["withdraw two"]},
        {"action": "ended", "after_s": 0.0, "at_s": now_s + 3600, "lines": ["withdraw three"]},
    ]
    (between.directory / "deadman.json").write_text(json.dumps(stages))
    between.say(b"!deadman\nshow neighbor json\n")
    # as long as a daemon is there, it ends what ends
    assert between.heard() == "show neighbor json"
    between.leave()
    assert between.heard() == "withdraw one"
    assert between.heard() == "withdraw two"
    assert time.monotonic() >= now_s + 0.6
    assert between.connect()["deadman"] == "ended"


@pytest.mark.parametrize("broken", ["", "[", '{"a": 1}', '[{"action": "depref"}]', '[{"action": 1, "after_s": "x"}]'])
def test_a_broken_dead_man_file_means_keep(between: Between, broken: str) -> None:
    between.connect()
    (between.directory / "deadman.json").write_text(broken)
    between.say(b"!deadman\n!clear\n")
    assert between.heard() == "clear adj-rib out"
    between.leave()
    assert between.connect()["deadman"] is None


def test_orders_signal_exabgp(between: Between) -> None:
    """We are its parent, so we get what ExaBGP would."""
    got: list[int] = []
    old = signal.signal(signal.SIGUSR1, lambda number, _: got.append(number))
    try:
        between.connect()
        between.say(b"!reload\n!unknown\nshow neighbor json\n")
        assert between.heard() == "show neighbor json"
        wait_until("the signal", 5, lambda: got == [signal.SIGUSR1])
    finally:
        signal.signal(signal.SIGUSR1, old)


def test_what_an_earlier_exabgp_ran_with_is_not_told_of_this_one(between: Between) -> None:
    (between.directory / "state.json").write_text(json.dumps({"pid": os.getpid() + 1, "config": "abc-def"}))
    assert between.connect()["config"] == ""


@pytest.mark.parametrize("connected", [True, False])
def test_before_the_end_it_withdraws_and_hears_no_daemon_any_more(between: Between, connected: bool) -> None:
    between.connect()
    if not connected:
        between.leave()
    between.process.send_signal(signal.SIGUSR1)
    assert between.heard() == "clear adj-rib out"
    if connected:
        assert between.daemon is not None
        assert between.daemon.recv(1) == b""
        between.leave()
    between.listener = socket.socket(socket.AF_UNIX)
    between.listener.bind(str(between.path))
    between.listener.listen()
    between.print(b"done\n")
    # twice as long as it waits before it looks for a daemon again
    assert select.select([between.listener], [], [], 0.4)[0] == []
    assert between.process.poll() is None


def test_it_ends_with_exabgp_only(between: Between) -> None:
    between.connect()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        between.process.send_signal(number)
    between.print(b"done\n")
    assert between.line() == "done"
    assert between.process.poll() is None
    assert between.process.stdin is not None
    between.process.stdin.close()
    wait_until("its end", 5, lambda: between.process.poll() == 0)
