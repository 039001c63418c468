"""What changes in the kernel reaches a link check's result and the wanted routes by its event, in a real kernel.

The checks are looked at once in an hour and nothing is read regularly here, so that what is seen in time was told.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest

from anycastd.actuators.dataplane import netlink
from anycastd.actuators.dataplane.netlink import Kernel
from anycastd.model.address import CheckId
from anycastd.model.checks import CheckKind, CheckSpec, LinkOptions, ProbeSpec, Timing
from anycastd.model.probe import ProbeResult, Why
from anycastd.probes.engine import Engine
from tests.lab.kernel_world import CONFIG, RULES, WANTED, World, as_wanted, over, until, world

pytestmark = pytest.mark.lab

__all__ = ["world"]

ROUNDS = 10
HOURLY = Timing(interval_s=3600.0, timeout_s=1.0)


def check_of(device: str, address: str) -> ProbeSpec:
    source = ip_address(address)
    return ProbeSpec(
        id=CheckId(f"link {device} {address}"),
        check=CheckSpec(name="link", kind=CheckKind.LINK, timing=HOURLY, options=LinkOptions(require_address=True)),
        target=source,
        source=source,
        device=device,
    )


CHECKS = (check_of("ta", "10.9.1.1"), check_of("ta", "fd09:1::1"))


@dataclass
class Seen:
    """Results with their times, and what was said of the event socket."""

    results: list[ProbeResult] = field(default_factory=list)
    changes: int = 0
    said: list[str | None] = field(default_factory=list)

    def after(self, begun_s: float, *why: Why) -> float | None:
        """Return when (s) the first result since then came that says so."""
        return next((one.ended_s for one in self.results if one.ended_s >= begun_s and one.why in why), None)

    async def by(self, begun_s: float, why: Why) -> float:
        """Wait for the first result since then that says so; return when (s) it came."""
        await until(why.value, 10, lambda: self.after(begun_s, why))
        return self.after(begun_s, why) or 0.0

    async def well_since(self, begun_s: float) -> None:
        """Wait until the last result of each check since then is good."""

        def well() -> bool:
            last = {one.check: one.why for one in self.results if one.ended_s >= begun_s}
            return [last.get(one.id) for one in CHECKS] == [Why.ANSWERED] * len(CHECKS)

        await until("well again", 10, well)

    def changed(self) -> None:
        self.changes += 1


@asynccontextmanager
async def watched(world: World, seen: Seen) -> AsyncIterator[Kernel]:
    """Run the kernel's side with the link checks behind it, as the daemon joins them."""
    loop = asyncio.get_running_loop()
    kernel = Kernel(
        CONFIG,
        on_change=seen.changed,
        on_links=lambda names: engine.link_changed(names),
        on_events=seen.said.append,
        netns=world.pop,
    )
    engine = Engine(loop, seen.results.append, lambda: kernel.observed.links)
    await kernel.start()
    engine.set_probes(CHECKS)
    try:
        await until("first looks", 5, lambda: len(seen.results) == len(CHECKS))
        yield kernel
    finally:
        engine.close()
        await kernel.close()


