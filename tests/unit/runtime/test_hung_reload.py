"""A reload while a disk hangs: a FIFO whose other end nobody opens is a file that never answers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from anycastd.actuators.disk import Disk
from anycastd.actuators.exabgp.supervisor import Supervisor
from anycastd.errors import ActuatorRejected
from anycastd.model.store import StoreConfig, StoreKind
from anycastd.model.topology import BgpConfig
from anycastd.runtime.fleet.link import FleetLink
from anycastd.runtime.reloading import reload
from anycastd.runtime.reloading.reload import reload_config
from anycastd.store.etcd.http import Gateway, Unreachable
from anycastd.store.port import StoreUnavailable
from tests.unit.runtime.fleet_world import config as fleet_config
from tests.unit.runtime.world import UP, config

WITHIN_S = 0.05


@pytest.fixture
def hung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a file that whoever opens it waits for, until the test is over; patience with it is short."""
    path = tmp_path / "hung"
    os.mkfifo(path, 0o600)
    monkeypatch.setattr(Disk.run, "__defaults__", (WITHIN_S,))
    monkeypatch.setattr(reload, "READ_WITHIN_S", WITHIN_S)
    yield path
    let_go(path)


def let_go(path: Path) -> None:
    """Let everybody who waits for a pipe find its end; who comes later finds no file."""
    with suppress(FileNotFoundError):
        other_end = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        path.unlink()
        os.close(other_end)


async def turns_while(hung: Path, waiting: asyncio.Future[object] | asyncio.Task[object]) -> int:
    """Return how often the loop turned until something ended; what still waits for the file is let go.

    Had the loop itself opened the file, it would not turn any more.
    """
    turned = 0
    while not waiting.done():
        await asyncio.sleep(0)
        turned += 1
    let_go(hung)
    return turned


async def test_a_password_that_cannot_be_had_keeps_the_loop_from_nothing(tmp_path: Path, hung: Path) -> None:
    supervisor = Supervisor(BgpConfig(directory=str(tmp_path)), config().pop, lambda event: None, lambda: None)
    neighbor = replace(config().neighbors[UP], password_file=str(hung))
    asked = asyncio.ensure_future(supervisor.render({UP: neighbor}))
    assert await turns_while(hung, asked) >= 1
    with pytest.raises(ActuatorRejected, match=f"password of neighbor {UP} cannot be read: {hung}: the disk does not"):
        await asked
    await supervisor.leave()


async def test_an_exabgp_that_ends_is_started_with_the_passwords_that_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = Supervisor(BgpConfig(directory=str(tmp_path)), config().pop, lambda event: None, lambda: None)
    path = tmp_path / "password"
    path.write_text("secret\n")
    neighbors = {UP: replace(config().neighbors[UP], password_file=str(path))}
    before = await supervisor.render(neighbors)
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(Disk.run, "__defaults__", (WITHIN_S,))
    assert await supervisor.render(neighbors) == before
    let_go(path)
    await supervisor.leave()


async def test_a_file_of_the_configuration_that_never_answers_refuses_the_reload(
    hung: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a stopped NFS does not; a FIFO would be told as one."""
    monkeypatch.setattr(reload, "load", lambda path: hung.read_bytes())
    disk = Disk("reload")
    asked = asyncio.ensure_future(reload_config("anycastd.yaml", config(), None, disk))
    assert await turns_while(hung, asked) >= 1
    new, outcome = await asked
    assert (new, outcome.applied) == (None, False)
    assert outcome.problems == ("anycastd.yaml: it, or a file that it names, cannot be read: "
                                f"the disk does not answer within {WITHIN_S:g} s",)  # fmt: skip
    disk.close()


def test_a_fleet_of_a_reload_is_taken_with_what_was_read_of_the_disk() -> None:
    """The number of the start and the key are read before, in a thread: here they could not be read."""
    asked: list[str] = []

    def boot() -> int:
        asked.append("boot")
        return 78

    link = FleetLink(config(), boot, clock=lambda: 0.0, stir=lambda: None, wake=lambda at_s: None)
    assert asked == []
    new = fleet_config("fra")
    found = link.read(new)
    assert asked == ["boot"]
    link.configure(new, found)
    assert (link.own.boot, asked) == (78, ["boot"])


async def test_the_password_of_the_fleets_store_is_asked_of_a_disk_that_hangs_once(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("secret\n")
    path.chmod(0o600)
    store = StoreConfig(kind=StoreKind.ETCD, endpoints=("http://192.0.2.1:2379",), user="fra", password_file=str(path))
    known, fresh = Gateway(store), Gateway(store)
    assert await known._password(30.0) == "secret"
    path.unlink()
    os.mkfifo(path, 0o600)
    for _ in range(3):
        assert await known._password(WITHIN_S) == "secret"
        with pytest.raises(Unreachable, match=f"{path} cannot be read: the disk does not answer"):
            await fresh._password(WITHIN_S)
    let_go(path)
    path.write_text("another\n")
    path.chmod(0o600)
    for one in (known, fresh):
        with suppress(StoreUnavailable):
            # what came of the look that hung
            await one._password(30.0)
        assert await one._password(30.0) == "another"
        await one.close()
