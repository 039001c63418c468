"""HTB on uplinks in a real kernel, as `tc` and packets see it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

import pytest

from anycastd.actuators.dataplane.shaping import Shaper
from anycastd.model.address import Address
from anycastd.model.nft import NftObserved, NftSet
from anycastd.model.shaping import QueueKind, Shaped, ShapingFault
from anycastd.model.status import Alarm
from anycastd.model.topology import EipConfig
from anycastd.runtime.alarms import Reported
from anycastd.runtime.kernel.shaping import Shaping, Sources
from tests.lab.kernel_world import World, run, until, world

pytestmark = pytest.mark.lab

__all__ = ["world"]

MBIT = 10**6
ONE, TWO = 0x100, 0xFEFF
UP = ["ta"]
EIP = ip_address("203.0.113.9")


@asynccontextmanager
async def shaper_of(world: World) -> AsyncIterator[Shaper]:
    shaper = Shaper(netns=world.pop)
    try:
        yield shaper
    finally:
        await shaper.close()


def tc(world: World, *words: str) -> str:
    return run("ip", "netns", "exec", world.pop, "tc", *words)


def qdiscs(world: World, device: str = "ta") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(tc(world, "-j", "-d", "qdisc", "show", "dev", device))
    return found


def root(world: World, device: str = "ta") -> tuple[str, str]:
    """Return the kind of a device's root qdisc and its number."""
    (found,) = (one for one in qdiscs(world, device) if one.get("root"))
    return found["kind"], found["handle"]


def classes(world: World, device: str = "ta") -> dict[str, str]:
    """Return the rate by class, as `tc` writes it."""
    found = tc(world, "class", "show", "dev", device)
    rows = re.findall(r"^class htb (\S+) .* rate (\S+) ceil (\S+)", found, re.MULTILINE)
    assert all(rate == ceil for _, rate, ceil in rows), found
    return {handle: rate for handle, rate, _ in rows}


def whole(world: World, device: str = "ta") -> str:
    """Return all that was set on a device, without the packets that it counts."""
    found = tc(world, "-d", "qdisc", "show", "dev", device) + tc(world, "-d", "class", "show", "dev", device)
    return re.sub(r"direct_packets_stat \d+", "", found)


async def test_each_eip_gets_a_class_with_its_rate_and_a_bounded_queue(world: World) -> None:
    async with shaper_of(world) as shaper:
        assert await shaper.reconcile({ONE: 10 * MBIT, TWO: 400_000 * MBIT}, ["ta", "tb"]) == ()
        for device in ("ta", "tb"):
            assert root(world, device) == ("htb", "a001:")
            assert classes(world, device) == {"a001:100": "10Mbit", "a001:feff": "400Gbit"}
            (top,) = (one for one in qdiscs(world, device) if one.get("root"))
            assert top["options"]["default"] == "0"
            assert "overhead -14" in tc(world, "-d", "qdisc", "show", "dev", device)
            queues = {one["parent"]: one for one in qdiscs(world, device) if "parent" in one}
            assert {key: one["kind"] for key, one in queues.items()} == dict.fromkeys(
                ("a001:100", "a001:feff"), shaper.queue_kind
            )
            if shaper.queue_kind is QueueKind.BFIFO:
                assert [queues[key]["options"]["limit"] for key in sorted(queues)] == [125_000, 64 << 20]


