"""The desk on a real file: who wins, what is remembered, what a store that fails leaves behind."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
import pytest_asyncio

from anycastd.actuators.lasting import cancelled
from anycastd.api.ports import Dialed, DialRequest, Done, Request
from anycastd.model.address import RegionName
from anycastd.model.eip import Eip, EipId, EipStatus, Source, TaskState
from anycastd.resources import codec
from anycastd.resources.commands import (
    Allocate,
    Associate,
    Dial,
    Disassociate,
    EipCommand,
    Modify,
    Release,
    Restore,
)
from anycastd.resources.refusal import Refused
from anycastd.runtime.eips.book import ANSWERS_KEPT_S
from anycastd.runtime.eips.steady import STEADY_S
from anycastd.store import sqlite_file
from anycastd.store.port import Write
from tests.unit.runtime.eip_world import ONE, SIX, TWO, Plane, World, bound_to, said, with_file

EU = bound_to("eu-central/web-1")
US = bound_to("us-east/web-1")
IN_FILE = Eip(id=EipId("eip-0000000f"), address=ONE, binding=EU, source=Source.FILE, description="of the file")


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path / "anycastd.db")
    await world.begin()
    yield world
    await world.end()


async def test_the_life_of_an_eip(world: World) -> None:
    steps: list[tuple[EipCommand, EipStatus, EipStatus]] = [
        (Allocate(address=ONE), EipStatus.CREATING, EipStatus.UNBIND),
        (Associate(str(ONE), EU), EipStatus.BINDING, EipStatus.BIND),
        (Associate(str(ONE), US, replace=True), EipStatus.BINDING, EipStatus.BIND),
        (Modify(eip=str(ONE), in_bps=10**6), EipStatus.BINDING, EipStatus.BIND),
        (Disassociate(str(ONE)), EipStatus.UNBINDING, EipStatus.UNBIND),
        (Release(str(ONE)), EipStatus.UNBINDING, EipStatus.OFFLINING),
        (Restore(str(ONE)), EipStatus.CREATING, EipStatus.UNBIND),
    ]
    for generation, (command, accepted, settled) in enumerate(steps, start=1):
        done = await world.done(command)
        assert (done.shown.view.status, done.shown.view.eip.generation) == (accepted, generation)
        assert done.task is not None
        task = world.desk.task(done.task.id)
        assert task is not None
        assert (task.verb, task.state, task.generation) == (command.verb, TaskState.SUCCESS, generation)
        shown = world.desk.show(str(ONE))
        assert shown is not None
        assert (shown.view.status, shown.prefix) == (settled, ip_network("203.0.113.0/24"))
        assert world.plane.kernel[ONE] == shown.view.eip == world.desk.records.get(ONE)
    life = dict(world.plane.kernel)
    await world.restart()
    assert world.plane.kernel == life
    assert [task.verb for task in world.desk.tasks()][::-1] == [command.verb for command, _, _ in steps]
    assert {task.state for task in world.desk.tasks()} == {TaskState.SUCCESS}


async def test_an_id_is_as_good_as_an_address(world: World) -> None:
    eip = (await world.done(Allocate(address=SIX))).shown.view.eip
    await world.done(Modify(eip=eip.id, description="six"))
    for name in (eip.id, "2001:db8:113::10", "2001:0DB8:113:0::0010"):
        shown = world.desk.show(name)
        assert shown is not None
        assert shown.view.eip.description == "six"
    assert world.desk.show("eip-00000000") is world.desk.show("web") is world.desk.show("fe80::1%eth0") is None


async def test_a_task_runs_until_the_kernel_was_read_back(world: World) -> None:
    world.plane.held = True
    done = await world.done(Allocate(address=ONE))
    assert done.task is not None
    running = await world.desk.finished(done.task.id, 0.01)
    assert running is not None
    assert running.state is TaskState.RUNNING
    waiting = asyncio.ensure_future(world.desk.finished(done.task.id, 5.0))
    await asyncio.sleep(0)
    world.plane.held = False
    world.plane.act()
    world.desk.on_observed()
    ended = await waiting
    assert ended is not None
    assert ended.state is TaskState.SUCCESS


async def test_a_task_is_overtaken_by_a_later_change(world: World) -> None:
    await world.done(Allocate(address=ONE))
    world.plane.held = True
    first = (await world.done(Associate(str(ONE), EU))).task
    second = (await world.done(Associate(str(ONE), US, replace=True))).task
    assert first is not None
    assert second is not None
    ended = await world.desk.finished(first.id, 0.01)
    assert ended is not None
    assert (ended.state, ended.detail) == (TaskState.FAILED, "overtaken by generation 3")
    await world.restart()
    assert [(t.id, t.state) for t in world.desk.tasks()][:2] == [
        (second.id, TaskState.SUCCESS),
        (first.id, TaskState.FAILED),
    ]


async def test_a_kernel_that_refuses_fails_the_task_and_is_told(world: World) -> None:
    await world.done(Allocate(address=ONE))
    world.plane.held = True
    done = await world.done(Associate(str(ONE), EU))
    world.desk.on_refused(ONE, "no memory for the set")
    assert done.task is not None
    task = world.desk.task(done.task.id)
    assert task is not None
    assert (task.state, task.detail) == (TaskState.FAILED, "no memory for the set")
    shown = world.desk.show(str(ONE))
    assert shown is not None
    assert shown.view.eip.last_error == "no memory for the set"
    world.desk.on_refused(ONE, None)
    shown = world.desk.show(str(ONE))
    assert shown is not None
    assert shown.view.eip.last_error == ""


async def test_writers_at_the_same_time_are_one_after_the_other(world: World) -> None:
    await world.done(Allocate(address=ONE))
    requests = [
        Request(command=Modify(eip=str(ONE), description=f"writer {number}"), expected=1) for number in range(8)
    ]
    outcomes = await asyncio.gather(*map(world.desk.change, requests))
    won = [outcome for outcome in outcomes if isinstance(outcome, Done)]
    lost = [said(outcome) for outcome in outcomes if isinstance(outcome, Refused)]
    assert len(won) == 1
    assert lost == 7 * [
        ["412 PreconditionFailed 203.0.113.10 is at generation 2, not at 1: somebody changed it; read it again"]
    ]
    free = [Request(command=Modify(eip=str(ONE), description=f"free {number}")) for number in range(8)]
    assert all(isinstance(outcome, Done) for outcome in await asyncio.gather(*map(world.desk.change, free)))
    assert world.plane.kernel[ONE].generation == 2 + 8
    same = await asyncio.gather(*(world.desk.change(Request(command=Allocate(address=TWO))) for _ in range(3)))
    assert sorted(type(outcome).__name__ for outcome in same) == ["Done", "Refused", "Refused"]


async def test_next_free_addresses_asked_for_at_once_are_all_different(world: World) -> None:
    command = Allocate(prefix=ip_network("203.0.113.0/24"))
    outcomes = await asyncio.gather(*(world.desk.change(Request(command=command)) for _ in range(20)))
    addresses = {outcome.shown.view.eip.address for outcome in outcomes if isinstance(outcome, Done)}
    assert len(addresses) == 20


async def test_another_process_that_writes_is_not_written_over(world: World) -> None:
    await world.done(Allocate(address=ONE))
    other = World(world.path)
    await other.begin()
    await other.done(Modify(eip=str(ONE), description="of the other"))
    await other.end()
    assert await world.refused(Modify(eip=str(ONE), description="mine")) == [
        "409 TransactionInProgress /eips/203.0.113.10 was changed by another writer meanwhile; read it and try again"
    ]
    following = asyncio.ensure_future(world.desk.follow())
    await until(lambda: world.plane.kernel[ONE].description == "of the other")
    done = await world.done(Modify(eip=str(ONE), description="mine"))
    assert done.shown.view.eip.generation == 3
    await world.store.commit(
        [Write(f"/eips/{ONE}", None), Write("/dials/us-east", '{"traffic_dial_percentage":7}')], {}
    )
    await until(lambda: not world.plane.kernel and world.plane.dials == {"us-east": 7})
    following.cancel()


async def test_a_key_that_is_used_again_gets_the_same_answer_over_a_restart(world: World) -> None:
    asked = {"key": "k-1", "digest": "a"}
    first = await world.done(Allocate(prefix=ip_network("203.0.113.0/24")), **asked)
    again = await world.done(Allocate(prefix=ip_network("203.0.113.0/24")), **asked)
    assert again == replace(first, replayed=True)
    await world.done(Associate(str(first.shown.view.eip.address), EU))
    await world.restart()
    assert await world.done(Allocate(prefix=ip_network("203.0.113.0/24")), **asked) == again
    assert len(world.desk.records) == 1
    assert await world.refused(Allocate(address=ONE), key="k-1", digest="b") == [
        "422 IdempotencyKeyReused the Idempotency-Key 'k-1' was used for another request"
    ]
    world.wait(24 * 3600 + 1)
    await world.desk.tick()
    await world.done(Allocate(address=ONE), key="k-1", digest="b")


async def test_a_key_with_nothing_to_change_is_remembered_too(world: World) -> None:
    await world.done(Allocate(address=ONE))
    done = await world.done(Modify(eip=str(ONE), description=""), key="k", digest="a")
    assert done.task is None
    await world.done(Modify(eip=str(ONE), description="changed since"))
    again = await world.done(Modify(eip=str(ONE), description=""), key="k", digest="a")
    assert (again.task, again.replayed) == (None, True)
    assert world.plane.kernel[ONE].description == "changed since"


async def test_a_refused_request_leaves_its_key_free(world: World) -> None:
    assert await world.refused(Associate(str(ONE), EU), key="k", digest="a")
    await world.done(Allocate(address=ONE))
    await world.done(Associate(str(ONE), EU), key="k", digest="a")


async def test_a_dry_run_changes_nothing_and_says_what_it_would(world: World) -> None:
    done = await world.done(Allocate(address=ONE), dry_run=True, key="k", digest="a")
    assert (done.task, done.changes) == (None, ("203.0.113.10 allocated",))
    assert await world.refused(Associate(str(ONE), EU), dry_run=True)
    await world.done(Allocate(address=ONE), key="k", digest="b")
    done = await world.done(Associate(str(ONE), EU), dry_run=True)
    assert done.changes == ("203.0.113.10 bound to eu-central/web-1",)
    before = world.plane.acts
    assert (await world.done(Modify(eip=str(ONE), description=""))).task is None
    assert (world.plane.acts, world.plane.kernel[ONE].generation) == (before, 1)


async def test_the_files_eip_wins_and_gives_way_again(world: World) -> None:
    await world.done(Allocate(address=ONE))
    await world.done(Allocate(address=TWO))
    world.desk.configure(with_file(world.config, [IN_FILE]))
    await world.desk.tick()
    assert world.plane.kernel[ONE] == IN_FILE
    assert "203.0.113.10: hidden by the file's EIP" in world.complaints["eips"]
    shown = world.desk.show(str(ONE))
    assert shown is not None
    assert shown.notes == ("an EIP of the store has this address too; this one, of the file, hides it",)
    assert await world.refused(Disassociate(str(ONE))) == [
        "409 UnsupportedOperation.ConfiguredInFile 203.0.113.10 stands in /etc/anycastd/anycastd.yaml: "
        "change it there and reload"
    ]
    world.desk.configure(world.config)
    await world.desk.tick()
    assert world.plane.kernel[ONE].source is Source.API
    assert world.complaints == {}
    assert set(world.plane.kernel) == {ONE, TWO}


async def test_an_eip_that_the_new_file_does_not_allow_is_told_and_can_be_unbound(world: World) -> None:
    await world.done(Allocate(address=ONE))
    await world.done(Associate(str(ONE), EU))
    backends = {id_: backend for id_, backend in world.config.backends.items() if id_ != "eu-central/web-1"}
    world.desk.configure(replace(world.config, backends=backends))
    await world.desk.tick()
    assert world.complaints["eips"].startswith(
        "1 of the store are not as the file allows: 203.0.113.10: targets[0].backend: no backend is called"
    )
    await world.done(Modify(eip=str(ONE), description="kept"))
    await world.done(Disassociate(str(ONE)))


async def test_a_released_eip_is_kept_and_then_gone(world: World) -> None:
    await world.done(Allocate(address=ONE))
    await world.done(Release(str(ONE)))
    kept_s = world.config.eip.keep_released_s
    world.wait(kept_s - 1)
    await world.desk.tick()
    assert ONE in world.plane.kernel
    world.wait(2)
    await world.desk.tick()
    assert world.plane.kernel == {}
    await world.restart()
    assert world.plane.kernel == {}
    assert (await world.done(Allocate(address=ONE))).shown.view.eip.generation == 1


async def test_of_too_many_answers_and_tasks_the_oldest_go_and_of_old_ones_all(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anycastd.runtime.eips.book.MAX_ANSWERS", 3)
    monkeypatch.setattr("anycastd.resources.tasks.MAX_TASKS", 2)
    world.wait(STEADY_S)
    await world.done(Allocate(address=ONE), key="k0")
    for number in range(1, 5):
        world.wait(1)
        if number % 2:
            percent = Dial(RegionName("us-east"), number)
            assert isinstance(await world.desk.dial(DialRequest(command=percent, key=f"k{number}")), Dialed)
        else:
            await world.done(Modify(eip=str(ONE), description=str(number)), key=f"k{number}")

    async def kept() -> tuple[set[str], list[str]]:
        items = (await world.store.snapshot("/")).items
        there = {key.rpartition("/")[2] for key in items if "answers/" in key}
        assert there == world.desk._book.answers.keys()
        tasks = [task.id for task in world.desk.tasks()]
        assert {key.rpartition("/")[2] for key in items if key.startswith(codec.TASKS)} == set(tasks)
        return there, [task.verb for task in world.desk.tasks()]

    await world.desk.tick()
    assert await kept() == ({"k2", "k3", "k4"}, ["modify", "modify"])
    await world.restart()
    assert await kept() == ({"k2", "k3", "k4"}, ["modify", "modify"])
    world.wait(ANSWERS_KEPT_S - 1)
    await world.desk.tick()
    assert await kept() == ({"k3", "k4"}, ["modify"])
    world.wait(2)
    await world.desk.tick()
    assert await kept() == (set(), [])


@pytest.mark.parametrize("restart", [False, True])
async def test_a_clock_that_is_ahead_for_some_minutes_forgets_no_released_eip(world: World, restart: bool) -> None:
    """In a fleet it would forget those of all POPs."""
    await world.done(Allocate(address=ONE))
    await world.done(Release(str(ONE)))
    year_s = 365 * 86400.0
    world.wall_s += year_s
    if restart:
        await world.restart()
    for _ in range(20):
        world.wait(60)
        await world.desk.tick()
    world.wall_s -= year_s
    await world.desk.tick()
    world.wait(7200)
    await world.desk.tick()
    await world.done(Restore(str(ONE)))
    # and one that is really old goes, an hour after the clock was set
    await world.done(Release(str(ONE)))
    for _ in range(int(world.config.eip.keep_released_s // 3600) + 2):
        world.wait(3600)
        await world.desk.tick()
    assert world.desk.records.find(str(ONE)) is None


async def test_dials_outlive_the_daemon(world: World) -> None:
    us = RegionName("us-east")
    assert await world.desk.dial(DialRequest(command=Dial(us, 25), dry_run=True)) == Dialed(
        us, 25, 100, ("the dial of us-east changed from 100 % to 25 %",)
    )
    assert world.plane.dials == {}
    await world.desk.dial(DialRequest(command=Dial(us, 25)))
    await world.restart()
    assert world.plane.dials == world.desk.dials == {us: 25}
    await world.desk.dial(DialRequest(command=Dial(us, None)))
    await world.restart()
    assert world.plane.dials == {}
    refusal = await world.desk.dial(DialRequest(command=Dial(RegionName("us-eats"), 5)))
    assert isinstance(refusal, Refused)
    assert said(refusal) == ["404 InvalidRegion.NotFound no region is called 'us-eats'; did you mean 'us-east'?"]


async def test_a_full_disk_while_binding_changes_nothing_and_passes(world: World) -> None:
    await world.done(Allocate(address=ONE))
    before = dict(world.plane.kernel)
    with world.store._file._connected() as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages}").fetchall()
    many = bound_to(*(["eu-central/web-1", "eu-central/web-2"]))
    told: list[str] = []
    for number in range(200):
        outcome = await world.desk.change(Request(command=Modify(eip=str(ONE), description="x" * (50 + number))))
        if isinstance(outcome, Refused):
            told = said(outcome)
            break
        before = dict(world.plane.kernel)
    assert len(told) == 1
    assert told[0].startswith(f"503 StoreUnavailable nothing was changed: {world.path}: the disk is full: free space")
    assert world.plane.kernel == world.plane.wanted == before
    assert "the disk is full" in world.complaints[str(world.path)]
    with world.store._file._connected() as db:
        db.execute("PRAGMA max_page_count = 100000").fetchall()
    await world.done(Associate(str(ONE), many))
    assert world.complaints == {}


async def test_a_damaged_store_leaves_the_files_eips_and_is_read_when_it_is_repaired(tmp_path: Path) -> None:
    world = World(tmp_path / "anycastd.db")
    await world.begin()
    await world.done(Allocate(address=TWO))
    await world.end()
    good = bytes_of(world.path)
    put_bytes(world.path, b"damaged" + good[7:])
    world.config = with_file(world.config, [IN_FILE])
    await world.begin()
    assert set(world.plane.kernel) == {ONE}
    assert (world.desk.complete, world.desk.loaded) == (False, False)
    assert "damaged" in world.complaints[str(world.path)]
    assert (await world.refused(Release(str(ONE))))[0].startswith("503 StoreUnavailable ")
    put_bytes(world.path, good)
    await world.desk.tick()
    assert set(world.plane.kernel) == {ONE, TWO}
    assert (world.desk.complete, world.complaints) == (True, {})
    await world.end()


async def test_a_record_that_cannot_be_read_is_told_kept_and_in_nobodys_way(tmp_path: Path) -> None:
    world = World(tmp_path / "anycastd.db")
    await world.begin()
    await world.done(Allocate(address=TWO))
    await world.store.commit([Write(f"/eips/{ONE}", '{"address":"203.0.113.10"}')], {})
    await world.restart()
    assert set(world.plane.kernel) == {TWO}
    assert not world.desk.complete
    assert f"1 in the store cannot be read and stay as they are: /eips/{ONE}" in world.complaints["records"]
    assert "409 TransactionInProgress" in (await world.refused(Allocate(address=ONE)))[0]
    await world.done(Modify(eip=str(TWO), description="goes on"))
    await world.end()


async def test_an_eip_that_somebody_copied_to_another_key_changes_neither(world: World) -> None:
    await world.done(Allocate(address=ONE))
    await world.done(Allocate(address=TWO, description="mine"))
    key = f"/eips/{ONE}"
    before, copy = dict(world.plane.kernel), (await world.store.snapshot(key)).items[key].value
    changed = (copy or "").replace('"generation":1', '"generation":1,"description":"copied"')
    following = asyncio.ensure_future(world.desk.follow())
    await world.store.commit([Write(f"/eips/{TWO}", changed), Write("/eips/203.0.113.x", changed)], {})
    await until(lambda: "2 in the store cannot be read" in world.complaints.get("records", ""))
    assert f"/eips/{TWO}: it is the EIP {ONE}, which belongs at /eips/{ONE}" in world.complaints["records"]
    assert world.plane.kernel == before
    await cancelled(following)
    await world.restart()
    assert (world.plane.kernel[ONE], TWO in world.plane.kernel) == (before[ONE], False)
    assert "2 in the store cannot be read" in world.complaints["records"]


@pytest.mark.parametrize("mended", [True, False])
async def test_a_record_that_another_mends_or_removes_is_complained_of_no_longer(world: World, mended: bool) -> None:
    await world.done(Allocate(address=ONE))
    key = f"/eips/{ONE}"
    good = (await world.store.snapshot(key)).items[key].value
    following = asyncio.ensure_future(world.desk.follow())
    await world.store.commit([Write(key, "{"), Write("/dials/us-east", "{")], {})
    await until(lambda: not world.desk.complete)
    assert "2 in the store cannot be read" in world.complaints["records"]
    assert ONE in world.plane.kernel
    await world.store.commit([Write(key, good if mended else None), Write("/dials/us-east", None)], {})
    await until(lambda: world.desk.complete and not world.complaints)
    await until(lambda: (ONE in world.plane.kernel) is mended)
    following.cancel()


async def test_an_eip_whose_record_cannot_be_read_any_more_stays_as_it_was_known(world: World) -> None:
    await world.done(Allocate(address=ONE))
    await world.store.commit([Write(f"/eips/{ONE}", "{")], {})
    assert await world.desk._load()
    assert set(world.plane.kernel) == {ONE}
    assert not world.desk.complete


async def test_what_is_in_force_can_be_put_back_where_its_record_cannot_be_read(world: World) -> None:
    await world.done(Allocate(address=ONE))
    await world.desk.dial(DialRequest(command=Dial(RegionName("us-east"), 25)))
    (eip,) = world.desk.records.stored.values()
    await world.store.commit([Write(f"/eips/{ONE}", "{"), Write("/dials/us-east", "{"), Write("/dials/sin", "{")], {})
    assert await world.desk._load()
    assert world.plane.dials == {"us-east": 25}
    texts = [world.desk.text_of(key) for key in (f"/eips/{ONE}", "/dials/us-east", "/dials/sin", "/eips/x")]
    assert texts == [codec.encode_eip(eip), codec.encode_dial(25), None, None]


async def test_dials_are_known_before_the_eips(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.done(Allocate(address=ONE))
    await world.desk.dial(DialRequest(command=Dial(RegionName("us-east"), 0)))
    await world.restart()
    told: list[str] = []
    monkeypatch.setattr(world.plane, "put", lambda *_: told.append("put"))
    monkeypatch.setattr(world.plane, "set_dials", lambda *_: told.append("dials"))
    assert await world.desk._load()
    assert told == ["dials", "put"]


async def test_what_is_not_an_eip_and_cannot_be_read_keeps_nothing_from_being_tidied_up(world: World) -> None:
    await world.store.commit([Write("/answers/k-1", "{"), Write("/tasks/task-1", "{")], {})
    await world.restart()
    assert "2 in the store cannot be read" in world.complaints["records"]
    assert world.desk.complete


async def test_a_locked_store_is_told_and_the_loop_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.done(Allocate(address=ONE))
    monkeypatch.setattr(sqlite_file, "BUSY_WITHIN_S", 0.05)
    await world.restart()
    with closing(sqlite3.connect(world.path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        changing = asyncio.ensure_future(world.refused(Release(str(ONE))))
        turns = itertools.count()
        await until(lambda: next(turns) > 10)
        assert not changing.done()
        assert "another process holds it locked" in (await changing)[0]
    await world.done(Release(str(ONE)))


async def test_who_asks_and_goes_away_leaves_no_half_change(world: World) -> None:
    asking = asyncio.ensure_future(world.desk.change(Request(command=Allocate(address=ONE))))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await until(lambda: ONE in world.plane.kernel)


async def until(so: Callable[[], object], within_s: float = 5.0) -> None:
    """Let the loop turn until something is so."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + within_s
    while not so():
        assert loop.time() < end_s, "not in time"
        await asyncio.sleep(0.002)


