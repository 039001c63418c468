"""Two namespaces for the kernel tests: a POP with two tunnels, and the far end of both."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from anycastd.actuators.dataplane.netlink import Kernel
from anycastd.model.kernel import (
    MAIN_TABLE,
    KernelRoute,
    KernelRule,
    RouteKind,
    SourceRule,
)
from anycastd.model.topology import KernelConfig
from anycastd.reconcile.kernel import diff
from tests.wait import AT_LEAST_S

NAME = "anyckern"
CONFIG = KernelConfig()
FAR = {4: {"ta": "10.9.1.2", "tb": "10.9.2.2"}, 6: {"ta": "fd09:1::2", "tb": "fd09:2::2"}}
EIP = {4: "203.0.113.0/24", 6: "2001:db8:9::/48"}
# The numbers differ from the far ends': the kernel tells a loss of carrier at once only of a device whose lower device
# (the peer, by its number) is not itself; of others within a second of any other's (net/core/link_watch.c).
SETUP = """
link add name ta index 101 type veth peer name fa netns {far}
link add name tb index 102 type veth peer name fb netns {far}
link set lo up
link set ta up
link set tb up
addr add 10.9.1.1/24 dev ta
addr add 10.9.2.1/24 dev tb
addr add fd09:1::1/64 dev ta nodad
addr add fd09:2::1/64 dev tb nodad
addr add 192.0.2.1/32 dev lo
addr add 2001:db8:1::1/128 dev lo nodad
"""
SOME = [(4, EIP[4]), (4, "198.18.0.0/24"), (6, EIP[6]), (6, "2001:db8:18::/48")]
FAR_SETUP = """
link set lo up
link set fa up
link set fb up
addr add 10.9.1.2/24 dev fa
addr add 10.9.2.2/24 dev fb
addr add fd09:1::2/64 dev fa nodad
addr add fd09:2::2/64 dev fb nodad
addr add 203.0.113.1/32 dev lo
addr add 2001:db8:9::1/128 dev lo nodad
route add 192.0.2.1/32 via 10.9.1.1
route add 2001:db8:1::1/128 via fd09:1::1
"""


@dataclass
class World:
    """The POP's namespace and the far end's."""

    pop: str
    far: str

    def ip(self, *words: str) -> str:
        return run("ip", "-n", self.pop, *words)

    def far_ip(self, *words: str) -> str:
        return run("ip", "-n", self.far, *words)

    def routes(self, *words: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for family in ("-4", "-6"):
            found += json.loads(run("ip", "-n", self.pop, "-d", "-j", family, "route", "show", *words) or "[]")
        return found


def run(*words: str, text: str | None = None) -> str:
    done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


def _remove_stale() -> None:
    """Remove what a killed run left: its process is gone."""
    for path in Path("/run/netns").glob(f"{NAME}-*"):
        if not Path(f"/proc/{path.name.split('-')[1]}").exists():
            run("ip", "netns", "del", path.name)


@pytest.fixture
def world() -> Iterator[World]:
    _remove_stale()
    world = World(f"{NAME}-{os.getpid()}-pop", f"{NAME}-{os.getpid()}-far")
    try:
        for name in (world.pop, world.far):
            run("ip", "netns", "add", name)
            switches = ("all.rp_filter=0", "default.rp_filter=0")
            run("ip", "netns", "exec", name, "sysctl", "-qw", *(f"net.ipv4.conf.{one}" for one in switches))
        run("ip", "-n", world.pop, "-batch", "-", text=SETUP.format(far=world.far))
        run("ip", "-n", world.far, "-batch", "-", text=FAR_SETUP)
        run("ip", "netns", "exec", world.pop, "sysctl", "-qw", "net.ipv6.conf.ta.keep_addr_on_down=1")
        yield world
    finally:
        for name in (world.pop, world.far):
            if Path("/run/netns", name).exists():
                run("ip", "netns", "del", name)


@dataclass
class Heard:
    """What the kernel side told."""

    links: list[tuple[float, frozenset[str]]] = field(default_factory=list)
    refused: list[tuple[str, str | None]] = field(default_factory=list)

    def on_links(self, names: frozenset[str]) -> None:
        self.links.append((time.monotonic(), names))

    def on_refused(self, subject: str, detail: str | None) -> None:
        self.refused.append((subject, detail))


@asynccontextmanager
async def started(world: World, heard: Heard | None = None, **more: Any) -> AsyncIterator[Kernel]:
    heard = heard or Heard()
    kernel = Kernel(
        CONFIG,
        on_change=lambda: None,
        on_links=heard.on_links,
        on_refused=heard.on_refused,
        netns=world.pop,
        **more,
    )
    await kernel.start()
    try:
        yield kernel
    finally:
        await kernel.close()


async def until(what: str, deadline_s: float, so: Callable[[], object]) -> float:
    """Wait in the loop; return how long it took."""
    deadline_s = max(deadline_s, AT_LEAST_S)
    begun_s = time.monotonic()
    while not so():
        assert time.monotonic() - begun_s < deadline_s, f"not within {deadline_s} s: {what}"
        await asyncio.sleep(0.001)
    return time.monotonic() - begun_s


def over(device: str, version: int, prefix: str = "", metric: int = 100, table: int = MAIN_TABLE) -> KernelRoute:
    via = ip_address(FAR[version][device])
    return KernelRoute(ip_network(prefix or EIP[version]), RouteKind.UNICAST, metric, table, via, device)


def hole(version: int, prefix: str = "", table: int = MAIN_TABLE) -> KernelRoute:
    return KernelRoute(ip_network(prefix or EIP[version]), RouteKind.BLACKHOLE, CONFIG.blackhole_metric, table)


WANTED = frozenset(
    {
        *(route for version in (4, 6) for route in (hole(version), over("ta", version))),
        over("ta", 4, "0.0.0.0/0", table=1300),
        hole(4, "0.0.0.0/0", table=1300),
        over("ta", 6, "::/0", table=1300),
        hole(6, "::/0", table=1300),
    }
)
RULES = frozenset(SourceRule(ip_address(source), 1300, 1300) for source in ("10.9.1.1", "fd09:1::1"))


async def as_wanted(kernel: Kernel, wanted: frozenset[KernelRoute], rules: frozenset[KernelRule] = RULES) -> float:
    """Apply the diff until nothing differs, as the control loop does."""
    seen: object = None

    def so() -> bool:
        nonlocal seen
        if seen is not kernel.observed:
            seen = kernel.observed
            kernel.apply(diff(wanted, rules, kernel.observed))
        return kernel.observed.routes == wanted and kernel.observed.rules == rules

    return await until("as wanted", 5, so)


@asynccontextmanager
async def measured(what: str) -> AsyncIterator[None]:
    """Say how long it took and how long the loop was held up; fail above 20 ms of our own processor time.

    Without the garbage collector: how long it stops depends on all else that the process holds (here 70 to 90 ms).
    """
    worst_ms = worst_cpu_ms = 0.0

    async def measure() -> None:
        nonlocal worst_ms, worst_cpu_ms
        while True:
            begun_s, cpu_s = time.monotonic(), time.thread_time()
            await asyncio.sleep(0.002)
            worst_ms = max(worst_ms, (time.monotonic() - begun_s - 0.002) * 1e3)
            worst_cpu_ms = max(worst_cpu_ms, (time.thread_time() - cpu_s - 0.002) * 1e3)

    gc.collect()
    gc.disable()
    task, begun_s = asyncio.create_task(measure()), time.monotonic()
    try:
        yield
    finally:
        gc.enable()
        task.cancel()
    print(f"{what}: {time.monotonic() - begun_s:.2f} s, worst lag {worst_ms:.1f} ms ({worst_cpu_ms:.1f} ms our own)")
    assert worst_cpu_ms < 20
