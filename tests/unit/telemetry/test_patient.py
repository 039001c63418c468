"""Log lines to somebody who does not read them: they are lost, whole, and nobody waits."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from anycastd.model.log import LoggingConfig
from anycastd.telemetry.logs import drain, log_event, set_up
from anycastd.telemetry.patient import patient

LINES = 3000
log = logging.getLogger("tests.patient")


@contextmanager
def reader(kind: str) -> Iterator[tuple[int, int]]:
    """Give the descriptors of somebody who reads, and of the end that is written to."""
    if kind == "pipe":
        far, near = os.pipe()
    else:
        ours, theirs = socket.socketpair()
        near, far = ours.detach(), theirs.detach()
    try:
        yield far, near
    finally:
        set_up(LoggingConfig(), stream=io.StringIO(), environ={})
        os.close(far)


def read(far: int) -> bytes:
    os.set_blocking(far, False)
    data = b""
    with suppress(BlockingIOError):
        while more := os.read(far, 1 << 16):
            data += more
    return data


@pytest.mark.parametrize("kind", ["socket", "pipe"])
def test_who_does_not_read_holds_nobody(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a journal that is stopped, or waits for a disk that hangs: before, this test never ended."""
    lost = list[int]()
    monkeypatch.setattr("anycastd.telemetry.patient.DRAIN_S", 0.01)
    with reader(kind) as (far, near), os.fdopen(near, "w") as stream:
        set_up(LoggingConfig(format="json", burst=10**9), stream=stream, environ={}, suppressed=lost.append)
        for number in range(LINES):
            log_event(log, "started", number=number, words="x" * (300 + number % 7))
        assert 0 < sum(lost) < LINES
        data = read(far)
        log_event(log, "started", number=LINES)
        while more := read(far):
            data += more
            drain()
        told = [json.loads(line)["number"] for line in data.splitlines()]
        assert (told[0], told[-1]) == (0, LINES), "no line is half another"
        assert told == sorted(told) and len(told) + sum(lost) == LINES + 1


async def test_what_a_slow_reader_left_is_offered_again_without_another_line() -> None:
    lost, data = list[int](), b""
    with reader("pipe") as (far, near), os.fdopen(near, "w") as stream:
        set_up(LoggingConfig(format="json", burst=10**9), stream=stream, environ={}, suppressed=lost.append)
        for number in range(500):
            log_event(log, "started", number=number, words="x" * 300)
        async with asyncio.timeout(10.0):
            while data.count(b"\n") < 500:
                data += read(far)
                await asyncio.sleep(0.01)
        assert not lost
        assert [json.loads(line)["number"] for line in data.splitlines()] == list(range(500))


def test_a_reader_that_has_gone_is_no_error_and_a_file_stays_what_it_is(tmp_path: Path) -> None:
    lost = list[int]()
    far, near = os.pipe()
    with os.fdopen(near, "w") as stream:
        set_up(LoggingConfig(), stream=stream, environ={}, suppressed=lost.append)
        os.close(far)
        log_event(log, "started")
        assert lost == [1]
        set_up(LoggingConfig(), stream=io.StringIO(), environ={})
    with (tmp_path / "log").open("w") as file:
        assert patient(file, lost.append) is file
    assert patient(memory := io.StringIO(), lost.append) is memory
