"""Beacons through the store: who is counted, and what a store that is lost, rolled back or forged can do: nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anycastd.fleet import standing
from anycastd.fleet.stored import MAX_KEY_BYTES, text_of
from anycastd.model.decision import Level, Reason
from anycastd.model.fleet import NotCounted, Said
from anycastd.model.fleet_view import Guard
from anycastd.model.probe import Why
from anycastd.model.status import Alarm
from anycastd.model.topology import PrefixTimers
from anycastd.runtime.fleet.trust import FleetKeyError, read_key
from tests.etcd.stored_fleet import StoredFleet, run
from tests.unit.runtime.fleet_world import RR
from tests.unit.runtime.world import A

EVERYWHERE = {"fra": Level.NORMAL, "sin": Level.NORMAL, "iad": Level.NORMAL}
QUICK = PrefixTimers(settle_s=0.5, return_after_s=10.0, half_life_s=5.0)


def whys(fleet: StoredFleet, name: str) -> dict[str, NotCounted | None]:
    return {one.name: one.why for one in fleet[name].link.report().pops}


def alarms(fleet: StoredFleet, name: str) -> set[Alarm]:
    return {alarm for alarm, _, _ in fleet[name].link.alarms()} | {alarm for alarm, _ in fleet.reported[name].details}


def test_a_sick_pop_leaves_by_the_word_of_others_that_came_through_the_store(tmp_path: Path) -> None:
    async def main(fleet: StoredFleet) -> None:
        view = fleet["fra"].link.report()
        assert (view.guard, view.store, view.observers) == (Guard.ECHO, True, ())
        assert {one.name: one.by for one in view.pops} == {"sin": ("store",), "iad": ("store",)}
        await fleet.sicken("fra")
        assert fleet["fra"].level(A) is Level.DEPREF
        took_s = await fleet.until("fra has left", lambda: fleet["fra"].level(A) is Level.WITHDRAWN)
        assert 0.4 <= took_s <= 1.2
        assert fleet.levels(A) == EVERYWHERE | {"fra": Level.WITHDRAWN}

    run(main, tmp_path, timers=QUICK)


def test_all_that_are_sick_at_once_stay(tmp_path: Path) -> None:
    async def main(fleet: StoredFleet) -> None:
        for name in fleet.pops:
            fleet.answer(name, "tunnel/", Why.TIMEOUT)
        await fleet.live(20.0)
        assert set(fleet.levels(A).values()) == {Level.DEPREF}
        assert {pop.hold(A) for pop in fleet.pops.values()} == {Reason.NOT_ENOUGH_ANNOUNCERS}

    run(main, tmp_path)


def test_without_the_store_nobody_leaves_and_what_is_announced_stays_so(tmp_path: Path) -> None:
    async def main(fleet: StoredFleet) -> None:
        fleet.cluster.cut |= {"m1", "m2"}
        await fleet.live(10.0)
        assert {pop.link.report().guard for pop in fleet.pops.values()} == {Guard.BLIND}
        assert Alarm.OBSERVERS_BLIND in alarms(fleet, "fra")
        assert fleet.levels(A) == EVERYWHERE
        await fleet.sicken("fra")
        await fleet.live(60.0)
        assert fleet.levels(A) == EVERYWHERE | {"fra": Level.DEPREF}
        assert fleet["fra"].hold(A) is Reason.OBSERVERS_BLIND
        fleet.cluster.cut.clear()
        await fleet.until("it leaves when others can be asked", lambda: fleet["fra"].level(A) is Level.WITHDRAWN)
        assert fleet.levels(A) == EVERYWHERE | {"fra": Level.WITHDRAWN}

    run(main, tmp_path, timers=QUICK)


def test_what_is_gone_comes_back_when_the_store_is_lost_for_long(tmp_path: Path) -> None:
    async def main(fleet: StoredFleet) -> None:
        await fleet.sicken("fra")
        await fleet.until("fra has left", lambda: fleet["fra"].level(A) is Level.WITHDRAWN)
        fleet.cluster.cut |= {"m1", "m2"}
        took_s = await fleet.until("it is back", lambda: fleet["fra"].level(A) is Level.DEPREF)
        # two heartbeats until it counts as lost, then `blind`
        assert 13.0 <= took_s <= 17.0
        assert fleet.levels(A) == EVERYWHERE | {"fra": Level.DEPREF}

    run(main, tmp_path, timers=QUICK)


def test_a_member_that_is_cut_off_changes_nothing(tmp_path: Path) -> None:
    async def main(fleet: StoredFleet) -> None:
        await fleet.sicken("fra")
        await fleet.until("fra has left", lambda: fleet["fra"].level(A) is Level.WITHDRAWN)
        before = fleet.levels(A)
        for member in ("m1", "m2"):
            fleet.cluster.cut = {member}
            for _ in range(20):
                await fleet.live(1.0)
                assert fleet.levels(A) == before

    run(main, tmp_path, timers=QUICK)


async def roll_back(fleet: StoredFleet) -> None:
    """Bring back a store in which everybody is NORMAL, at a moment when only fra is left, and that is sick."""
    snapshot = fleet.cluster.snapshot()
    await fleet.sicken("fra")
    await fleet.until("fra has left", lambda: fleet["fra"].level(A) is Level.WITHDRAWN)
    fleet.answer("fra", "")
    await fleet.until("fra is back", lambda: fleet["fra"].level(A) is Level.NORMAL, 60.0)
    for name in ("sin", "iad"):
        await fleet.sicken(name)
        await fleet.until(f"{name} has left", lambda name=name: fleet[name].level(A) is Level.WITHDRAWN)  # type: ignore[misc]
    for name in ("sin", "iad"):
        fleet.end(name)
    await fleet.sicken("fra")
    fleet.cluster.restore(snapshot)
    for _ in range(400):
        await fleet.live(0.1)
        assert set(fleet.levels(A).values()) != {Level.WITHDRAWN}, "dark"
    assert fleet["fra"].level(A) is Level.DEPREF
    assert fleet["fra"].hold(A) is Reason.NOT_ENOUGH_ANNOUNCERS


def test_an_older_snapshot_makes_nobody_counted(tmp_path: Path) -> None:
    run(roll_back, tmp_path, timers=QUICK)


def test_an_older_snapshot_makes_it_dark_without_the_echo_of_the_present_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing.View, "_echoed", lambda *_: True)
    with pytest.raises(AssertionError, match="dark"):
        run(roll_back, tmp_path, timers=QUICK)


async def mix(fleet: StoredFleet) -> None:
    """Bring back what sin said while it was NORMAL, after it has seen that fra left NORMAL, and has done so itself."""
    fleet.end("iad")
    await fleet.live(10.0)
    snapshot = fleet.cluster.snapshot()
    await fleet.sicken("sin")
    await fleet.sicken("fra")
    await fleet.live(1.0)
    fleet.end("sin")
    fleet.cluster.restore(snapshot)
    for _ in range(60):
        await fleet.live(0.1)
        assert fleet["fra"].link.report().others[A].counted == (), "counted"
    assert set(fleet.levels(A).values()) == {Level.DEPREF, Level.NORMAL}


def test_what_was_said_before_the_echo_does_not_count_with_it(tmp_path: Path) -> None:
    run(mix, tmp_path, timers=QUICK)


def test_without_the_numbers_of_beacons_it_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = standing._said

    def newest(*args: Any) -> tuple[Said | None, int, bool]:
        found, _, current = said(*args)
        return found, 1 << 40, current

    monkeypatch.setattr(standing, "_said", newest)
    with pytest.raises(AssertionError, match="counted"):
        run(mix, tmp_path, timers=QUICK)


def test_forged_contents_are_told_of_and_count_for_nothing(tmp_path: Path) -> None:
    async def main(fleet: StoredFleet) -> None:
        fleet.end("sin")
        fleet.end("iad")
        fleet.forge("sin", "0", fleet.said("iad"))
        fleet.forge("iad", "0", "garbage")
        fleet.forge("mars", "0", fleet.said("iad"))
        fleet.forge("iad", "99999999", fleet.said("iad"))
        fleet.forge("iad", "../0", "x" * 100_000)
        await fleet.live(1.0)
        assert whys(fleet, "fra") == dict.fromkeys(("sin", "iad"), NotCounted.UNREADABLE)
        assert {Alarm.BEACON_UNREADABLE, Alarm.UNKNOWN_POP, Alarm.BEACON_REFUSED} <= alarms(fleet, "fra")
        await fleet.sicken("fra")
        await fleet.live(20.0)
        assert fleet.levels(A) == EVERYWHERE | {"fra": Level.DEPREF}
        for pop, number in (("mars", "0"), ("iad", "99999999"), ("iad", "../0")):
            fleet.forge(pop, number, None)
        await fleet.live(0.5)
        assert not {Alarm.UNKNOWN_POP, Alarm.BEACON_REFUSED} & alarms(fleet, "fra")

    run(main, tmp_path, timers=QUICK)


def test_who_writes_with_our_number_makes_nobody_counted(tmp_path: Path) -> None:
    async def main(fleet: StoredFleet) -> None:
        fleet.forge("fra", "0", fleet.said("fra", ahead=100))
        await fleet.live(0.2)
        assert Alarm.OWN_NUMBER_TAKEN in alarms(fleet, "fra")
        assert set(whys(fleet, "fra").values()) == {NotCounted.DUPLICATE}

    run(main, tmp_path)


def test_deleted_beacons_are_no_word_and_come_again(tmp_path: Path) -> None:
    async def main(fleet: StoredFleet) -> None:
        await fleet.sicken("fra")
        await fleet.until("fra has left", lambda: fleet["fra"].level(A) is Level.WITHDRAWN)
        for name in fleet.pops:
            fleet.forge(name, "0", None)
        for _ in range(40):
            await fleet.live(0.5)
            assert fleet.levels(A) == EVERYWHERE | {"fra": Level.WITHDRAWN}
        assert {fleet.key(name) for name in fleet.pops} <= fleet.cluster.items.keys()

    run(main, tmp_path, timers=QUICK)


def test_a_pop_that_is_gone_is_not_counted_when_its_beacon_is_stale(tmp_path: Path) -> None:
    async def main(fleet: StoredFleet) -> None:
        fleet.end("sin")
        await fleet.live(5.0)
        assert whys(fleet, "fra")["sin"] is None
        await fleet.live(5.0)
        assert whys(fleet, "fra") == {"sin": NotCounted.STALE, "iad": None}
        # its lease ends as well, and that changes nothing more
        await fleet.live(10.0)
        assert fleet.key("sin") not in fleet.cluster.items
        assert whys(fleet, "fra") == {"sin": NotCounted.STALE, "iad": None}

    run(main, tmp_path)


def test_either_channel_is_enough(tmp_path: Path) -> None:
    async def main(fleet: StoredFleet) -> None:
        by = {one.name: one.by for one in fleet["fra"].link.report().pops}
        assert by == {"sin": (RR, "store"), "iad": (RR, "store")}
        for name in fleet.pops:
            fleet.lose_reflector(name)
        await fleet.sicken("fra")
        await fleet.until("by the store", lambda: fleet["fra"].level(A) is Level.WITHDRAWN)
        assert not alarms(fleet, "sin")

    run(main, tmp_path, observers=True, timers=QUICK)


def test_while_the_store_is_lost_the_reflector_is_enough(tmp_path: Path) -> None:
    async def main(fleet: StoredFleet) -> None:
        fleet.cluster.cut |= {"m1", "m2"}
        await fleet.live(10.0)
        view = fleet["fra"].link.report()
        assert (view.guard, view.store) == (Guard.ECHO, False)
        assert {one.by for one in view.pops} == {(RR,)}
        await fleet.sicken("fra")
        await fleet.until("by the reflector", lambda: fleet["fra"].level(A) is Level.WITHDRAWN)

    run(main, tmp_path, observers=True, timers=QUICK)


def test_with_a_key_only_what_is_signed_with_it_is_believed(tmp_path: Path) -> None:
    """Somebody who can write to the store, and knows all that is said, speaks in the name of a POP that is away."""

    async def main(fleet: StoredFleet) -> None:
        for name in ("sin", "iad"):
            fleet.end(name)
        await fleet.sicken("fra")
        forged = replace(fleet["sin"].link.parts[-1], echoes={1: fleet["fra"].link.own.epoch})
        for ahead in range(1, 60):
            stored = fleet["fra"].link.stored
            assert stored is not None
            fleet.forge("sin", "0", text_of(stored, replace(forged, seq=forged.seq + ahead)))
            await fleet.live(0.2)
        assert whys(fleet, "fra")["sin"] is NotCounted.UNREADABLE
        assert "not signed" in " ".join(detail for _, _, detail in fleet["fra"].link.alarms())
        assert fleet.levels(A)["fra"] is Level.DEPREF

    run(main, tmp_path, timers=QUICK, key="of this fleet and of no other")


def test_with_a_key_those_that_have_it_see_each_other(tmp_path: Path) -> None:
    async def main(fleet: StoredFleet) -> None:
        await fleet.sicken("fra")
        await fleet.until("fra has left", lambda: fleet["fra"].level(A) is Level.WITHDRAWN)

    run(main, tmp_path, timers=QUICK, key="of this fleet and of no other")


def test_a_key_that_others_could_read_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("secret of the fleet")
    path.chmod(0o644)
    with pytest.raises(FleetKeyError, match="can be used by others"):
        read_key(str(path))
    path.chmod(0o600)
    assert len(read_key(str(path))) == MAX_KEY_BYTES
    for text, why in (("", "is empty"), (None, "cannot be read")):
        path.write_text(text) if text is not None else path.unlink()
        with pytest.raises(FleetKeyError, match=why):
            read_key(str(path))
