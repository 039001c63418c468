"""A POP's part in the fleet, in virtual time: its drain asks the budget, rests when nobody answers, is taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Any

from anycastd.api.ports import Clocks, OrderDone, OrderRequest
from anycastd.model.address import Prefix
from anycastd.model.eip import Eip, EipId
from anycastd.model.fleet import Others
from anycastd.model.operator import Drain, DrainPhase, DrainScope
from anycastd.model.status import Alarm
from anycastd.resources import codec
from anycastd.resources.fleet import (
    LEDGER,
    MEMBERS,
    PRESENCE,
    Entry,
    Ledger,
    Member,
    Presence,
    encode_ledger,
    encode_member,
    encode_presence,
)  # fmt: skip
from anycastd.resources.orders import DrainCommand, Lasting, Undo
from anycastd.resources.refusal import Code, Refused
from anycastd.runtime.alarms import Reported
from anycastd.runtime.fleet.desk import BEGINS_WITHIN_S, RECORDS, FleetDesk
from anycastd.runtime.loop.ports import NoFleet
from anycastd.runtime.orders.desk import OrderDesk
from anycastd.store.port import Write
from tests.etcd.stores import config_of, pop_store
from tests.etcd.virtual import MEMBERS as NAMES
from tests.etcd.virtual import Cluster, Gateway, InlineLoop, InlineThread
from tests.unit.runtime.order_world import order_desk
from tests.unit.runtime.world import A, B, World, config

OTHERS = ("sin", "iad")


class Pop:
    """The POP that is looked at (its own name is the world's), with two others that are there and announce."""

    def __init__(self, cluster: Cluster, orders: OrderDesk, world: World, desk: FleetDesk, reported: Reported) -> None:
        self.cluster, self.orders, self.world, self.desk, self.reported = cluster, orders, world, desk, reported

    async def tell(self, *names: str, away: bool = False) -> None:
        """Have other POPs be there."""
        for name in names:
            here = Presence(
                pop=name, version="0.1.0", config="", at_unix_s=1.0, started_unix_s=1.0, state="", away_all=away
            )
            member = Member(pop=name, asn=64500, prefixes=frozenset({str(A), str(B)}))
            writes = [Write(MEMBERS + name, encode_member(member)), Write(PRESENCE + name, encode_presence(here))]
            await self.desk.store.commit_fleet(writes, {})

    async def drain(self, *, forced: bool = False, dry_run: bool = False) -> OrderDone | Refused:
        lasting = Lasting(owner="ann", reason="work", forced=forced)
        command = DrainCommand(scope=DrainScope.POP, lasting=lasting)
        return await self.orders.change(OrderRequest(command=command, owner="ann", dry_run=dry_run))

    async def undrain(self) -> None:
        (drain,) = self.orders.orders.drains
        await self.orders.change(OrderRequest(command=Undo(drain.id, True), owner="ann"))

    async def look(self, times: int = 4) -> None:
        """Let both desks look as often."""
        for _ in range(times):
            self.world.settle()
            await self.orders.look()
            await self.desk.once()
            self.world.settle()

    @property
    def phase(self) -> DrainPhase:
        return self.orders.orders.drains[0].phase

    def alarm(self, alarm: Alarm, subject: str) -> str:
        return self.reported.details.get((alarm, subject), "")

    @property
    def held(self) -> str:
        return self.alarm(Alarm.FLEET_BUDGET, self.desk.pop)

    def entries(self) -> set[str]:
        return set(self.desk.seen.ledger.entries)


def run(main: Callable[[Pop], Coroutine[Any, Any, None]], directory: Path, *, single_flight_s: float = 0.0) -> None:
    async def whole() -> None:
        async with AsyncExitStack() as stack:
            store = replace(config_of(*(f"http://{name}:2379" for name in NAMES)), single_flight_s=single_flight_s)
            base, cluster, reported = replace(config(), store=store), Cluster(Random(1)), Reported()
            name, gateway = base.pop.name, Gateway(cluster)
            made = await stack.enter_async_context(pop_store(store, name, directory, beats=False, gateway=gateway))
            orders, world = order_desk(directory, its_config=base, reported=reported)
            orders._file.disk._thread = InlineThread()  # type: ignore[assignment]
            here = Presence(pop=name, version="", config="", at_unix_s=1.0, started_unix_s=1.0, state="serving")
            clocks = lambda: Clocks(asyncio.get_running_loop().time(), 1000.0)  # noqa: E731
            desk = FleetDesk(made.store, world.control, reported, lambda: here, clocks)
            orders.ask_fleet, orders.may_leave = desk.ask, desk.may_leave
            pop = Pop(cluster, orders, world, desk, reported)
            await desk.once()
            await pop.tell(*OTHERS)
            await main(pop)
            await orders.close()

    with asyncio.Runner(loop_factory=lambda: InlineLoop(1000.0)) as runner:
        runner.run(whole())


def refusal(done: OrderDone | Refused) -> str:
    assert isinstance(done, Refused), done
    return f"{done.first.status} {done.first}"


def test_a_drain_is_entered_before_it_begins_and_taken_back_when_it_ends(tmp_path: Path) -> None:
    async def main(pop: Pop) -> None:
        assert isinstance(await pop.drain(dry_run=True), OrderDone)
        await pop.look(1)
        assert pop.entries() == set()
        assert isinstance(await pop.drain(), OrderDone)
        await pop.desk.read()
        assert pop.entries() == {pop.desk.pop}
        await pop.look()
        assert pop.held == ""
        await pop.undrain()
        await pop.look()
        assert pop.entries() == set()

    run(main, tmp_path)


def test_what_was_just_entered_is_not_taken_back_before_its_drain_begins(tmp_path: Path) -> None:
    """The desk looks while the order is on its way to the disk: another POP would be given leave as well."""

    async def main(pop: Pop) -> None:
        asked = pop.desk.ask

        async def ask(drain: Drain, *, dry_run: bool) -> Refused | tuple[str, ...]:
            said = await asked(drain, dry_run=dry_run)
            for _ in range(3):
                await pop.desk.once()
                assert pop.entries() == {pop.desk.pop}
            return said

        pop.orders.ask_fleet = ask
        assert isinstance(await pop.drain(), OrderDone)
        await pop.look()
        assert (pop.entries(), pop.held) == ({pop.desk.pop}, "")

    run(main, tmp_path)


def test_what_was_entered_for_a_drain_that_never_began_is_taken_back(tmp_path: Path) -> None:
    async def main(pop: Pop) -> None:
        never = Drain(id="drain-1", scope=DrainScope.POP, name="", owner="ann", reason="", began_s=0, phase_since_s=0)
        assert await pop.desk.ask(never, dry_run=False) == ()
        await pop.look(1)
        assert pop.entries() == {pop.desk.pop}
        await asyncio.sleep(BEGINS_WITHIN_S)
        await pop.look(2)
        assert pop.entries() == set()

    run(main, tmp_path)


def test_a_drain_beyond_the_budget_is_refused_unless_it_is_forced(tmp_path: Path) -> None:
    async def main(pop: Pop) -> None:
        await pop.tell("iad", away=True)
        assert "409 fleet_budget" in refusal(await pop.drain())
        assert "iad does not announce it" in refusal(await pop.drain(dry_run=True))
        assert isinstance(await pop.drain(forced=True), OrderDone)
        await pop.look()
        assert pop.entries() == {pop.desk.pop} and pop.desk.seen.ledger.entries[pop.desk.pop].forced

    run(main, tmp_path)


def test_while_the_store_cannot_be_asked_a_drain_rests_at_depref(tmp_path: Path) -> None:
    async def main(pop: Pop) -> None:
        pop.cluster.cut |= {"m1", "m2"}
        done = await pop.drain()
        assert isinstance(done, OrderDone) and "stays at DEPREF until it can" in done.changes[-1]
        await pop.look()
        assert pop.phase is DrainPhase.DEPREF
        assert "the drain stays at DEPREF" in pop.held
        pop.cluster.cut.clear()
        await asyncio.sleep(10.0)
        await pop.look()
        assert pop.entries() == {pop.desk.pop} and pop.held == ""

    run(main, tmp_path)


def test_a_drain_that_began_meanwhile_beyond_the_budget_goes_on_resting(tmp_path: Path) -> None:
    async def main(pop: Pop) -> None:
        pop.cluster.cut |= {"m1", "m2"}
        await pop.drain()
        pop.cluster.cut.clear()
        await asyncio.sleep(10.0)
        await pop.tell("sin", away=True)
        await pop.look()
        assert pop.phase is DrainPhase.DEPREF and "sin does not announce it" in pop.held
        assert pop.entries() == set()

    run(main, tmp_path)


def test_records_that_cannot_be_read_are_told_of_never_written_over_and_let_nobody_leave(tmp_path: Path) -> None:
    async def main(pop: Pop) -> None:
        forged = "whatever"
        await pop.desk.store.commit_fleet([Write(LEDGER, forged)], {})
        assert "cannot be read: /ledger" in refusal(await pop.drain())
        await pop.drain(forced=True)
        await pop.look()
        assert "/ledger" in pop.alarm(Alarm.STORE_TROUBLE, RECORDS)
        assert (await pop.desk.store.fleet(LEDGER)).items[LEDGER].value == forged

    run(main, tmp_path)


def test_drains_of_pops_begin_one_after_another(tmp_path: Path) -> None:
    async def main(pop: Pop) -> None:
        await pop.look(1)
        entry = Entry(pop="sin", drain="drain-x", owner="bob", reason="", forced=False, since_unix_s=990.0)
        ledger = Ledger().entered(entry).released("sin", 995.0)
        await pop.desk.store.commit_fleet([Write(LEDGER, encode_ledger(ledger))], {})
        done = await pop.drain()
        assert "409 single_flight: sin came back" in refusal(done)
        assert isinstance(done, Refused) and done.first.code is Code.SINGLE_FLIGHT
        await asyncio.sleep(61.0)
        assert isinstance(await pop.drain(), OrderDone)

    run(main, tmp_path, single_flight_s=60.0)


def test_an_operator_takes_pops_out_of_the_books(tmp_path: Path) -> None:
    async def main(pop: Pop) -> None:
        assert await pop.desk.release("sin") == ""
        await pop.drain()
        assert "not counted" in await pop.desk.release(pop.desk.pop)
        # it still leaves, so it is entered again
        await pop.look()
        assert pop.entries() == {pop.desk.pop}
        said = await pop.desk.forget("sin")
        assert isinstance(said, Refused) and "is present" in str(said.first)
        await pop.desk.store.commit_fleet([Write(PRESENCE + "sin", None)], {})
        assert "forgotten" in str(await pop.desk.forget("sin"))
        assert set((await pop.desk.read()).members) == {pop.desk.pop, "iad"}
        assert await pop.desk.forget("sin") == ""

    run(main, tmp_path)


class Confirming(NoFleet):
    """Others of which so many confirm, whatever is asked."""

    def __init__(self, *counted: str) -> None:
        self.counted = counted

    def others(self, prefix: Prefix, /) -> Others:
        return Others(pops=3, counted=self.counted, present=OTHERS, normal=OTHERS)


def test_while_the_store_is_away_a_drain_goes_on_if_beacons_confirm_others(tmp_path: Path) -> None:
    async def main(pop: Pop) -> None:
        pop.world.control.announcer.fleet = fleet = Confirming()
        pop.cluster.cut |= {"m1", "m2"}
        await pop.drain()
        await pop.look()
        assert pop.phase is DrainPhase.DEPREF and "the drain stays at DEPREF" in pop.held
        (drain,) = pop.orders.orders.drains
        assert not pop.desk.may_leave(drain)
        fleet.counted = ("sin",)
        assert pop.desk.may_leave(drain)
        await pop.look(1)
        assert pop.held == ""
        # with the store there it is asked, whoever confirms
        pop.cluster.cut.clear()
        await asyncio.sleep(10.0)
        await pop.tell("sin", away=True)
        await pop.look()
        assert not pop.desk.may_leave(drain) and "sin does not announce it" in pop.held

    run(main, tmp_path)


def test_what_cannot_be_read_here_is_not_put_back_into_the_store(tmp_path: Path) -> None:
    """`restore --here`: an EIP that is in force is put back as it is, whatever somebody wrote over it."""
    good, over, never = (f"/eips/203.0.113.{number}" for number in (10, 11, 12))
    texts = {key: eip_text(key) for key in (good, over)}

    async def main(pop: Pop) -> None:
        store = pop.desk.store
        await store.commit([Write(good, texts[good]), Write(over, "spoiled"), Write(never, "{}")], {})
        await asyncio.sleep(1.0)
        assert set((await store.dump(here=True)).items) == {good, over, never}
        pop.desk.applied = texts.get
        assert dict((await pop.desk.dump(here=True))[2]) == texts
        assert await pop.desk.overwrite(None, last=True, dry_run=True) == (0, 1, 1)
        assert await pop.desk.overwrite(None, last=True, dry_run=False) == (0, 1, 1)
        there = {key: item.value for key, item in (await store.dump(here=False)).items.items()}
        assert there == {**texts, never: "{}"}

    run(main, tmp_path)


def eip_text(key: str) -> str:
    address = ip_address(key.removeprefix("/eips/"))
    return codec.encode_eip(Eip(id=EipId(f"eip-{address}"), address=address, description="shop"))