def bytes_of(path: Path) -> bytes:
    return path.read_bytes()


def put_bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)


async def test_a_few_tasks_end_as_soon_as_the_kernel_was_read_back_and_many_at_the_next_look(world: World) -> None:
    await world.done(Allocate(address=ONE))
    await world.done(Allocate(address=TWO))
    world.plane.held = True
    tasks = [(await world.done(Associate(str(one), EU))).task for one in (ONE, TWO)]
    world.plane.held = False
    world.plane.act()
    world.desk.on_read_back(at_most=1)
    assert [world.desk.task(task.id).state for task in tasks] == [TaskState.RUNNING] * 2  # type: ignore[union-attr]
    world.desk.on_read_back(at_most=2)
    assert [world.desk.task(task.id).state for task in tasks] == [TaskState.SUCCESS] * 2  # type: ignore[union-attr]


async def test_what_the_store_has_is_known_only_when_the_plane_has_it_too(world: World) -> None:
    for address in (ONE, TWO):
        await world.done(Allocate(address=address))
    await world.end()
    known: list[tuple[bool, bool]] = []

    class Watching(Plane):
        def put(self, eip: Eip, now_s: float) -> None:
            super().put(eip, now_s)
            known.append((world.desk.complete, world.desk.filled))

    world.make_plane = lambda config, fuse: Watching(fuse)
    desk = await world.begin()
    assert known == [(False, False)] * 2, "what is in the kernel and not put yet would be dropped"
    assert (desk.complete, desk.filled) == (True, True)