class Hand:
    """An `ip` that waits for orders: none of its start is in what is measured."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    def do(self, line: str) -> float:
        """Give an order; return when."""
        assert self.process.stdin is not None
        begun_s = time.monotonic()
        self.process.stdin.write(line.encode() + b"\n")
        return begun_s


@asynccontextmanager
async def hand(namespace: str) -> AsyncIterator[Hand]:
    process = await asyncio.create_subprocess_exec(
        "ip", "-n", namespace, "-batch", "-", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield Hand(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


FAULTS = {
    "link down": ("pop", "link set ta down", "link set ta up", Why.LINK_DOWN),
    "carrier lost": ("far", "link set fa down", "link set fa up", Why.LINK_DOWN),
    "IPv4 address removed": ("pop", "addr del 10.9.1.1/24 dev ta", "addr add 10.9.1.1/24 dev ta", Why.ADDRESS_GONE),
    "IPv6 address removed": (
        "pop",
        "addr del fd09:1::1/64 dev ta",
        "addr add fd09:1::1/64 dev ta nodad",
        Why.ADDRESS_GONE,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_change_of_a_device_is_a_check_s_result_by_its_event(world: World, fault: str) -> None:
    where, bad, good, why = FAULTS[fault]
    seen, took_ms = Seen(), list[float]()
    async with watched(world, seen) as kernel, hand(getattr(world, where)) as ip:
        for _ in range(ROUNDS):
            begun_s = ip.do(bad)
            took_ms.append((await seen.by(begun_s, why) - begun_s) * 1e3)
            await seen.well_since(ip.do(good))
        assert kernel.reopened == 0
    print(f"{fault} to the check's result: median {statistics.median(took_ms):.1f} ms, worst {max(took_ms):.1f} ms")


async def test_a_route_that_is_removed_is_missed_and_back_by_its_event(world: World) -> None:
    seen, missed_ms, back_ms = Seen(), list[float](), list[float]()
    route = over("ta", 4)
    async with watched(world, seen) as kernel, hand(world.pop) as ip:
        await as_wanted(kernel, WANTED)
        for _ in range(ROUNDS):
            changes = seen.changes
            begun_s = ip.do("route del 203.0.113.0/24 via 10.9.1.2 dev ta")
            await until("missed", 10, lambda: route not in (kernel.observed.routes or ()))
            assert seen.changes > changes
            missed_ms.append((time.monotonic() - begun_s) * 1e3)
            await as_wanted(kernel, WANTED)
            back_ms.append((time.monotonic() - begun_s) * 1e3)
        assert kernel.reopened == 0
    missed, back = statistics.median(missed_ms), statistics.median(back_ms)
    print(f"route removed: missed after {missed:.1f} ms, back after {back:.1f} ms (medians)")


@pytest.fixture
def quick_calm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(netlink, "CALM_AFTER_S", 0.05)
    yield


@pytest.mark.usefixtures("quick_calm")
async def test_an_event_socket_that_was_closed_is_found_by_what_it_does_not_tell(world: World) -> None:
    seen = Seen()
    async with watched(world, seen) as kernel, hand(world.pop) as ip:
        await as_wanted(kernel, WANTED)
        # another open file in its place: reads nothing, and says of no error
        deaf, other = os.pipe()
        os.dup2(deaf, kernel._events.socket.fileno())
        begun_s = ip.do("addr del 10.9.1.1/24 dev ta")
        address = ip_address("10.9.1.1")
        await until("gone", 10, lambda: "10.9.1.1" not in world.ip("-4", "addr", "show", "ta"))
        assert address in kernel.observed.links["ta"].addresses, "nothing told of it"
        # what the daemon does with each tick, some time after the last event
        end_s = time.monotonic() + 2 * netlink.BEFORE_S
        await until("the last event is old", 10, lambda: time.monotonic() > end_s)
        await kernel.refresh()
        assert address not in kernel.observed.links["ta"].addresses
        assert seen.after(begun_s, Why.ADDRESS_GONE)
        await until("opened anew", 10, lambda: kernel.reopened == 1 and None in seen.said)
        os.close(deaf)
        os.close(other)
        begun_s = ip.do("link set ta down")
        await until("heard by event", 10, lambda: seen.after(begun_s, Why.LINK_DOWN))
        assert seen.said[0] == "lost, and opened anew: it did not tell of a change"
        assert kernel.reopened == 1


async def test_reading_everything_doubts_no_socket_that_tells(world: World) -> None:
    seen = Seen()
    async with watched(world, seen) as kernel, hand(world.pop) as ip:
        for number in range(20):
            ip.do(f"addr {'del' if number % 2 == 0 else 'add'} 10.9.1.1/24 dev ta")
            await kernel.refresh()
        await as_wanted(kernel, frozenset(), frozenset())
        await as_wanted(kernel, WANTED, RULES)
        loop = asyncio.get_running_loop()
        end_s = loop.time() + 1.5 * netlink.DEAF_S
        await until("the doubt would have come", 10, lambda: loop.time() > end_s)
        assert (kernel.reopened, seen.said) == (0, [])
