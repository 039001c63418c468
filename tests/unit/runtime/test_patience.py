"""A start that waits for a disk: what is said of it, and that it ends when the disk answers."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from anycastd.runtime.process import patience
from anycastd.runtime.process.notify import Notify
from anycastd.runtime.process.patience import read_through, told


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.settimeout(30)
        yield made


def test_what_does_not_answer_is_named_until_it_does(
    tmp_path: Path, systemd: socket.socket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(patience, "AFTER_S", 0.01)
    monkeypatch.setattr(patience, "EACH_S", 0.01)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    heard: list[dict[str, str]] = []

    def answer() -> None:
        """Hear twice that it is waited for, then be the other end."""
        for _ in range(2):
            heard.append(dict(line.split("=", 1) for line in systemd.recv(4096).decode().splitlines()))
        pipe.write_bytes(b"")

    answering = threading.Thread(target=answer)
    answering.start()
    notify = Notify(str(tmp_path / "notify"))
    with told("the state directory /srv", notify):
        assert pipe.read_bytes() == b""
    answering.join()
    notify.close()
    status = {"STATUS": "waits for the state directory /srv, which does not answer", "EXTEND_TIMEOUT_USEC": "30000000"}
    assert heard == [status] * 2
    assert capsys.readouterr().err.splitlines() == [
        "anycastd: waits for the state directory /srv, which does not answer; "
        "until then nothing is changed, and what is announced stays",
        "anycastd: the state directory /srv answers",
    ]


def test_nothing_is_said_of_a_disk_that_answers(
    tmp_path: Path, systemd: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "orders.json").write_text("{}")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    notify = Notify(str(tmp_path / "notify"))
    with told("the state directory", notify):
        read_through(tmp_path)
        read_through(tmp_path / "missing")
    notify.close()
    assert capsys.readouterr().err == ""
    systemd.setblocking(False)
    with pytest.raises(BlockingIOError):
        systemd.recv(1)
