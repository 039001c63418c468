"""Who is counted how often, and what is said of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from anycastd.errors import ActuatorTransient
from anycastd.model.address import Address, BackendId, RegionName
from anycastd.model.conntrack import ConnectionCounts, PathConnections
from anycastd.model.eip import Eip, EipId, Mode, Path, PortMap, Tracking, Transport
from anycastd.runtime.traffic.connection_meter import ConnectionMeter
from tests.unit import status_builder
from tests.unit.runtime.eip_world import ONE, SIX, TWO

PLAIN = status_builder.config()
CONFIG = replace(PLAIN, regions={n: replace(one, number=at) for at, (n, one) in enumerate(PLAIN.regions.items(), 1)})
EU = next(iter(CONFIG.regions.values()))


class World:
    """Three EIPs, the last stateless, and a kernel that says what it is told to."""

    def __init__(self) -> None:
        self.eips = {one: Eip(id=EipId(f"eip-{n:08d}"), address=one) for n, one in enumerate((ONE, TWO, SIX))}
        self.eips[SIX] = replace(self.eips[SIX], tracking=Tracking.STATELESS)
        self.paths = {path.mark: path for path in (way(1), way(2, Mode.DNAT), way(3, Mode.DNAT, 8080))}
        self.says: ConnectionCounts | None = ConnectionCounts(1.0, {ONE: 3, SIX: 1}, {self.mark(1): 4})
        self.cost_s, self.closed, self.counted_at = 0.0, False, asyncio.Queue[float]()
        self.meter = ConnectionMeter(self, CONFIG, self.eips.get, lambda: self.paths)

    def mark(self, number: int) -> int:
        return EU.number << 24 | number

    async def count(self, is_ours: Callable[[Address], bool]) -> ConnectionCounts:
        assert (is_ours(ONE), is_ours(ONE + 99)) == (True, False)
        self.counted_at.put_nowait(asyncio.get_running_loop().time())
        if self.says is None:
            message = "the kernel did not answer"
            raise ActuatorTransient(message)
        return self.says

    def close(self) -> None:
        self.closed = True


def way(number: int, mode: Mode = Mode.ROUTED, to_port: int = 0) -> Path:
    ports = (PortMap(Transport.TCP, 80, to_port),) if to_port else ()
    return Path(BackendId(f"{EU.name}/web-1"), RegionName(EU.name), mode, ports, EU.number, number)


async def test_before_a_count_nothing_is_known() -> None:
    world = World()
    assert [world.meter.of(one) for one in (ONE, SIX, ONE + 99)] == [None, None, None]
    assert world.meter.by_path() == []


async def test_an_eip_has_as_many_as_were_counted_and_a_stateless_one_none() -> None:
    world = World()
    await world.meter.take_count()
    assert [world.meter.of(one) for one in (ONE, TWO, SIX, ONE + 99)] == [3, 0, None, None]


async def test_paths_are_told_by_backend_and_mode_whatever_their_ports() -> None:
    world = World()
    world.says = ConnectionCounts(1.0, {ONE: 9}, {world.mark(1): 4, world.mark(2): 3, world.mark(3): 2})
    await world.meter.take_count()
    assert world.meter.by_path() == [
        PathConnections(EU.name, "web-1", "dnat", 5),
        PathConnections(EU.name, "web-1", "routed", 4),
    ]


async def test_connections_that_outlive_their_binding_keep_its_name_and_others_have_their_regions() -> None:
    world = World()
    await world.meter.take_count()
    world.paths = {}
    world.says = ConnectionCounts(2.0, {ONE: 3}, {world.mark(1): 2, world.mark(77): 1})
    await world.meter.take_count()
    assert world.meter.by_path() == [
        PathConnections(EU.name, "", "", 1),
        PathConnections(EU.name, "web-1", "routed", 2),
    ]
    world.says = ConnectionCounts(3.0)
    await world.meter.take_count()
    world.says = ConnectionCounts(4.0, {ONE: 1}, {world.mark(1): 1})
    await world.meter.take_count()
    assert world.meter.by_path() == [PathConnections(EU.name, "", "", 1)], "what had none is forgotten"


async def test_a_count_that_fails_leaves_no_old_number() -> None:
    world = World()
    await world.meter.take_count()
    world.says = None
    await world.meter.take_count()
    assert world.meter.of(ONE) is None
    assert world.meter.by_path() == []


@pytest.mark.parametrize(("cost_s", "at_least_s"), [(0.0, 0.01), (0.001, 0.05)])
async def test_it_counts_at_the_interval_or_as_seldom_as_the_cost_asks(cost_s: float, at_least_s: float) -> None:
    world = World()
    world.cost_s = cost_s
    world.meter.set_config(replace(CONFIG, eip=replace(CONFIG.eip, traffic_interval_s=0.01)))
    running = asyncio.create_task(world.meter.run())
    first, second, third = [await asyncio.wait_for(world.counted_at.get(), 5.0) for _ in range(3)]
    running.cancel()
    assert min(second - first, third - second) >= at_least_s * 0.99
    world.meter.close()
    assert world.closed
