"""Everything of ours in the kernel, found by its marks, and its removal; nothing else is touched.

Found: routes and rules of our protocol number, the table `inet anycastd` that bears our comment, devices and root
qdiscs that we made. Addresses go with their devices.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from anycastd.actuators.dataplane.devices import Devices
from anycastd.actuators.dataplane.netlink import Kernel
from anycastd.actuators.dataplane.shaping import Shaper
from anycastd.actuators.nft import reading
from anycastd.actuators.nft.keeper import RulesKeeper
from anycastd.actuators.nft.thread import KernelThread
from anycastd.errors import ActuatorTransient, AnycastdError
from anycastd.model.kernel import KernelRoute
from anycastd.model.nft import NftSettings
from anycastd.model.topology import KernelConfig


@dataclass(frozen=True, slots=True)
class Ours:
    """What of ours is in the kernel, in words."""

    routes: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    qdiscs: tuple[str, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """Return one line for each thing, in the order in which they go."""
        return (*self.rules, *self.routes, *self.tables, *self.qdiscs, *self.devices)


class Purge:
    """Looks at and removes what is ours in this network namespace."""

    def __init__(self, kernel: Kernel, devices: Devices, shaper: Shaper, thread: KernelThread) -> None:
        self._kernel, self._devices, self._shaper, self._thread = kernel, devices, shaper, thread
        self._keeper = RulesKeeper(thread, NftSettings())

    async def look(self) -> Ours:
        """Return what there is; ActuatorTransient if the kernel does not answer."""
        await self._kernel.refresh()
        await self._devices.start()
        await self._shaper.look()
        observed = self._kernel.observed
        table = self._keeper.settings.table
        facts = await self._thread.ask(lambda channel: reading.table_facts(channel, table))
        return Ours(
            routes=tuple(sorted(_route(route) for route in observed.routes or ())),
            rules=tuple(sorted(str(rule) for rule in observed.rules)),
            tables=() if facts.comment is None else (f"nft table inet {table}",),
            devices=tuple(
                sorted(f"device {one.name}" for one in self._devices.observed.devices.values() if one.owner is not None)
            ),
            qdiscs=tuple(sorted(f"root qdisc of {one.name}" for one in self._shaper.observed.values() if one.is_ours)),
        )

    async def remove(self) -> tuple[str, ...]:
        """Remove it all, as far as it goes; return what could not be removed and why, and what is still there."""
        problems: list[str] = []
        found = await self.look()
        try:
            # rules first: a packet that is looked up in an empty table goes on to the next rule
            await self._kernel.purge()
        except AnycastdError as error:
            problems.append(str(error))
        if found.tables:
            try:
                await self._keeper.remove()
            except AnycastdError as error:
                problems.append(f"nft: {error}")
        problems += [one.detail for one in await self._shaper.reconcile({}, (), linger_s=0.0)]
        problems += [one.detail for one in await self._devices.remove_all()]
        left = (await self.look()).lines()
        return (*problems, *(f"still there: {line}" for line in left))


@asynccontextmanager
async def purging(config: KernelConfig) -> AsyncIterator[Purge]:
    """Open what the kernel is asked by, and close it again; ActuatorTransient if it does not answer."""
    kernel = Kernel(config, on_change=lambda: None, on_links=lambda names: None)
    devices, shaper, thread = Devices(), Shaper(), KernelThread(None)
    try:
        await kernel.start()
        await thread.start()
        yield Purge(kernel, devices, shaper, thread)
    except OSError as error:
        raise ActuatorTransient(str(error)) from error
    finally:
        await asyncio.gather(kernel.close(), devices.close(), shaper.close(), thread.close(), return_exceptions=True)


def _route(route: KernelRoute) -> str:
    words = [f"{route.kind.value} {route.prefix}", f"table {route.table}", f"metric {route.metric}"]
    if route.device is not None:
        words.insert(1, f"dev {route.device}")
    return "route " + " ".join(words)
