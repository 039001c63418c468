"""S3 in virtual time: of one prefix one POP at a time leaves because of health, and none while the store is away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from anycastd.model.decision import Level, Reason
from anycastd.resources.fleet import TOKENS
from tests.etcd.stored_fleet import ROOT, StoredFleet, run
from tests.etcd.test_stored_beacons import EVERYWHERE, QUICK
from tests.unit.runtime.world import A, B

APART_S = 30.0


def test_two_that_are_sick_at_once_leave_one_after_another(tmp_path: Path) -> None:
    async def main(fleet: StoredFleet) -> None:
        await fleet.sicken("fra")
        await fleet.sicken("sin")
        await fleet.live(5.0)
        gone = [name for name, level in fleet.levels(A).items() if level is Level.WITHDRAWN]
        assert len(gone) == 1
        (other,) = {"fra", "sin"} - set(gone)
        assert fleet.levels(A) == EVERYWHERE | {gone[0]: Level.WITHDRAWN, other: Level.DEPREF}
        assert fleet[other].hold(A) is Reason.FLEET_TOKEN
        step = fleet[other].world.control.decisions[A].trail[-1]
        assert step.evidence == f"{gone[0]} left less than 30 s ago"
        took_s = await fleet.until("the other leaves too", lambda: fleet[other].level(A) is Level.WITHDRAWN, 60.0)
        assert 20.0 <= took_s <= 32.0

    run(main, tmp_path, timers=QUICK, apart_s=APART_S)


def test_it_is_counted_for_each_prefix_and_the_token_is_gone_by_itself(tmp_path: Path) -> None:
    async def main(fleet: StoredFleet) -> None:
        await fleet.sicken("fra")
        await fleet.until(
            "both prefixes are gone", lambda: {fleet["fra"].level(p) for p in (A, B)} == {Level.WITHDRAWN}, 5.0
        )
        assert {f"{ROOT}/fleet{TOKENS}{prefix}" for prefix in (A, B)} <= fleet.cluster.items.keys()
        await fleet.live(40.0)
        fleet.cluster.expire(1e9)
        assert not [key for key in fleet.cluster.items if TOKENS in key]
        assert fleet["fra"].level(A) is Level.WITHDRAWN, "its end changes nothing"

    run(main, tmp_path, timers=QUICK, apart_s=APART_S)


def test_without_the_store_nobody_has_a_token_though_others_confirm(tmp_path: Path) -> None:
    async def main(fleet: StoredFleet) -> None:
        fleet.cluster.cut |= {"m1", "m2"}
        await fleet.live(10.0)
        await fleet.sicken("fra")
        await fleet.live(60.0)
        assert fleet.levels(A) == EVERYWHERE | {"fra": Level.DEPREF}
        assert fleet["fra"].hold(A) is Reason.FLEET_TOKEN
        assert "cannot be asked" in fleet["fra"].world.control.decisions[A].trail[-1].evidence
        fleet.cluster.cut.clear()
        await fleet.until("it leaves when the store is back", lambda: fleet["fra"].level(A) is Level.WITHDRAWN)

    run(main, tmp_path, observers=True, timers=QUICK, apart_s=APART_S)


def test_a_token_is_of_one_entry_into_depref(tmp_path: Path) -> None:
    async def main(fleet: StoredFleet) -> None:
        await fleet.sicken("fra")
        await fleet.until("it has left", lambda: fleet["fra"].level(A) is Level.WITHDRAWN)
        fleet.answer("fra", "")
        await fleet.until("it is back", lambda: fleet["fra"].level(A) is Level.NORMAL, 15.0)
        await fleet.sicken("fra")
        await fleet.until("its own token is of no use", lambda: fleet["fra"].hold(A) is Reason.FLEET_TOKEN)
        await fleet.live(20.0)
        assert fleet["fra"].level(A) is Level.DEPREF

    run(main, tmp_path, timers=QUICK, apart_s=4 * APART_S)


def test_a_prefix_that_a_reload_takes_while_it_waits_is_asked_for_no_more(tmp_path: Path) -> None:
    """Its token is another POP's: to ask for it again and again would flood the store, and keep all others waiting."""

    async def main(fleet: StoredFleet) -> None:
        await fleet.sicken("fra")
        await fleet.until("it has left", lambda: fleet["fra"].level(A) is Level.WITHDRAWN)
        await fleet.sicken("sin")
        await fleet.until("the other waits", lambda: fleet["sin"].hold(A) is Reason.FLEET_TOKEN)
        pop = fleet["sin"]
        old = pop.world.control.config
        new = replace(old, prefixes={B: old.prefixes[B]})
        pop.link.configure(new)
        pop.world.configure(new)
        before = fleet.cluster.asked
        await fleet.live(5.0)
        # heartbeats of three POPs, and one question a second for the prefix that is left
        assert fleet.cluster.asked - before < 100

    run(main, tmp_path, timers=QUICK, apart_s=APART_S)
