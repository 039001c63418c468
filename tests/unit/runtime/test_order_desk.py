"""The desk of orders on a real file: what is kept, what a restart finds, what a broken disk does."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from anycastd.api.ports import OrderDone, OrderRequest
from anycastd.model.address import RegionName
from anycastd.model.decision import Level
from anycastd.model.journal import EntryKind
from anycastd.model.operator import After, Carried, DrainPhase, DrainScope, OverrideKind, State
from anycastd.model.safety import CapacityConfig, PopCapacity, SafetyConfig
from anycastd.model.status import Alarm
from anycastd.policy.capacity import overloads
from anycastd.resources.orders import DrainCommand, Lasting, OrderCommand, OverrideCommand, Undo
from anycastd.resources.refusal import Code, Refused
from anycastd.runtime.alarms import Reported
from anycastd.runtime.journal.scribe import Scribe
from anycastd.runtime.kept import memory_file, orders_file
from anycastd.runtime.kept.freeze_file import FreezeFile
from anycastd.runtime.kept.memory_file import Clocks
from anycastd.runtime.orders.desk import OrderDesk
from anycastd.runtime.orders.ordering import MAX_ANSWERS, with_answer
from anycastd.runtime.orders.ordering import answered as answer_to
from tests.unit.journal_world import Noted
from tests.unit.runtime.hung import HungDisk, answered
from tests.unit.runtime.order_world import order_desk
from tests.unit.runtime.world import A, B, World, config


def lasting(*, forced: bool = False, reason: str = "work", expires_in_s: float | None = None) -> Lasting:
    return Lasting(owner="ann", reason=reason, forced=forced, expires_in_s=expires_in_s)


def pop(*, forced: bool = False, expires_in_s: float | None = None) -> DrainCommand:
    return DrainCommand(scope=DrainScope.POP, lasting=lasting(forced=forced, expires_in_s=expires_in_s))


async def order(desk: OrderDesk, command: OrderCommand, **more: object) -> OrderDone:
    done = await desk.change(OrderRequest(command=command, owner="ann", **more))  # type: ignore[arg-type]
    assert isinstance(done, OrderDone), done
    return done


async def refusal(desk: OrderDesk, command: OrderCommand, **more: object) -> Refused:
    refused = await desk.change(OrderRequest(command=command, owner="ann", **more))  # type: ignore[arg-type]
    assert isinstance(refused, Refused), refused
    return refused


async def looked(desk: OrderDesk, world: World, times: int = 1) -> None:
    for _ in range(times):
        world.settle()
        await desk.look()
        world.settle()


async def test_a_forced_drain_is_led_through_its_phases_and_a_restart_finds_it(tmp_path: Path) -> None:
    desk, world = order_desk(tmp_path)
    await order(desk, pop(forced=True))
    seen = []
    for _ in range(14):
        seen.append((desk.orders.drains[0].phase, world.control.levels[B]))
        world.wait(60.0)
        await looked(desk, world)
    assert list(dict.fromkeys(phase for phase, _ in seen)) == [
        DrainPhase.DEPREF,
        DrainPhase.GSHUT,
        DrainPhase.WITHDRAW,
        DrainPhase.LINGER,
        DrainPhase.DRAINED,
    ]
    levels = [level for _, level in seen]
    assert levels == sorted(levels, reverse=True)
    assert world.control.levels[B] is Level.WITHDRAWN
    again, _ = order_desk(tmp_path, world)
    assert again.orders.drains == desk.orders.drains
    await order(again, Undo(again.orders.drains[0].id, is_drain=True))
    assert world.control.levels[B] is Level.DEPREF
    assert orders_file.load(tmp_path / "orders.json", memory_file.clocks())[0].drains == ()


async def test_without_force_the_drain_rests_in_its_phase_only_where_nothing_may_leave(tmp_path: Path) -> None:
    desk, world = order_desk(tmp_path)
    await order(desk, pop())
    for _ in range(6):
        world.wait(120.0)
        await looked(desk, world)
    # A may leave by its configuration, and B is held where it is
    assert world.control.levels == {A: Level.WITHDRAWN, B: Level.DEPREF}


async def test_a_dry_run_tells_and_changes_nothing(tmp_path: Path) -> None:
    desk, world = order_desk(tmp_path)
    done = await order(desk, pop(), dry_run=True)
    assert f"{B}: NORMAL -> DEPREF" in done.changes
    assert any(words.startswith(f"{B}: stays at DEPREF, nobody to ask") for words in done.changes)
    assert desk.orders.drains == ()
    assert world.control.levels[B] is Level.NORMAL
    assert not (tmp_path / "orders.json").exists()


async def test_a_second_order_renews_the_first_and_keeps_its_phase(tmp_path: Path) -> None:
    desk, world = order_desk(tmp_path)
    first = await order(desk, pop())
    await looked(desk, world)
    phase = desk.orders.drains[0].phase
    again = await order(desk, pop(forced=True, expires_in_s=60.0))
    (drain,) = desk.orders.drains
    assert (again.id, drain.phase, drain.forced) == (first.id, phase, True)
    told = await refusal(desk, pop(expires_in_s=86400.0))
    assert told.first.status == 409
    assert "forced" in str(told.first), "who may not force cannot prolong what is forced"
    assert desk.orders.drains == (drain,)


async def test_an_idempotency_key_gets_the_same_answer_also_after_a_restart(tmp_path: Path) -> None:
    desk, world = order_desk(tmp_path)
    done = await order(desk, pop(), key="k1", digest="d1")
    again, _ = order_desk(tmp_path, world)
    replayed = await order(again, pop(), key="k1", digest="d1")
    assert (replayed.id, replayed.replayed) == (done.id, True)
    assert (await refusal(again, pop(), key="k1", digest="d2")).first.code is Code.KEY_REUSED


async def test_orders_end_by_themselves(tmp_path: Path) -> None:
    desk, world = order_desk(tmp_path)
    await order(desk, pop(expires_in_s=5.0))
    await order(
        desk,
        OverrideCommand(kind=OverrideKind.TUNNEL, name="eu/a", state=State.DOWN, lasting=lasting(expires_in_s=9.0)),
    )
    world.now_s += 6.0
    await looked(desk, world)
    assert (len(desk.orders.drains), len(desk.orders.overrides)) == (0, 1)
    world.now_s += 6.0
    await looked(desk, world)
    assert desk.orders.overrides == ()
    assert json.loads((tmp_path / "orders.json").read_text())["overrides"] == []


async def test_what_cannot_be_meant_is_refused_with_the_rule(tmp_path: Path) -> None:
    desk, _ = order_desk(tmp_path)
    tunnel = DrainCommand(scope=DrainScope.TUNNEL, name="eu/c", lasting=lasting())
    missing = await refusal(desk, tunnel)
    assert (missing.first.code, missing.first.status) == (Code.ORDER_TARGET, 404)
    assert "eu/" in missing.first.message
    assert (await refusal(desk, replace(tunnel, name="eu/a", after=After.RESET))).first.status == 422
    assert (
        await refusal(desk, DrainCommand(scope=DrainScope.POP, lasting=lasting(forced=True, reason="")))
    ).first.status == 422
    assert (await refusal(desk, Undo("drain-0", is_drain=True))).first.code is Code.ORDER_NOT_FOUND
    out = OverrideCommand(kind=OverrideKind.PREFIX, name=str(B), level=Level.WITHDRAWN, lasting=lasting())
    guarded = await refusal(desk, out)
    assert (guarded.first.code, guarded.first.status) == (Code.WITHDRAW_GUARD, 409)
    await order(desk, DrainCommand(scope=DrainScope.REGION, name="eu", lasting=lasting()))
    last = await refusal(desk, DrainCommand(scope=DrainScope.BACKEND, name="us/web-1", lasting=lasting()))
    assert (last.first.code, last.first.status) == (Code.ANNOUNCE_WHEN, 409)
    assert {refused.message.partition(" ")[0] for refused in last.refusals} == {str(A), str(B)}


async def test_a_drain_of_the_pop_is_refused_where_another_pop_could_not_take_its_traffic(tmp_path: Path) -> None:
    pops = {
        "ams": PopCapacity(capacity_bps=10_000_000_000, usual_bps=6_000_000_000),
        "lon": PopCapacity(capacity_bps=9),
    }
    base = replace(config(), safety=SafetyConfig(capacity=CapacityConfig(pops={"ams": pops["ams"]})))
    desk, world = order_desk(tmp_path, its_config=base)
    codes: list[Code] = []
    desk.on_refused = codes.append
    # 6 + 65 % of 4 Gbit/s is more than 85 % of 10; of 3.8 it is not
    desk.begin(world.control, lambda drain, devices: Carried(rate_bps=1e9, busier_bps=4e9))
    told = await refusal(desk, pop())
    assert (told.first.code, told.first.status) == (Code.CAPACITY, 409)
    assert told.first.message.startswith("ams would carry 8600 Mbit/s (now 6000 Mbit/s), 8500 Mbit/s are allowed")
    assert (await refusal(desk, pop(), dry_run=True)).first.code is Code.CAPACITY
    assert desk.orders.drains == ()
    assert codes == [Code.CAPACITY, Code.CAPACITY]
    # a region's drain moves nothing to other POPs
    await order(desk, DrainCommand(scope=DrainScope.REGION, name="eu", lasting=lasting()))
    await order(desk, pop(forced=True))
    await order(desk, Undo(desk.orders.of(DrainScope.POP)[0].id, is_drain=True))
    desk.begin(world.control, lambda drain, devices: Carried(rate_bps=1e9, busier_bps=3.8e9))
    await order(desk, pop())
    await order(desk, Undo(desk.orders.of(DrainScope.POP)[0].id, is_drain=True))
    # what is known of the others now counts for more than what they usually carry
    desk.loads_bps = lambda: {"ams": 7e9}
    assert (await refusal(desk, pop())).first.code is Code.CAPACITY
    desk.loads_bps = dict
    # what is not measured refuses nothing
    desk.begin(world.control, lambda drain, devices: Carried())
    await order(desk, pop())
    assert [str(one) for one in overloads(CapacityConfig(pops=pops), 4e9, {"ams": 1e9})] == [
        "lon would carry 2600 Mbit/s (now 0 Mbit/s), 0 Mbit/s are allowed"
    ]


async def test_a_drained_backend_whose_connections_are_to_be_reset_is_flushed_when_it_is_drained(
    tmp_path: Path,
) -> None:
    desk, world = order_desk(tmp_path)
    command = DrainCommand(scope=DrainScope.BACKEND, name="eu/web-1", after=After.RESET, lasting=lasting())
    await order(desk, command)
    assert world.nft.flushed == []
    await looked(desk, world, 2)
    assert desk.orders.drains[0].phase is DrainPhase.DRAINED
    assert len(world.nft.flushed) == 1


async def test_a_file_that_cannot_be_read_freezes_and_one_that_can_again_thaws(tmp_path: Path) -> None:
    desk, world = order_desk(tmp_path)
    await order(desk, pop(forced=True))
    good = (tmp_path / "orders.json").read_text()
    (tmp_path / "orders.json").write_text(good[:-40])
    reported = Reported()
    broken, _ = order_desk(tmp_path, world, reported=reported)
    assert "not a file of orders" in broken.orders.hold or "orders.json" in broken.orders.hold
    assert [alarm for alarm, _ in reported.details] == [Alarm.ORDERS_UNREAD]
    assert world.control.levels[B] is Level.DEPREF
    assert (await refusal(broken, pop())).first.status == 503
    (tmp_path / "orders.json").write_text(good)
    await looked(broken, world)
    assert broken.orders.hold == ""
    assert [drain.id for drain in broken.orders.drains] == [drain.id for drain in desk.orders.drains]
    assert reported.details == {}


async def test_what_cannot_be_written_is_not_done(tmp_path: Path) -> None:
    reported = Reported()
    desk, world = order_desk(tmp_path, reported=reported)
    (tmp_path / "orders.new").mkdir()
    refused = await refusal(desk, pop(), key="k", digest="d")
    assert (refused.first.status, desk.orders.drains) == (503, ())
    assert world.control.levels[B] is Level.NORMAL
    assert [alarm for alarm, _ in reported.details] == [Alarm.STATE_NOT_SAVED]
    (tmp_path / "orders.new").rmdir()
    await order(desk, pop(), key="k", digest="d")


async def test_a_touched_file_freezes_and_its_going_thaws(tmp_path: Path) -> None:
    desk, world = order_desk(tmp_path)
    (tmp_path / "freeze").touch()
    await looked(desk, world)
    assert desk.orders.hold == "no reason given (nobody named)"
    (tmp_path / "freeze").write_text(json.dumps({"owner": "bob", "reason": "incident", "eips": True}))
    await looked(desk, world)
    assert desk.orders.hold == "incident (bob)"
    assert (await refusal(desk, pop())).first.code is Code.FROZEN
    (tmp_path / "freeze").unlink()
    await looked(desk, world)
    assert desk.orders.hold == ""


async def test_a_frozen_drain_rests_in_its_phase(tmp_path: Path) -> None:
    desk, world = order_desk(tmp_path)
    await order(desk, pop(forced=True))
    (tmp_path / "freeze").touch()
    await looked(desk, world)
    phase, said = desk.orders.drains[0].phase, len(world.speaker.said)
    world.wait(3600.0)
    await looked(desk, world, 3)
    assert desk.orders.drains[0].phase is phase
    assert len(world.speaker.said) == said


def at(monotonic_s: float, wall_s: float, boot: str = "b1") -> Clocks:
    return Clocks(boot, monotonic_s, wall_s)


def test_a_freeze_ends_by_monotonic_time_whatever_the_wall_clock_does(tmp_path: Path) -> None:
    path = tmp_path / "freeze"
    path.write_text(json.dumps({"until_unix_s": 1_000_060.0}))
    os.utime(path, (1_000_000.0, 1_000_000.0))
    file = FreezeFile(path)
    assert file.look(at(500.0, 1_000_000.0)) is not None
    # a day forward, and back
    assert file.look(at(559.0, 1_086_400.0)) is not None
    assert file.look(at(559.5, 913_600.0)) is not None
    assert file.look(at(560.5, 1_000_000.0)) is None
    assert not path.exists()


@pytest.mark.parametrize("wall_s", [0.0, 1_000_000.0 - 86400.0])
def test_a_freeze_lasts_no_longer_for_a_clock_that_is_not_set_yet(tmp_path: Path, wall_s: float) -> None:
    """After a boot without a clock of its own it would last for decades, for it is never read anew."""
    path = tmp_path / "freeze"
    path.write_text(json.dumps({"until_unix_s": 1_003_600.0}))
    os.utime(path, (1_000_000.0, 1_000_000.0))
    file = FreezeFile(path)
    freeze = file.look(at(10.0, wall_s))
    assert freeze is not None
    assert (freeze.since_s, freeze.expires_s) == (10.0, 3610.0)
    assert file.look(at(3609.0, 1_003_599.0)) is not None
    assert file.look(at(3611.0, 1_003_601.0)) is None


@pytest.mark.parametrize("text", ["", "not json", "[1]", '{"until_unix_s": NaN}', '{"until_unix_s": "soon"}', "\x00"])
def test_whatever_is_in_the_file_it_freezes(tmp_path: Path, text: str) -> None:
    (tmp_path / "freeze").write_text(text)
    freeze = FreezeFile(tmp_path / "freeze").look(at(500.0, time.time()))
    assert freeze is not None
    assert freeze.expires_s is None


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_file_that_may_not_be_read_freezes_too(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "freeze")
    assert FreezeFile(tmp_path / "freeze").look(at(500.0, time.time())) is not None


def test_times_of_orders_keep_over_a_restart_and_are_shifted_by_a_reboot(tmp_path: Path) -> None:
    asyncio.run(_write(tmp_path))
    text = (tmp_path / "orders.json").read_text()
    now = memory_file.clocks()
    ends_s = orders_file.decode(text, now).drains[0].expires_s
    assert ends_s is not None
    # the wall clock stepped by an hour on the same boot: nothing moves
    stepped = orders_file.decode(text, replace(now, wall_s=now.wall_s + 3600.0)).drains[0].expires_s
    assert stepped == ends_s
    # another boot, two minutes later, whose clock began anew
    saved = Clocks(**json.loads(text)["clocks"])
    later = orders_file.decode(text, Clocks("another", 30.0, saved.wall_s + 120.0)).drains[0].expires_s
    assert later == pytest.approx(30.0 + ends_s - saved.monotonic_s - 120.0)


async def _write(directory: Path) -> None:
    desk, _ = order_desk(directory)
    await order(desk, pop(expires_in_s=600.0))


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("clocks"),
        lambda d: d.update(format=2),
        lambda d: d["drains"][0].update(phase="AWAY"),
        lambda d: d["drains"][0].update(expires_s=float("nan")),
        lambda d: d["drains"][0].update(expires_s=1e300),
        lambda d: d["clocks"].update(wall_s=float("nan")),
        lambda d: d["clocks"].update(monotonic_s=float("inf")),
        lambda d: d["drains"][0].update(more=1),
        lambda d: d.update(drains=7),
    ],
)
def test_another_text_is_not_taken_for_orders(tmp_path: Path, change: object) -> None:
    asyncio.run(_write(tmp_path))
    document = json.loads((tmp_path / "orders.json").read_text())
    change(document)  # type: ignore[operator]
    (tmp_path / "orders.json").write_text(json.dumps(document))
    found, why = orders_file.load(tmp_path / "orders.json", memory_file.clocks())
    assert found.drains == ()
    assert str(tmp_path / "orders.json") in why


def test_a_daemon_that_may_not_read_its_orders_says_so(tmp_path: Path) -> None:
    (tmp_path / "orders.json").mkdir()
    _, why = orders_file.load(tmp_path / "orders.json", memory_file.clocks())
    assert os.strerror(21) in why


async def test_the_journal_has_every_order_its_phases_who_ordered_it_and_who_ended_it(tmp_path: Path) -> None:
    desk, world = order_desk(tmp_path)
    noted = Noted()
    desk.on_changed = Scribe(noted).ordered
    done = await order(desk, pop(forced=True))
    assert done.changes == ("pop is drained, forced, for 24h",)
    await looked(desk, world)
    await looked(desk, world)
    await order(desk, Undo(desk.orders.drains[0].id, is_drain=True))
    await order(desk, OverrideCommand(kind=OverrideKind.TUNNEL, name="eu/a", state=State.DOWN, lasting=lasting()))
    world.wait(3601.0)
    await looked(desk, world)
    (tmp_path / "freeze").touch()
    await looked(desk, world)
    (tmp_path / "freeze").unlink()
    await looked(desk, world)
    assert {one.kind for one in noted.entries} == {EntryKind.ORDER}
    told = [(one.subject, one.before, one.after, one.detail) for one in noted.entries]
    by = "by ann, forced: work"
    assert told[0] == ("drain pop", "", "DEPREF", by)
    assert told[1] == ("drain pop", "DEPREF", "GSHUT", by)
    ended = told.index(("drain pop", told[-5][1], "ended", "by ann"))
    assert [one[:3] for one in told[ended + 1 :]] == [
        ("override tunnel eu/a", "", "down"),
        ("override tunnel eu/a", "down", "ended"),
        ("freeze", "", "frozen"),
        ("freeze", "frozen", "unfrozen"),
    ]
    assert told[ended + 2][3] == "tunnel eu/a -> down: expired"


@pytest.mark.parametrize("until", ["1" + "0" * 400, "-1" + "0" * 400, "1e308"])
def test_an_end_that_no_clock_reaches_is_none_and_keeps_no_daemon_from_its_start(tmp_path: Path, until: str) -> None:
    (tmp_path / "freeze").write_text(f'{{"until_unix_s": {until}, "reason": "\\ud800 \\u001b[2J"}}')
    freeze = FreezeFile(tmp_path / "freeze").look(at(500.0, time.time()))
    assert freeze is not None
    assert (freeze.expires_s, freeze.reason) == (None, "? ?[2J")


async def test_a_freeze_of_a_moment_ago_counts_when_the_daemon_is_told_to_end(tmp_path: Path) -> None:
    desk, _ = order_desk(tmp_path)
    assert await desk.holds() == ""
    (tmp_path / "freeze").touch()
    assert await desk.holds() == "no reason given (nobody named)"


async def test_what_ended_while_no_daemon_ran_does_not_come_to_life_again(tmp_path: Path) -> None:
    desk, world = order_desk(tmp_path)
    await order(desk, pop(forced=True, expires_in_s=5.0))
    assert world.control.levels[B] is Level.DEPREF
    world.now_s += 6.0
    again, _ = order_desk(tmp_path, world)
    assert (again.orders.drains, world.control.orders.drains) == ((), ())


async def test_answers_are_not_kept_for_ever(tmp_path: Path) -> None:
    desk, world = order_desk(tmp_path)
    await order(desk, pop(), key="k1", digest="d1")
    world.now_s += orders_file.KEPT_S + 1.0
    await order(desk, pop(), key="k2", digest="d2")
    assert not (await order(desk, pop(), key="k1", digest="d3")).replayed


async def test_what_health_withdrew_already_leads_no_drain_on_while_the_guard_holds_the_rest(tmp_path: Path) -> None:
    desk, world = order_desk(tmp_path)
    override = OverrideCommand(
        kind=OverrideKind.PREFIX, name=str(A), level=Level.WITHDRAWN, lasting=lasting(forced=True)
    )
    await order(desk, override)
    await looked(desk, world)
    assert world.control.levels == {A: Level.WITHDRAWN, B: Level.NORMAL}
    await order(desk, pop())
    for _ in range(6):
        world.wait(700.0)
        await looked(desk, world)
    assert (desk.orders.drains[0].phase, world.control.levels[B]) == (DrainPhase.DEPREF, Level.DEPREF)


async def test_an_override_ends_with_its_prefix_and_one_that_names_none_keeps_no_daemon_from_its_start(
    tmp_path: Path,
) -> None:
    desk, world = order_desk(tmp_path)
    override = OverrideCommand(kind=OverrideKind.PREFIX, name=str(B), level=Level.DEPREF, lasting=lasting())
    await order(desk, override)
    await looked(desk, world)
    assert len(desk.orders.overrides) == 1
    path = tmp_path / "orders.json"
    for name in ("198.51.100.7/24", "198.51.99.0/24", "B"):
        text = path.read_text()
        path.write_text(text.replace(str(B), name))
        again, _ = order_desk(tmp_path, world)
        assert (again.orders.overrides, again.orders.hold) == ((), "")
        path.write_text(text)


async def test_a_disk_that_hangs_refuses_orders_and_keeps_nothing_that_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was refused is not in force when the disk answers again and takes it after all: no restart may find it."""
    hung, reported = HungDisk(monkeypatch), Reported()
    desk, world = order_desk(tmp_path, reported=reported)
    out = OverrideCommand(kind=OverrideKind.TUNNEL, name="eu/a", state=State.DOWN, lasting=lasting(expires_in_s=5.0))
    await order(desk, out)
    hung.hang()
    try:
        told = await refusal(desk, pop())
        assert (told.first.code, told.first.status) == (Code.STORE, 503)
        assert (Alarm.STATE_NOT_SAVED, str(tmp_path / "orders.json")) in reported.details
        world.now_s += 6.0
        await looked(desk, world, 3)
        assert desk.orders.overrides == () == desk.orders.drains
        assert (Alarm.STATE_NOT_SAVED, str(tmp_path / "freeze")) in reported.details, "nor is a freeze looked for"
    finally:
        hung.answer()
    await answered(desk._file.disk)
    assert json.loads((tmp_path / "orders.json").read_text())["drains"], "written, though it was refused"
    await looked(desk, world)
    saved = json.loads((tmp_path / "orders.json").read_text())
    assert saved["drains"] == [] == saved["overrides"]
    assert not reported.details


