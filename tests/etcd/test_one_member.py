"""The store's port on one real member: what any store must do, and what only a shared one meets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from anycastd.api.ports import Clocks, OrderDone, OrderRequest
from anycastd.model.operator import DrainScope
from anycastd.resources.fleet import Presence
from anycastd.resources.orders import DrainCommand, Lasting
from anycastd.resources.refusal import Refused
from anycastd.runtime.alarms import Reported
from anycastd.runtime.fleet.desk import FleetDesk
from anycastd.runtime.orders.desk import OrderDesk
from anycastd.store.port import Conflict, Write
from tests.etcd.member import Member, one_member
from tests.etcd.stores import config_of, free_ports, pop_store, until
from tests.unit.runtime.order_world import order_desk
from tests.unit.runtime.world import config

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Member]:
    with one_member(tmp_path_factory.mktemp("etcd"), free_ports(2)) as one:
        yield one


def prefix_of(request: pytest.FixtureRequest) -> str:
    """Return keys that only this test uses."""
    return f"/{request.node.name.replace('_', '-')[:60]}"


async def test_what_one_pop_commits_another_is_told(
    member: Member, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    config = config_of(member.client, prefix=prefix_of(request))
    async with pop_store(config, "fra", tmp_path) as fra, pop_store(config, "sin", tmp_path) as sin:
        assert (await fra.store.snapshot("/")).items == {}
        before = await sin.store.snapshot("/")
        heard = []

        async def listen() -> None:
            async for batch in sin.store.watch("/", before.revision):
                heard.append(batch)

        task = asyncio.create_task(listen())
        revision = await fra.store.commit([Write("/eips/203.0.113.1", "{}")], {"/eips/203.0.113.1": 0})
        await until("the other hears of it", lambda: heard)
        assert heard[0].revision == revision
        assert heard[0].items["/eips/203.0.113.1"].value == "{}"
        with pytest.raises(Conflict):
            await sin.store.commit([Write("/eips/203.0.113.1", "[]")], {"/eips/203.0.113.1": 0})
        await sin.store.commit([Write("/eips/203.0.113.1", None)], {"/eips/203.0.113.1": revision})
        await until("the deletion is told", lambda: len(heard) > 1)
        assert heard[1].items["/eips/203.0.113.1"].value is None
        task.cancel()
        assert fra.complaints == sin.complaints == {}
        assert fra.beats and sin.beats


async def test_wall_clocks_that_are_wrong_change_nothing(
    member: Member, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """One POP's clock says 1970, another's 2049: what they say of each other, the budget and the spacing stay.

    The daemon's clock is injected; etcd's own leases go by its monotonic clock.
    """
    # each says once that it is there, and a busy machine takes long
    lasting = {"presence_s": 90.0, "stale_after_s": 60.0, "single_flight_s": 1.0}
    store = config_of(member.client, prefix=prefix_of(request), **lasting)
    async with AsyncExitStack() as stack:
        desks = {}
        for name, wall_s in (("fra", 5.0), ("sin", 2.5e9), ("iad", time.time())):
            made = await stack.enter_async_context(pop_store(store, name, tmp_path, beats=False))
            base = config()
            base = replace(base, store=store, pop=replace(base.pop, name=name))
            (directory := tmp_path / name).mkdir()
            orders, world = order_desk(directory, its_config=base)
            desks[name] = desk = FleetDesk(made.store, world.control, Reported(), *here(name, wall_s))
            orders.ask_fleet, orders.may_leave = desk.ask, desk.may_leave
            stack.push_async_callback(orders.close)
            desk.orders_of_test = orders  # type: ignore[attr-defined]
        for desk in desks.values():
            await desk.once()
        before = {name: (await desk.read()).present.keys() for name, desk in desks.items()}
        assert set(map(frozenset, before.values())) == {frozenset(desks)}
        assert isinstance(await ordered(desks["fra"]), OrderDone)
        refusal = await ordered(desks["sin"])
        assert isinstance(refusal, Refused) and "fra is drained" in str(refusal.first)
        await desks["sin"].release("fra")
        refusal = await ordered(desks["sin"])
        assert isinstance(refusal, Refused) and "came back 0 s ago" in str(refusal.first)
        done: list[object] = []
        begun_s = time.monotonic()
        while not done or not isinstance(done[-1], OrderDone):
            assert time.monotonic() - begun_s < 30.0, done[-1]
            await asyncio.sleep(0.1)
            done.append(await ordered(desks["iad"]))
        assert time.monotonic() - begun_s >= 0.8


def here(name: str, wall_s: float) -> tuple[Callable[[], Presence], Callable[[], Clocks]]:
    """Return how a POP is, and its clocks, of which the wall clock is wrong."""
    presence = Presence(pop=name, version="", config="", at_unix_s=wall_s, started_unix_s=wall_s, state="serving")
    return lambda: presence, lambda: Clocks(time.monotonic(), wall_s + time.monotonic())


async def ordered(desk: FleetDesk) -> OrderDone | Refused:
    """Order the drain of a POP."""
    command = DrainCommand(scope=DrainScope.POP, lasting=Lasting(owner="ann", reason="work"))
    orders: OrderDesk = desk.orders_of_test  # type: ignore[attr-defined]
    return await orders.change(OrderRequest(command=command, owner="ann"))
