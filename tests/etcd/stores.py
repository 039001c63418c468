"""Stores of POPs on a real etcd, with what a daemon gives them: somebody who listens, and a heartbeat."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from anycastd.api.ports import Clocks, Request
from anycastd.model.nft import NftObserved
from anycastd.model.store import StoreConfig, StoreKind
from anycastd.resources import codec
from anycastd.resources.commands import Allocate, Associate, Disassociate
from anycastd.resources.refusal import Refused
from anycastd.runtime.eips.desk import EipDesk
from anycastd.store.etcd.store import EtcdStore
from anycastd.store.port import StoreUnavailable
from tests.unit import status_builder
from tests.unit.runtime.eip_world import Plane, bound_to, said
from tests.wait import AT_LEAST_S

POLL_S = 0.01


def free_ports(count: int) -> int:
    """Return the first of so many ports on loopback that nobody listens at."""
    for first in range(24000 + (time.monotonic_ns() // 1000) % 2000 * 4, 60000, count):
        with suppress(OSError):
            for port in range(first, first + count):
                with socket.socket() as one:
                    one.bind(("127.0.0.1", port))
            return first
    raise AssertionError("no free ports")


async def until(what: str, so: Callable[[], object], deadline_s: float = AT_LEAST_S) -> float:
    """Wait until something is so; return how long that took."""
    begun_s = time.monotonic()
    while not so():
        assert time.monotonic() - begun_s < deadline_s, f"not within {deadline_s} s: {what}"
        await asyncio.sleep(POLL_S)
    return time.monotonic() - begun_s


@dataclass
class PopStore:
    """One POP's store, and what it complained of."""

    store: EtcdStore
    complain: Callable[[str, str | None], None]
    complaints: dict[str, str] = field(default_factory=dict)
    beats: int = 0
    last_failure: str = ""
    beating: asyncio.Task[None] = field(init=False)


def config_of(*endpoints: str, **more: object) -> StoreConfig:
    """Return a configuration with timers of a test."""
    quick = {"heartbeat_s": 0.3, "stale_after_s": 1.0, "presence_s": 2.0, "attempt_s": 0.5, "commit_within_s": 4.0}
    return StoreConfig(kind=StoreKind.ETCD, endpoints=endpoints, **quick | more)  # type: ignore[arg-type]


class VirtualStore(EtcdStore):
    """The real store on something else than sockets."""

    gateway: Any = None

    async def _gateway(self) -> Any:
        self._made = self._made or self.gateway
        self.gateway.cluster = self.gateway.cluster or self.known.cluster
        return self.gateway


@asynccontextmanager
async def pop_store(
    config: StoreConfig, pop: str, directory: Path, *, beats: bool = True, gateway: Any = None
) -> AsyncIterator[PopStore]:
    """Give a POP's store; its heartbeat goes on beside it."""
    complaints: dict[str, str] = {}

    def complain(subject: str, detail: str | None) -> None:
        complaints.pop(subject, None)
        if detail is not None:
            complaints[subject] = detail

    made_by = EtcdStore if gateway is None else VirtualStore
    store = made_by(config, pop, directory / f"{pop}.db", carries=codec.carries, complain=complain)
    if isinstance(store, VirtualStore):
        store.gateway = gateway
    made = PopStore(store, complain, complaints)

    async def beat() -> None:
        while True:
            try:
                await store.beat("{}")
                made.beats += 1
            except StoreUnavailable as error:
                made.last_failure = str(error)
            await asyncio.sleep(config.heartbeat_s)

    made.beating = task = asyncio.create_task(beat() if beats else asyncio.sleep(0))
    try:
        yield made
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await store.close()


@dataclass
class PopDesk:
    """A POP's desk of EIPs on such a store, with a plane that has everything at once."""

    made: PopStore
    desk: EipDesk
    plane: Plane

    @property
    def store(self) -> EtcdStore:
        """Return its store."""
        return self.made.store

    @property
    def bound(self) -> set[str]:
        """Return the EIPs that carry packets."""
        return {str(address) for address, eip in self.plane.kernel.items() if eip.carries}

    async def bind(self, address: str) -> str:
        """Make and bind an EIP; return why it was refused, if it was."""
        for command in (Allocate(address=ip_address(address)), Associate(address, bound_to("eu-central/web-1"))):
            done = await self.desk.change(Request(command=command))
            if isinstance(done, Refused):
                return said(done)[0]
        return ""

    async def unbind(self, address: str) -> str:
        """Unbind an EIP; return why it was refused, if it was."""
        done = await self.desk.change(Request(command=Disassociate(address)))
        return said(done)[0] if isinstance(done, Refused) else ""


@asynccontextmanager
async def pop_desk(config: StoreConfig, pop: str, directory: Path, *, gateway: Any = None) -> AsyncIterator[PopDesk]:
    """Give a POP's desk; it follows the store, and tidies up, as in a daemon."""
    async with pop_store(config, pop, directory, gateway=gateway) as made:
        plane = Plane()
        desk = EipDesk(
            made.store,
            plane,
            status_builder.config(),
            observed=NftObserved,
            act=plane.act,
            complain=made.complain,
            clocks=lambda: Clocks(time.monotonic(), time.time()),
        )
        await desk.start()

        async def tick() -> None:
            while True:
                await desk.tick()
                await asyncio.sleep(0.5)

        tasks = [asyncio.create_task(work) for work in (desk.follow(), tick())]
        try:
            yield PopDesk(made, desk, plane)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