async def test_doing_it_again_changes_nothing_also_for_a_daemon_after_us(world: World) -> None:
    wanted = {ONE: 10 * MBIT, TWO: MBIT}
    async with shaper_of(world) as shaper:
        await shaper.reconcile(wanted, UP)
    before = whole(world)
    monitor = await asyncio.create_subprocess_exec(
        "ip", "netns", "exec", world.pop, "tc", "monitor", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert monitor.stdout is not None
        limit = 1
        line = asyncio.create_task(monitor.stdout.readline())
        while not (await asyncio.wait({line}, timeout=0.1))[0]:
            limit += 1
            assert limit < 100, "it does not listen"
            tc(world, "qdisc", "replace", "dev", "tb", "root", "pfifo", "limit", str(limit))
        async with shaper_of(world) as another:
            for _ in range(3):
                assert await another.reconcile(wanted, UP) == ()
        tc(world, "qdisc", "replace", "dev", "tb", "root", "pfifo", "limit", "777")
        heard = [(await line).decode()]
        async with asyncio.timeout(10):
            while "limit 777p" not in heard[-1]:
                heard.append((await monitor.stdout.readline()).decode())
    finally:
        monitor.terminate()
        await monitor.wait()
    assert [one for one in heard if "dev ta" in one] == []
    assert whole(world) == before, "the queues are the same ones"


async def test_another_rate_changes_the_class_and_nothing_else(world: World) -> None:
    async with shaper_of(world) as shaper:
        await shaper.reconcile({ONE: 10 * MBIT, TWO: MBIT}, UP)
        queues = {one["parent"]: one["handle"] for one in qdiscs(world) if "parent" in one}
        assert await shaper.reconcile({ONE: 20 * MBIT, TWO: MBIT}, UP) == ()
        assert classes(world) == {"a001:100": "20Mbit", "a001:feff": "1Mbit"}
        assert {one["parent"]: one["handle"] for one in qdiscs(world) if "parent" in one} == queues


async def test_what_others_change_comes_back(world: World) -> None:
    wanted = {ONE: 10 * MBIT, TWO: MBIT}
    async with shaper_of(world) as shaper:
        await shaper.reconcile(wanted, UP)
        for words in (
            "class change dev ta classid a001:100 htb rate 1gbit",
            "class del dev ta classid a001:100",
            "qdisc replace dev ta parent a001:feff pfifo limit 3",
            "qdisc del dev ta root",
        ):
            tc(world, *words.split())
            assert await shaper.reconcile(wanted, UP) == (), words
            assert classes(world) == {"a001:100": "10Mbit", "a001:feff": "1Mbit"}, words
            assert {one["kind"] for one in qdiscs(world)} == {"htb", shaper.queue_kind}, words


async def test_a_root_qdisc_of_others_is_told_of_and_not_touched(world: World) -> None:
    async with shaper_of(world) as shaper:
        for words in ("handle 1: htb default 10", "pfifo limit 77", "handle a001: pfifo"):
            tc(world, "qdisc", "replace", "dev", "ta", "root", *words.split())
            before = whole(world)
            (problem,) = await shaper.reconcile({ONE: MBIT}, ["ta", "tb"], linger_s=0)
            assert (problem.device, problem.fault) == ("ta", ShapingFault.FOREIGN)
            assert "that anycastd did not make" in problem.detail
            assert whole(world) == before
            assert root(world, "tb") == ("htb", "a001:"), "the other uplink is shaped"
            assert await shaper.reconcile({}, ["ta"], linger_s=0) == ()
            assert whole(world) == before
            tc(world, "qdisc", "del", "dev", "ta", "root")
        assert await shaper.reconcile({ONE: MBIT}, ["ta", "tb"]) == ()
        assert root(world) == ("htb", "a001:")


async def test_a_device_that_comes_back_is_shaped_again(world: World) -> None:
    async with shaper_of(world) as shaper:
        await shaper.reconcile({ONE: MBIT}, UP)
        world.ip("link", "del", "ta")
        (problem,) = await shaper.reconcile({ONE: MBIT}, UP)
        assert (problem.device, problem.fault) == ("ta", ShapingFault.MISSING)
        world.ip("link", "add", "ta", "type", "veth", "peer", "name", "fa", "netns", world.far)
        assert await shaper.reconcile({ONE: MBIT}, UP) == (), "also one that is still down"
        world.ip("link", "set", "ta", "up")
        assert classes(world) == {"a001:100": "1Mbit"}


async def test_the_last_one_takes_the_qdisc_along_after_the_linger_time(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    before = root(world)
    async with shaper_of(world) as shaper:
        with caplog.at_level(logging.WARNING):
            await shaper.reconcile({ONE: MBIT}, UP)
            assert await shaper.reconcile({}, UP, linger_s=300) == ()
            assert (root(world), classes(world)) == (("htb", "a001:"), {})
            assert await shaper.reconcile({ONE: MBIT}, UP, linger_s=300) == ()
            assert await shaper.reconcile({}, UP, kept={ONE}, linger_s=0) == ()
            assert (classes(world), shaper.leaving) == ({"a001:100": "1Mbit"}, True)
            assert await shaper.reconcile({}, UP, linger_s=0) == ()
        assert (root(world), shaper.leaving) == (before, False)
        assert [line.split(":")[0] for line in caplog.messages] == [
            "root qdisc of ta is now htb a001",
            "root qdisc of ta is the kernel's default again",
        ]
        await shaper.reconcile({ONE: MBIT}, ["ta", "tb"])
        await shaper.reconcile({ONE: MBIT}, ["tb"], linger_s=0)
        assert (root(world), root(world, "tb")) == (before, ("htb", "a001:"))


async def test_classes_that_others_made_in_our_qdisc_stay(world: World) -> None:
    async with shaper_of(world) as shaper:
        await shaper.reconcile({ONE: MBIT}, UP)
        words = "class add dev ta parent a001: classid a001:1 htb rate 1mbit"
        tc(world, *words.split())
        assert await shaper.reconcile({}, UP, linger_s=0) == ()
        assert (root(world), set(classes(world))) == (("htb", "a001:"), {"a001:1"})


class Stage:
    """The daemon's stage, on what a test says is wanted."""

    def __init__(self, world: World, *uplinks: str) -> None:
        self.shaped: dict[Address, Shaped] = {}
        self.observed = NftObserved(elements={})
        self.reported = Reported()
        sources = Sources(lambda: self.shaped, lambda: self.observed)
        self.stage = Shaping(EipConfig(uplinks=uplinks), sources, self.reported, Shaper(netns=world.pop), linger_s=0)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Shaping]:
        await self.stage.start()
        task = asyncio.create_task(self.stage.run())
        try:
            yield self.stage
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self.stage.close()


async def test_the_stage_follows_what_is_wanted_and_what_is_heard_of_devices(world: World) -> None:
    one = Stage(world, "ta")
    one.shaped[EIP] = Shaped(ONE, MBIT)
    async with one.running() as stage:
        assert classes(world) == {"a001:100": "1Mbit"}, "before anything runs"
        assert (one.reported.details, dict(stage.dropped)) == ({}, {EIP: 0})
        one.shaped[EIP] = Shaped(ONE, 2 * MBIT)
        stage.look()
        await until("the new rate", 5, lambda: classes(world) == {"a001:100": "2Mbit"})
        world.ip("link", "del", "ta")
        stage.links_changed(frozenset({"tb"}))
        stage.links_changed(frozenset({"ta"}))
        await until("an alarm", 5, lambda: (Alarm.SHAPING_REFUSED, "ta") in one.reported.details)
        assert "there is no such device" in one.reported.details[Alarm.SHAPING_REFUSED, "ta"]
        world.ip("link", "add", "ta", "type", "veth", "peer", "name", "fa", "netns", world.far)
        stage.links_changed(frozenset({"ta"}))
        await until("no alarm", 5, lambda: not one.reported.details)
        assert classes(world) == {"a001:100": "2Mbit"}


async def test_the_stage_lets_a_class_go_when_no_packet_is_sent_to_it_any_more(world: World) -> None:
    one = Stage(world, "ta")
    one.shaped[EIP] = Shaped(ONE, MBIT)
    one.observed = NftObserved(elements={NftSet.CLASS4: {EIP: ONE}})
    async with one.running() as stage:
        one.shaped.clear()
        stage.configure(EipConfig(uplinks=("ta",)))
        await until("it is not wanted", 5, lambda: not stage.dropped)
        assert classes(world) == {"a001:100": "1Mbit"}
        one.observed = NftObserved(elements={NftSet.CLASS4: {}})
        await until("it is gone, without another word", 5, lambda: root(world)[0] != "htb")
        one.shaped[EIP] = Shaped(ONE, MBIT)
        stage.configure(EipConfig())
        await until("an alarm", 5, lambda: (Alarm.SHAPING_REFUSED, "eip.uplinks") in one.reported.details)


async def test_nothing_goes_while_the_packet_filter_was_not_read(world: World) -> None:
    async with shaper_of(world) as shaper:
        await shaper.reconcile({ONE: MBIT}, UP)
    one = Stage(world, "ta")
    one.observed = NftObserved()
    async with one.running():
        assert classes(world) == {"a001:100": "1Mbit"}
