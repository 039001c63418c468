"""The process itself, without a session: whom it hears, what it survives, how it ends."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anycastd import __version__
from anycastd.probes.bfd.launch import Found, connect, start
from anycastd.probes.bfd.process import EX_UNAVAILABLE, EX_USAGE, listen, main
from tests.wait import wait_until

ROOM_MIB = 14.0
"""What it may hold for itself alone, without a session: measured 5 MiB, of 10 resident."""


def heard(one: Found, word: str) -> dict[str, Any]:
    """Return the next line with a word, from a connection that is not closed."""
    one.channel.settimeout(15)
    with one.channel.makefile("rb", buffering=0) as lines:
        for line in lines:
            if word in (said := json.loads(line)):
                found: dict[str, Any] = said[word]
                return found
    message = "the connection is over"
    raise EOFError(message)


def order(one: Found, *lines: bytes) -> None:
    one.channel.sendall(b"".join(line + b"\n" for line in lines))


NOTHING = b'{"sessions": [], "alone_s": 60}'


@pytest.fixture
def process(tmp_path: Path) -> Iterator[tuple[Found, str]]:
    path = str(tmp_path / "bfd.sock")
    made = start(path)
    yield made, path
    made.kill()
    made.close(wait=True)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_it_says_who_it_is_and_takes_little_room(process: tuple[Found, str]) -> None:
    one, _ = process
    hello = heard(one, "hello")
    assert (hello["pid"], hello["version"]) == (one.pid, __version__)
    order(one, NOTHING)
    assert heard(one, "beat")["discarded"] == {}
    lines = Path(f"/proc/{one.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    held = sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty:", "Private_Clean:")))
    assert held / 1024 < ROOM_MIB


def test_the_next_daemon_finds_it_and_takes_the_last_ones_place(process: tuple[Found, str]) -> None:
    first, path = process
    heard(first, "hello")
    second = connect(path)
    assert second is not None
    assert (second.pid, second.adopted) == (first.pid, True)
    assert heard(second, "hello")["pid"] == first.pid
    with pytest.raises(EOFError):
        heard(first, "never")
    second.close(wait=False)


@pytest.mark.parametrize(
    "line", [b"what", b'{"sessions": [{}], "alone_s": 1}', b'{"sessions": 7, "alone_s": 1}', b"\xff\xfe"]
)
def test_what_is_no_order_ends_the_connection_and_nothing_else(process: tuple[Found, str], line: bytes) -> None:
    one, path = process
    heard(one, "hello")
    order(one, line)
    with pytest.raises(EOFError):
        heard(one, "never")
    again = connect(path)
    assert again is not None
    assert heard(again, "hello")["pid"] == one.pid
    again.close(wait=False)


def test_it_ends_when_it_is_told_to_and_when_no_daemon_comes_back(process: tuple[Found, str]) -> None:
    one, path = process
    heard(one, "hello")
    order(one, b'{"sessions": [], "alone_s": 0.1}')
    heard(one, "beat")
    one.channel.close()
    wait_until("it has ended by itself", 10, lambda: not is_alive(one.pid))
    two = start(path)
    heard(two, "hello")
    order(two, b'{"end": true}')
    wait_until("it has ended as told", 10, lambda: not is_alive(two.pid))
    two.close(wait=True)


def test_only_one_lives_at_a_path_and_a_dead_ones_socket_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "bfd.sock"
    living = listen(path)
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    assert main([str(path)]) == EX_UNAVAILABLE
    living.close()
    listen(path).close()
    assert connect(str(path)) is None
    assert main([]) == EX_USAGE


def test_one_that_stands_still_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "bfd.sock"
    with listen(path):
        callers = [connect(str(path)) for _ in range(8)]
        assert callers[0] is not None
        assert callers[0].pid == os.getpid()
        assert callers[-1] is None
        with pytest.raises(OSError, match="in use"):
            listen(path)
        for caller in callers:
            if caller is not None:
                caller.close(wait=False)


def test_a_listener_of_another_user_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bfd.sock"
    with listen(path):
        monkeypatch.setattr(socket.socket, "getsockopt", lambda *_: b"\x01\0\0\0\x99\x99\0\0\0\0\0\0")
        assert connect(str(path)) is None
