"""`anycastd drain` and `undrain` at a real desk: the POP is asked for, and a name is enough where it is clear."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest_asyncio
from click.testing import CliRunner

from anycastd.api.app import serve
from anycastd.cli.drain import drain, undrain
from anycastd.model.status import Status
from anycastd.model.topology import ApiConfig
from anycastd.runtime.orders.desk import OrderDesk
from anycastd.telemetry.metrics import Metrics
from tests.unit import status_builder as build
from tests.unit.daemon import Daemon
from tests.unit.runtime.order_world import order_desk


class Telling(Daemon):
    """A daemon that tells of the desk's orders."""

    def __init__(self, desk: OrderDesk) -> None:
        super().__init__(build.serving())
        self._desk = desk

    def status(self) -> Status:
        return replace(self.state, orders=self._desk.orders)

    async def status_by_and_by(self) -> Status:
        return self.status()


@pytest_asyncio.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[str, OrderDesk]]:
    desk, _ = order_desk(tmp_path / "state")
    path = str(tmp_path / "api.sock")
    server = await serve(Telling(desk), ApiConfig(port=0, socket=path), Metrics(), orders=desk)
    yield path, desk
    await server.close()


async def put(verb: str, path: str, *words: str, code: int = 0) -> str:
    """Return what a verb prints."""

    def run() -> str:
        done = CliRunner().invoke({"drain": drain, "undrain": undrain}[verb], [*words, "--socket", path])
        assert done.exit_code == code, done.output
        return done.output

    return await asyncio.to_thread(run)


def standing(desk: OrderDesk) -> list[str]:
    return sorted(f"{one.scope.value} {one.name}".strip() for one in desk.orders.drains)


async def test_a_name_is_enough_where_one_thing_of_it_is_drained(served: tuple[str, OrderDesk]) -> None:
    path, desk = served
    await put("drain", path, "backend", "eu/web-1", "--reason", "work")
    assert "is not drained" in await put("undrain", path, "eu/other")
    assert standing(desk) == ["backend eu/web-1"]
    await put("undrain", path, "eu/web-1")
    assert standing(desk) == []
    await put("drain", path, "pop", "--reason", "work")
    await put("undrain", path, "pop")
    assert standing(desk) == []


async def test_what_is_not_clear_is_asked_for(served: tuple[str, OrderDesk]) -> None:
    path, desk = served
    assert "give its name" in await put("undrain", path, "region", code=2)
    assert "without a name" in await put("undrain", path, "pop", "fra", code=2)
    assert "with what it is before it" in await put("undrain", path, "rejion", "us", code=2)
    assert standing(desk) == []


async def test_a_terminal_is_asked_before_the_whole_pop_goes(served: tuple[str, OrderDesk]) -> None:
    path, desk = served
    asked, code = await asyncio.to_thread(_answered, path, b"n\n")
    assert "drain the whole POP?" in asked
    assert (code, standing(desk)) == (130, [])
    _, code = await asyncio.to_thread(_answered, path, b"y\n")
    assert (code, standing(desk)) == (0, ["pop"])


def _answered(path: str, answer: bytes) -> tuple[str, int]:
    """Return what `drain pop` shows on a terminal on which an answer is typed, and its exit status."""
    near, far = pty.openpty()
    command = [sys.executable, "-m", "anycastd", "drain", "pop", "--reason", "work", "--socket", path]
    try:
        os.write(near, answer)
        done = subprocess.run(command, stdin=far, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    finally:
        os.close(near)
        os.close(far)
    return done.stdout.decode(), done.returncode