async def test_a_freeze_ends_although_the_disk_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hung, free = HungDisk(monkeypatch), threading.Event()
    desk, world = order_desk(tmp_path)
    (tmp_path / "freeze").write_text(json.dumps({"reason": "work", "until_unix_s": time.time() + 60.0}))
    await looked(desk, world)
    assert desk.orders.hold
    monkeypatch.setattr(FreezeFile, "look", lambda file, now: free.wait() and None)
    try:
        await looked(desk, world, 2)
        assert desk.orders.hold, "whether it is there cannot be told: as it was"
        world.now_s += 61.0
        await looked(desk, world)
        assert not desk.orders.hold
    finally:
        free.set()
        hung.answer()


async def test_a_disk_that_dies_freezes_nothing_that_was_not_frozen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a POP whose disk has gone would go on announcing for backends that have gone as well."""
    reported = Reported()
    desk, world = order_desk(tmp_path, reported=reported)
    path, real, dead = tmp_path / "freeze", Path.stat, False

    def stat(one: Path, **more: bool) -> os.stat_result:
        if dead and one == path:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(one, **more)

    monkeypatch.setattr(Path, "stat", stat)
    await looked(desk, world)
    dead = True
    await looked(desk, world)
    assert desk.orders.freeze is None
    assert "cannot be told: Input/output error" in reported.details[Alarm.STATE_NOT_SAVED, str(path)]
    dead = False
    path.touch()
    await looked(desk, world)
    assert bool(desk.orders.hold) and not reported.details
    dead = True
    await looked(desk, world)
    assert bool(desk.orders.hold), "what was stays"
    fresh, _ = order_desk(tmp_path)
    assert "cannot be looked at" in fresh.orders.hold, "at a start it is not known what was"


async def test_what_is_drained_stays_so_when_a_file_on_trial_that_lacks_it_is_taken_back(tmp_path: Path) -> None:
    desk, world = order_desk(tmp_path)
    drained = await order(desk, DrainCommand(scope=DrainScope.REGION, name="us", lasting=lasting()))
    down = OverrideCommand(kind=OverrideKind.TUNNEL, name="us/a", state=State.DOWN, lasting=lasting())
    overridden = await order(desk, down)
    await looked(desk, world, 3)
    before = world.control.config
    us = RegionName("us")
    without = replace(
        before,
        regions={name: one for name, one in before.regions.items() if name != us},
        tunnels={id_: one for id_, one in before.tunnels.items() if one.region != us},
        backends={id_: one for id_, one in before.backends.items() if one.region != us},
        probes=tuple(one for one in before.probes if one.region != us),
    )
    on_trial = True
    desk.on_trial = lambda: on_trial
    world.configure(without)
    await looked(desk, world, 3)
    assert (desk.orders.drains, desk.orders.overrides) == ((), ())
    assert json.loads((tmp_path / "orders.json").read_text())["drains"][0]["id"] == drained.id
    world.configure(before)
    await looked(desk, world, 3)
    assert [one.id for one in desk.orders.drains] == [drained.id]
    assert [one.id for one in desk.orders.overrides] == [overridden.id]
    assert desk.orders.drained.regions == {us}
    # a file that stays takes them along
    world.configure(without)
    await looked(desk, world)
    on_trial = False
    await looked(desk, world)
    world.configure(before)
    await looked(desk, world)
    assert (desk.orders.drains, desk.orders.overrides) == ((), ())
    assert json.loads((tmp_path / "orders.json").read_text())["drains"] == []


def test_only_so_many_answers_are_kept_and_the_oldest_go_first() -> None:
    """All of them are written with each order, by the event loop: a program that orders all day must not slow it."""
    command = DrainCommand(scope=DrainScope.POP, lasting=lasting())
    answers: Mapping[str, orders_file.Kept] = {}
    for number in range(MAX_ANSWERS + 5):
        request = OrderRequest(command=command, owner="ann", key=f"k-{number}", digest="d")
        answers = with_answer(answers, request, OrderDone("drain-1"), float(number))
        assert len(answers) == min(number + 1, MAX_ANSWERS)
    assert list(answers) == [f"k-{number}" for number in range(5, MAX_ANSWERS + 5)]
    assert answer_to(answers, request) == OrderDone("drain-1", replayed=True)
