"""A real desk of orders, on a real file, in front of the control loop's world; its clock is the loop's own."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

from anycastd.api.ports import Clocks
from anycastd.model.operator import Carried
from anycastd.model.topology import Config, OperatorConfig
from anycastd.runtime.alarms import Reported
from anycastd.runtime.orders.desk import OrderDesk
from tests.unit.runtime.world import World, config

PACE = OperatorConfig(depref_s=0.0, quiet_for_s=0.0, wait_at_most_s=600.0, settled_s=0.0)


def order_desk(
    directory: Path, world: World | None = None, *, its_config: Config | None = None, reported: Reported | None = None
) -> tuple[OrderDesk, World]:
    """Return a desk that has begun, and its world, in which nothing is carried by what is drained."""
    now_s = asyncio.get_running_loop().time()
    base = replace(its_config or config(), state_dir=str(directory), operator=PACE)
    if world is None:
        world = World(base, now_s=now_s)
        world.answer("")
    desk = OrderDesk(
        base, reported or Reported(), lambda: Clocks(max(asyncio.get_running_loop().time(), world.now_s), time.time())
    )
    desk.begin(world.control, lambda drain, devices: Carried(rate_bps=0.0, connections=None))
    return desk, world
