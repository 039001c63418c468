"""POPs that see each other by the fleet's store, in virtual time: real control loops, links, stores, keys of beacons.

The etcd is virtual (`virtual.py`), ExaBGP and the kernel are those of `tests/unit/runtime`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from anycastd.fleet.stored import BASE, text_of
from anycastd.model.address import Prefix
from anycastd.model.bgp import SessionState, SessionView
from anycastd.model.decision import Level
from anycastd.model.probe import Why
from anycastd.model.topology import Config, PrefixTimers
from anycastd.runtime.alarms import Reported
from anycastd.runtime.fleet.stored import StoreChannel
from anycastd.runtime.fleet.tokens import Tokens
from anycastd.store.etcd.beacons import StoredBeacons
from tests.etcd.stores import config_of, pop_store
from tests.etcd.virtual import MEMBERS, Cluster, Gateway, InlineLoop
from tests.unit.runtime.fleet_world import RR, FleetOfPops, Pop
from tests.unit.runtime.fleet_world import config as observed

STEP_S = 0.05
ROOT = "/anycastd"


def config(name: str, *, observers: bool, timers: PrefixTimers | None, key_file: str | None) -> Config:
    """Return a POP whose beacons go through the store, with or without the reflector beside it."""
    made = observed(name, timers=timers)
    assert made.fleet is not None
    if observers:
        return replace(made, fleet=replace(made.fleet, by_store=True, key_file=key_file))
    alone = {key: one for key, one in made.neighbors.items() if key != RR}
    return replace(
        made, neighbors=alone, fleet=replace(made.fleet, by_store=True, beacon_networks=(), key_file=key_file)
    )


class StoredFleet(FleetOfPops):
    """Three POPs on one cluster; each reaches it by a gateway of its own."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        observers: bool = False,
        timers: PrefixTimers | None = None,
        key_file: str | None = None,
    ) -> None:
        super().__init__()
        self.cluster, self.reported, self.apart_s = cluster, dict[str, Reported](), 0.0
        for number, name in enumerate(("fra", "sin", "iad")):
            self.pops[name] = pop = Pop(
                config(name, observers=observers, timers=timers, key_file=key_file), 1000 + number
            )
            self._passed[name] = {}
            if not observers:
                speaker = pop.world.speaker
                del speaker.observed.sessions[RR]  # type: ignore[attr-defined]
        self.tasks: dict[str, list[asyncio.Task[None]]] = {}

    async def join(self, stack: AsyncExitStack, directory: Path) -> None:
        """Give each POP its store."""
        for name, pop in self.pops.items():
            config = config_of(*(f"http://{member}:2379" for member in MEMBERS), attempt_s=1.0)
            made = await stack.enter_async_context(
                pop_store(config, name, directory, beats=False, gateway=Gateway(self.cluster))
            )
            self.reported[name] = Reported()
            channel = StoreChannel(pop.link, StoredBeacons(made.store, ROOT, name, 1.0), self.reported[name])
            clock = partial(getattr, pop.world, "now_s")
            tokens = Tokens(made.store, pop.link, replace(config, withdrawals_apart_s=self.apart_s), name, clock)
            works = (channel.write(), channel.listen(), tokens.run())
            self.tasks[name] = [asyncio.create_task(work) for work in works]
            stack.callback(self.end, name)

    def end(self, name: str) -> None:
        """End what a POP's daemon does with the store."""
        for task in self.tasks.pop(name, []):
            task.cancel()

    async def live(self, seconds: float) -> None:
        """Let time pass, for the store and every POP."""
        for _ in range(round(seconds / STEP_S)):
            await asyncio.sleep(STEP_S)
            for task in (one for tasks in self.tasks.values() for one in tasks if one.done()):
                task.result()
            self.wait(STEP_S)

    async def until(self, what: str, so: Callable[[], bool], within_s: float = 30.0) -> float:
        """Let time pass until something is so; return how much."""
        for step in range(round(within_s / STEP_S)):
            if so():
                return step * STEP_S
            await self.live(STEP_S)
        raise AssertionError(f"not within {within_s} s: {what}")

    async def sicken(self, name: str) -> None:
        """Have every check of a POP fail."""
        self.answer(name, "", Why.TIMEOUT)
        await self.live(STEP_S)

    def levels(self, prefix: Prefix) -> dict[str, Level]:
        """Return what each POP does with a prefix."""
        return {name: pop.level(prefix) for name, pop in self.pops.items()}

    def key(self, pop: str, number: str = "0") -> str:
        """Return the key of a part."""
        return f"{ROOT}/beacons/{pop}/{number}"

    def forge(self, pop: str, number: str, text: str | None) -> None:
        """Write a key, as somebody does who can."""
        self.cluster.apply([(self.key(pop, number), text)])

    def said(self, name: str, ahead: int = 0) -> str:
        """Return the text of a POP's newest head, or of one so many beacons later."""
        link = self.pops[name].link
        assert link.stored is not None and link.stored.base == BASE
        return text_of(link.stored, replace(link.parts[-1], seq=link.seq + ahead))

    def lose_reflector(self, name: str) -> None:
        """Take the session with the reflector down, as ExaBGP tells it."""
        pop = self.pops[name]
        speaker = pop.world.speaker
        lost = SessionView(SessionState.DOWN, pop.world.now_s, "hold timer")
        speaker.observed = replace(speaker.observed, sessions={**speaker.observed.sessions, RR: lost})
        pop.link.session(RR, SessionState.DOWN)
        self.cut.add(name)


def run(
    main: Callable[[StoredFleet], Coroutine[Any, Any, None]],
    directory: Path,
    *,
    observers: bool = False,
    timers: PrefixTimers | None = None,
    apart_s: float = 0.0,
    key: str = "",
) -> None:
    """Play a test: every POP announces everything normally, and has heard the others by the store."""

    async def whole() -> None:
        async with AsyncExitStack() as stack:
            path = directory / "key"
            if key:
                path.touch(0o600)
                path.write_text(key)
            key_file = str(path) if key else None
            fleet = StoredFleet(Cluster(Random(1)), observers=observers, timers=timers, key_file=key_file)
            fleet.apart_s = apart_s
            await fleet.join(stack, directory)
            for name in fleet.pops:
                fleet.answer(name, "")
            await fleet.live(1.0)
            await main(fleet)

    with asyncio.Runner(loop_factory=lambda: InlineLoop(1000.0)) as runner:
        runner.run(whole())
