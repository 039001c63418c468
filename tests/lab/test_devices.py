"""Tunnel devices in a real kernel, as `ip` and packets see them. Only vxlan: this kernel has no others."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from typing import Any

import pytest

from anycastd.actuators.dataplane.devices import INDEX_FROM, Devices
from anycastd.model.address import TunnelId
from anycastd.model.tunnel_device import (
    DeviceFault,
    Geneve,
    IpTunnel,
    Shape,
    TunnelKind,
    Vxlan,
    WantedDevice,
    WireGuard,
)
from tests.lab.kernel_world import World, run, world
from tests.wait import wait_until

pytestmark = pytest.mark.lab

__all__ = ["world"]

HERE, THERE = ip_address("10.9.1.1"), ip_address("10.9.1.2")
SHAPE = Vxlan(vni=7, local=HERE, remote=THERE, ttl=9)
OWN = frozenset({ip_interface("10.7.0.1/30"), ip_interface("fd07::1/64")})
WANTED = WantedDevice(tunnel=TunnelId("eu/t1"), name="vx1", shape=SHAPE, mtu_bytes=1450, addresses=OWN)
FAR_END = """
link add vx1 type vxlan id 7 local 10.9.1.2 remote 10.9.1.1 dstport 4789 nolearning
link set vx1 mtu 1450
addr add 10.7.0.2/30 dev vx1
addr add fd07::2/64 dev vx1 nodad
link set vx1 up
"""


@asynccontextmanager
async def devices_of(world: World) -> AsyncIterator[Devices]:
    devices = Devices(netns=world.pop)
    await devices.start()
    try:
        yield devices
    finally:
        await devices.close()


def link(world: World, name: str = "vx1") -> dict[str, Any]:
    (found,) = json.loads(world.ip("-d", "-j", "link", "show", name))
    return dict(found)


def addresses(world: World, name: str = "vx1") -> set[str]:
    (found,) = json.loads(world.ip("-j", "addr", "show", name))
    return {f"{one['local']}/{one['prefixlen']}" for one in found["addr_info"] if one["scope"] == "global"}


def sysctl(world: World, key: str) -> str:
    return run("ip", "netns", "exec", world.pop, "cat", f"/proc/sys/net/{key}").strip()


def names(world: World) -> set[str]:
    return {one["ifname"] for one in json.loads(world.ip("-j", "link"))}


async def test_a_vxlan_is_made_and_carries_full_packets_unfragmented(world: World) -> None:
    run("ip", "-n", world.far, "-batch", "-", text=FAR_END)
    run("ip", "netns", "exec", world.pop, "sysctl", "-qw", "net.ipv4.conf.default.rp_filter=1")
    async with devices_of(world) as devices:
        assert await devices.reconcile([WANTED]) == ()
        made = link(world)
        data = made["linkinfo"]["info_data"]
        assert (made["mtu"], made["ifalias"], made["flags"]) == (1450, "anycastd:tunnel/eu/t1", made["flags"])
        assert "UP" in made["flags"]
        assert made["ifindex"] >= INDEX_FROM
        assert made["linkinfo"]["info_kind"] == "vxlan"
        shown = {key: data[key] for key in ("id", "remote", "local", "port", "ttl", "learning")}
        assert shown == {"id": 7, "remote": "10.9.1.2", "local": "10.9.1.1", "port": 4789, "ttl": 9, "learning": False}
        assert addresses(world) == {"10.7.0.1/30", "fd07::1/64"}
        assert sysctl(world, "ipv4/conf/vx1/rp_filter") == "0"
        assert sysctl(world, "ipv6/conf/vx1/keep_addr_on_down") == "1"
        assert (devices.observed.devices["vx1"].shape, devices.mtus["vx1"]) == (SHAPE, 1450)
        for target, payload in (("10.7.0.2", 1450 - 28), ("fd07::2", 1450 - 48)):
            words = ("ping", "-c1", "-W3", "-M", "do", "-s", str(payload), target)
            run("ip", "netns", "exec", world.pop, *words)


async def test_doing_it_again_changes_nothing(world: World) -> None:
    async with devices_of(world) as devices:
        await devices.reconcile([WANTED])
        wait_until("no address is tentative any more", 10, lambda: "tentative" not in world.ip("addr", "show"))
        before = link(world)
        monitor = await asyncio.create_subprocess_exec(
            "ip", "-n", world.pop, "-o", "monitor", "link", "address", stdout=asyncio.subprocess.PIPE
        )
        assert monitor.stdout is not None
        for _ in range(3):
            assert await devices.reconcile([WANTED]) == ()
        world.ip("link", "set", "tb", "down")
        first = (await asyncio.wait_for(monitor.stdout.readline(), 5)).decode()
        monitor.terminate()
        await monitor.wait()
        assert " tb" in first, "the first that was heard is what we did ourselves"
        assert link(world) == before
    async with devices_of(world) as another:
        assert await another.reconcile([WANTED]) == ()
        assert link(world) == before, "a daemon after us takes it over"


async def test_what_others_take_away_comes_back(world: World) -> None:
    async with devices_of(world) as devices:
        await devices.reconcile([WANTED])
        world.ip("addr", "del", "10.7.0.1/30", "dev", "vx1")
        world.ip("addr", "del", "fd07::1/64", "dev", "vx1")
        world.ip("addr", "add", "10.99.0.1/24", "dev", "vx1")
        world.ip("link", "set", "vx1", "mtu", "1300")
        world.ip("link", "set", "vx1", "down")
        run("ip", "netns", "exec", world.pop, "sysctl", "-qw", "net.ipv4.conf.vx1.rp_filter=1")
        assert await devices.reconcile([WANTED]) == ()
        assert addresses(world) == {"10.7.0.1/30", "fd07::1/64"}
        assert link(world)["mtu"] == 1450
        assert "UP" in link(world)["flags"]
        assert sysctl(world, "ipv4/conf/vx1/rp_filter") == "0"
        world.ip("link", "del", "vx1")
        assert await devices.reconcile([WANTED]) == ()
        assert addresses(world) == {"10.7.0.1/30", "fd07::1/64"}


async def test_admin_down_and_up_keeps_the_ipv6_address(world: World) -> None:
    async with devices_of(world) as devices:
        await devices.reconcile([WANTED])
        world.ip("link", "set", "vx1", "down")
        world.ip("link", "set", "vx1", "up")
        assert "fd07::1/64" in addresses(world)


async def test_an_adopted_device_is_tuned_and_else_untouched(world: World) -> None:
    run("ip", "netns", "exec", world.pop, "sysctl", "-qw", "net.ipv4.conf.default.rp_filter=1")
    world.ip("link", "add", "vx1", "type", "vxlan", "id", "7", "remote", "10.9.1.2", "dstport", "4789")
    world.ip("addr", "add", "10.7.0.9/30", "dev", "vx1")
    before = link(world)
    adopted = replace(WANTED, shape=None, mtu_bytes=None, addresses=frozenset())
    async with devices_of(world) as devices:
        (problem,) = await devices.reconcile([replace(adopted, tune=False)])
        assert problem.fault is DeviceFault.MTU
        assert sysctl(world, "ipv4/conf/vx1/rp_filter") == "1"
        await devices.reconcile([adopted])
        assert sysctl(world, "ipv4/conf/vx1/rp_filter") == "0"
        assert sysctl(world, "ipv6/conf/vx1/keep_addr_on_down") == "1"
        assert link(world) == before
        assert addresses(world) == {"10.7.0.9/30"}
        assert await devices.reconcile([replace(adopted, mtu_bytes=1400)]) == ()
        assert link(world)["mtu"] == 1400
        assert await devices.reconcile([], linger_s=0) == ()
        assert "vx1" in names(world), "what is not ours never goes"


async def test_a_strict_filter_of_all_devices_is_met_by_loose(world: World) -> None:
    run("ip", "netns", "exec", world.pop, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1")
    async with devices_of(world) as devices:
        assert await devices.reconcile([WANTED]) == ()
        assert sysctl(world, "ipv4/conf/vx1/rp_filter") == "2"
        assert sysctl(world, "ipv4/conf/all/rp_filter") == "1"


async def test_a_foreign_device_of_the_name_is_told_of(world: World) -> None:
    world.ip("link", "add", "vx1", "type", "vxlan", "id", "7", "remote", "10.9.1.2", "dstport", "4789")
    before = link(world)
    async with devices_of(world) as devices:
        (problem,) = await devices.reconcile([WANTED])
        assert (problem.fault, problem.tunnel, problem.device) == (DeviceFault.FOREIGN, "eu/t1", "vx1")
        assert "a vxlan vx1 that anycastd did not make" in problem.detail
        assert link(world) == before
        world.ip("link", "set", "vx1", "name", "theirs")
        (problem,) = await devices.reconcile([WANTED])
        assert problem.fault is DeviceFault.REFUSED, "its vni is taken"
        assert "EEXIST" in problem.detail
        assert names(world) >= {"theirs"}
        assert "vx1" not in names(world)
        assert "ifalias" not in link(world, "theirs"), "the alias came to nobody"
        world.ip("link", "del", "theirs")
        assert await devices.reconcile([WANTED]) == ()


async def test_other_parameters_make_it_anew_and_say_so(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with devices_of(world) as devices:
        await devices.reconcile([WANTED])
        first = link(world)["ifindex"]
        with caplog.at_level(logging.WARNING):
            assert await devices.reconcile([replace(WANTED, shape=replace(SHAPE, vni=8, lower="ta"))]) == ()
        assert link(world)["linkinfo"]["info_data"]["id"] == 8
        assert link(world)["linkinfo"]["info_data"]["link"] == "ta"
        assert link(world)["ifindex"] != first
        assert addresses(world) == {"10.7.0.1/30", "fd07::1/64"}
        assert "vx1 is deleted: changed: vni from 7 to 8, lower from none to ta" in caplog.text
        caplog.clear()
        assert await devices.reconcile([replace(WANTED, name="vx2")]) == ()
        assert names(world) & {"vx1", "vx2"} == {"vx2"}


async def test_what_left_the_file_goes_after_the_linger_time(world: World) -> None:
    async with devices_of(world) as devices:
        await devices.reconcile([WANTED])
        loop_s = asyncio.get_running_loop().time()
        assert await devices.reconcile([], linger_s=300) == ()
        assert "vx1" in names(world)
        assert 299 < (devices.next_s or 0) - loop_s < 301
        assert await devices.reconcile([WANTED], linger_s=300) == ()
        assert devices.next_s is None, "wanted again"
        await devices.reconcile([], linger_s=300)
        assert await devices.reconcile([], linger_s=0) == ()
        assert "vx1" not in names(world)
        assert devices.next_s is None


async def test_all_of_ours_go_on_request_and_nothing_else(world: World) -> None:
    world.ip("link", "add", "theirs", "type", "vxlan", "id", "9", "remote", "10.9.1.2", "dstport", "4789")
    before = names(world)
    async with devices_of(world) as devices:
        await devices.reconcile([WANTED])
        assert await devices.remove_all() == ()
    assert names(world) == before


async def test_a_lower_device_that_is_missing_is_named(world: World) -> None:
    async with devices_of(world) as devices:
        (problem,) = await devices.reconcile([replace(WANTED, shape=replace(SHAPE, lower="eth7"))])
        assert problem.fault is DeviceFault.REFUSED
        assert "its lower device eth7 does not exist" in problem.detail


OTHERS: list[Shape] = [
    Geneve(vni=1, remote=THERE),
    IpTunnel(kind=TunnelKind.GRE, local=HERE, remote=THERE, key=7),
    IpTunnel(kind=TunnelKind.GRETAP, local=HERE, remote=THERE),
    IpTunnel(kind=TunnelKind.IP6GRE, local=ip_address("fd09:1::1"), remote=ip_address("fd09:1::2")),
    IpTunnel(kind=TunnelKind.IPIP, local=HERE, remote=THERE),
    IpTunnel(kind=TunnelKind.IP6TNL, local=ip_address("fd09:1::1"), remote=ip_address("fd09:1::2")),
    WireGuard(private_key_file="/nonexistent", public_key="A" * 43 + "="),
]


@pytest.mark.parametrize("shape", OTHERS, ids=lambda shape: str(shape.kind))
async def test_a_kind_that_the_kernel_lacks_is_refused_clearly(world: World, shape: Shape) -> None:
    async with devices_of(world) as devices:
        problems = await devices.reconcile([replace(WANTED, shape=shape)])
        (problem,) = problems
        if problem.fault is not DeviceFault.UNSUPPORTED:
            pytest.skip(f"this kernel knows {shape.kind}")
        assert problem.detail == f"this kernel has no {shape.kind} devices"
        assert "vx1" not in names(world)
