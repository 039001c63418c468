"""The kernel by netlink, in a real kernel: namespaces with veth pairs and a vxlan, both families."""

from __future__ import annotations

import asyncio
import random
import re
import time
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest

from anycastd.model.kernel import (
    MAIN_TABLE,
    DeleteRoute,
    DeleteRule,
    KernelAction,
    KernelRoute,
    PutRoute,
    PutRule,
    RouteKind,
    SourceRule,
)
from anycastd.reconcile.kernel import diff, held
from tests.lab.kernel_world import (
    CONFIG,
    EIP,
    FAR,
    RULES,
    SOME,
    WANTED,
    Heard,
    World,
    as_wanted,
    hole,
    measured,
    over,
    run,
    started,
    until,
    world,
)

pytestmark = pytest.mark.lab

__all__ = ["world"]


async def test_what_was_put_is_read_back_equal_and_goes_again(world: World) -> None:
    heard = Heard()
    async with started(world, heard) as kernel:
        assert kernel.observed.routes == frozenset()
        await as_wanted(kernel, WANTED)
        await kernel.refresh()
        assert (kernel.observed.routes, kernel.observed.rules) == (WANTED, RULES)
        there = {
            (r["dst"], r.get("type", "unicast"), r.get("dev")) for r in world.routes("table", "main", "proto", "201")
        }
        assert there == {
            ("203.0.113.0/24", "unicast", "ta"),
            ("203.0.113.0/24", "blackhole", None),
            ("2001:db8:9::/48", "unicast", "ta"),
            ("2001:db8:9::/48", "blackhole", "lo"),
        }
        assert "1300:\tfrom 10.9.1.1 lookup 1300 proto 201" in world.ip("rule")
        seen = kernel.observed
        kernel.apply([PutRoute(route) for route in WANTED] + [PutRule(rule) for rule in RULES])
        await kernel.refresh()
        assert kernel.observed is seen, "doing it again changes nothing"
        gone: list[KernelAction] = [DeleteRule(rule) for rule in RULES]
        kernel.apply(gone + [DeleteRoute(route) for route in WANTED])
        await until("all gone", 2, lambda: not kernel.observed.routes and not kernel.observed.rules)
        assert world.routes("table", "all", "proto", "201") == []
        assert "proto 201" not in world.ip("rule") + world.ip("-6", "rule")
        assert heard.refused == []


@pytest.mark.parametrize("version", [4, 6])
async def test_moving_to_another_tunnel_loses_no_packet(world: World, version: int) -> None:
    target, source = ("203.0.113.1", "192.0.2.1") if version == 4 else ("2001:db8:9::1", "2001:db8:1::1")
    async with started(world) as kernel:
        await as_wanted(kernel, frozenset({hole(version), over("ta", version)}), frozenset())
        for device in ("tb", "ta"):
            # neighbors resolved before, as on a tunnel that is checked
            run("ip", "netns", "exec", world.pop, "ping", "-c1", "-W2", FAR[version][device])
        words = ["netns", "exec", world.pop, "ping", "-I", source, "-i", "0.01", "-c", "150", "-q", target]
        ping = await asyncio.create_subprocess_exec("ip", *words, stdout=asyncio.subprocess.PIPE)
        for device in ("tb", "ta") * 5:
            await asyncio.sleep(0.1)
            await as_wanted(kernel, frozenset({hole(version), over(device, version)}), frozenset())
        said = (await asyncio.wait_for(ping.communicate(), 15))[0].decode()
        assert re.search(r"150 packets transmitted, 150 received", said), said


async def test_a_device_that_goes_down_takes_its_routes_along_and_gets_them_back(world: World) -> None:
    heard = Heard()
    async with started(world, heard) as kernel:
        await as_wanted(kernel, WANTED)
        heard.links.clear()
        left = frozenset(route for route in WANTED if route.device is None)
        begun_s = time.monotonic()
        world.ip("link", "set", "ta", "down")
        took_s = await until("routes gone", 1, lambda: kernel.observed.routes == left)
        assert "ta" in heard.links[0][1]
        print(f"link event {(heard.links[0][0] - begun_s) * 1e3:.1f} ms after the command began; took {took_s:.3f} s")
        assert {one.route for one in held(WANTED, kernel.observed)} == WANTED - left
        assert diff(WANTED, RULES, kernel.observed) == ()
        world.ip("link", "set", "ta", "up")
        await until("up is seen", 1, lambda: kernel.observed.links["ta"].admin_up)
        print(f"put back in {await as_wanted(kernel, WANTED) * 1e3:.1f} ms")
        assert ip_address("fd09:1::1") in kernel.observed.links["ta"].addresses
        await kernel.refresh()
        assert kernel.observed.routes == WANTED


async def test_loss_of_carrier_is_heard_at_once_and_keeps_the_routes(world: World) -> None:
    heard = Heard()
    async with started(world, heard) as kernel:
        await as_wanted(kernel, WANTED)
        took_ms = []
        for _ in range(5):
            process = await asyncio.create_subprocess_exec("ip", "-n", world.far, "link", "set", "fa", "down")
            begun_s = time.monotonic()
            await until("carrier lost", 2, lambda: not kernel.observed.links["ta"].carrier)
            took_ms.append((time.monotonic() - begun_s) * 1e3)
            await process.wait()
            assert not kernel.observed.links["ta"].usable
            assert kernel.observed.links["ta"].admin_up
            world.far_ip("link", "set", "fa", "up")
            await until("carrier back", 2, lambda: kernel.observed.links["ta"].usable)
        print("carrier loss to on_links, with the start of ip:", ", ".join(f"{one:.1f}" for one in took_ms), "ms")
        assert min(took_ms) < 150
        await kernel.refresh()
        assert kernel.observed.routes == WANTED


async def test_addresses_are_followed_and_the_last_takes_ipv4_routes_along(world: World) -> None:
    heard = Heard()
    async with started(world, heard) as kernel:
        await as_wanted(kernel, WANTED)
        ours = {route for route in WANTED if route.device == "ta" and route.prefix.version == 4}
        world.ip("addr", "del", "10.9.1.1/24", "dev", "ta")
        gone = ip_address("10.9.1.1")
        await until("address gone", 1, lambda: gone not in kernel.observed.links["ta"].addresses)
        await until("routes gone, silently", 1, lambda: not ours & (kernel.observed.routes or frozenset()))
        world.ip("addr", "add", "10.9.1.1/24", "dev", "ta")
        await until("address back", 1, lambda: gone in kernel.observed.links["ta"].addresses)
        await as_wanted(kernel, WANTED)


async def test_what_others_take_away_comes_back_and_what_is_theirs_stays(world: World) -> None:
    heard = Heard()
    world.ip("route", "add", "blackhole", "198.51.100.0/24", "proto", "static")
    world.ip("route", "add", "198.51.101.0/24", "via", "10.9.1.2", "proto", "bird")
    world.ip("rule", "add", "from", "10.9.9.9", "lookup", "77", "pref", "1300")
    theirs = [route for route in world.routes("table", "all") if route.get("protocol") != "201"]
    rules = world.ip("rule")
    async with started(world, heard) as kernel:
        assert kernel.observed.routes == frozenset()
        assert kernel.observed.rules == frozenset()
        await as_wanted(kernel, WANTED)
        world.ip("route", "del", "203.0.113.0/24", "via", "10.9.1.2", "dev", "ta")
        world.ip("-6", "route", "del", "blackhole", "2001:db8:9::/48", "metric", str(CONFIG.blackhole_metric))
        world.ip("rule", "del", "pref", "1300", "from", "10.9.1.1")
        await until("seen", 1, lambda: len(kernel.observed.routes or ()) == len(WANTED) - 2)
        await until("seen", 1, lambda: len(kernel.observed.rules) == 1)
        await as_wanted(kernel, WANTED)
        await kernel.purge()
        assert world.routes("table", "all", "proto", "201") == []
        assert [route for route in world.routes("table", "all") if route.get("protocol") != "201"] == theirs
        assert world.ip("rule") == rules


@pytest.mark.parametrize("version", [4, 6])
async def test_a_foreign_route_in_our_place_is_not_replaced(world: World, version: int) -> None:
    heard = Heard()
    far = FAR[version]["tb"]
    world.ip("route", "add", EIP[version], "via", far, "dev", "tb", "metric", "100", "proto", "static")
    async with started(world, heard) as kernel:
        route = over("ta", version)
        kernel.apply([PutRoute(hole(version)), PutRoute(route)])
        await until("refused", 2, lambda: heard.refused)
        assert "another program's route" in str(heard.refused[0][1])
        await until("the other is there", 1, lambda: kernel.observed.routes == frozenset({hole(version)}))
        assert [one["dev"] for one in world.routes() if one["dst"] == EIP[version] and one["metric"] == 100] == ["tb"]
        world.ip("route", "del", EIP[version], "dev", "tb", "metric", "100")
        await as_wanted(kernel, frozenset({hole(version), route}), frozenset())
        assert heard.refused[-1] == (heard.refused[0][0], None)


async def test_the_same_rule_of_another_program_is_neither_taken_for_ours_nor_removed(world: World) -> None:
    heard = Heard()
    world.ip("rule", "add", "from", "10.9.1.1", "lookup", "1300", "pref", "1300", "proto", "static")
    rule = SourceRule(ip_address("10.9.1.1"), 1300, 1300)
    async with started(world, heard) as kernel:
        assert kernel.observed.rules == frozenset()
        await as_wanted(kernel, frozenset(), frozenset({rule}))
        await kernel.purge()
        assert "from 10.9.1.1 lookup 1300 proto static" in world.ip("rule")
        assert "proto 201" not in world.ip("rule")
        assert heard.refused == []


async def test_odd_routes_of_our_protocol_are_replaced_or_removed(world: World) -> None:
    for version, option in ((4, "-4"), (6, "-6")):
        hops = [word for device in ("ta", "tb") for word in ("nexthop", "via", FAR[version][device], "dev", device)]
        other = "198.18.0.0/24" if version == 4 else "2001:db8:18::/48"
        world.ip(option, "route", "add", EIP[version], "metric", "100", "proto", "201", *hops)
        world.ip(option, "route", "add", other, "metric", "7", "proto", "201", *hops)
        world.ip(option, "route", "add", "unreachable", other, "metric", "8", "proto", "201")
    async with started(world) as kernel:
        assert len(kernel.observed.routes or ()) == 6
        await as_wanted(kernel, WANTED)
        await kernel.refresh()
        assert kernel.observed.routes == WANTED


async def test_a_missing_or_fallen_device_is_refused_in_words(world: World) -> None:
    heard = Heard()
    async with started(world, heard) as kernel:
        missing = KernelRoute(
            ip_network("203.0.113.9/32"), RouteKind.UNICAST, 100, via=ip_address("10.9.1.2"), device="tx"
        )
        world.ip("link", "set", "tb", "down")
        kernel.apply([PutRoute(missing), PutRoute(over("tb", 4)), PutRoute(hole(4))])
        await until("the rest is done", 2, lambda: kernel.observed.routes == frozenset({hole(4)}))
        said = {subject: str(detail) for subject, detail in heard.refused}
        assert "device does not exist" in said["unicast 203.0.113.9/32 metric 100 table 254"]
        assert "ENETDOWN" in said["unicast 203.0.113.0/24 metric 100 table 254"]
        kernel.apply([])
        assert [subject for subject, detail in heard.refused if detail is None] == sorted(said), "given up, so settled"


async def test_tunnel_devices_come_go_and_change_their_name(world: World) -> None:
    async with started(world) as kernel:
        world.ip(
            "link",
            "add",
            "vx",
            "type",
            "vxlan",
            "id",
            "7",
            "dstport",
            "4789",
            "local",
            "10.9.1.1",
            "remote",
            "10.9.1.2",
        )
        world.ip("link", "set", "vx", "up")
        route = KernelRoute(ip_network(EIP[4]), RouteKind.UNICAST, 100, via=ip_address("10.9.7.2"), device="vx")
        await until("vxlan is up", 2, lambda: "vx" in kernel.observed.links and kernel.observed.links["vx"].usable)
        await as_wanted(kernel, frozenset({route}), frozenset())
        world.ip("link", "set", "vx", "down")
        world.ip("link", "set", "vx", "name", "vy")
        world.ip("link", "set", "vy", "up")
        await until("renamed", 2, lambda: "vy" in kernel.observed.links and "vx" not in kernel.observed.links)
        renamed = KernelRoute(route.prefix, route.kind, route.metric, via=route.via, device="vy")
        await as_wanted(kernel, frozenset({renamed}), frozenset())
        world.ip("link", "del", "vy")
        await until("gone with its routes", 1, lambda: kernel.observed.routes == frozenset())
        assert "vy" not in kernel.observed.links


async def test_an_overflowing_event_socket_is_opened_anew_and_nothing_is_missed(world: World) -> None:
    heard = Heard()
    async with started(world, heard, receive_bytes=1) as kernel:
        lines = "".join(f"route add blackhole 198.18.{n >> 8}.{n & 255}/32 proto 201\n" for n in range(2000))
        run("ip", "-n", world.pop, "-batch", "-", text=lines + "link set tb down\n")
        await until("all seen", 10, lambda: len(kernel.observed.routes or ()) == 2000)
        await until("the link too", 5, lambda: not kernel.observed.links["tb"].admin_up)
        assert kernel.reopened >= 1
        await as_wanted(kernel, WANTED)


@pytest.mark.parametrize("seed", range(3))
async def test_after_any_turmoil_the_picture_is_what_the_kernel_has(world: World, seed: int) -> None:
    dice = random.Random(seed)
    pool = [over(d, v, p, m) for d in ("ta", "tb") for m in (100, 200) for v, p in SOME] + [hole(v, p) for v, p in SOME]
    turmoil = [f"link set {device} {state}" for device in ("ta", "tb") for state in ("down", "up", "up")]
    turmoil += ["addr del 10.9.1.1/24 dev ta", "addr add 10.9.1.1/24 dev ta", "-6 route flush proto 201"]
    turmoil += ["route flush proto 201", "-6 route del 2001:db8:9::/48", "route del blackhole 198.18.0.0/24"]
    async with started(world) as kernel:
        for _ in range(60):
            goal = {route.key: route for route in dice.sample(pool, 8)}
            kernel.apply(diff(frozenset(goal.values()), frozenset(), kernel.observed))
            await asyncio.sleep(dice.choice((0, 0.001, 0.005)))
            # what cannot be done at this moment is no failure
            words = ["ip", "-n", world.pop, *dice.choice(turmoil).split()]
            process = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.DEVNULL)
            await process.wait()
        kernel.apply([])
        async with started(world) as fresh:

            async def same() -> bool:
                await fresh.refresh()
                return fresh.observed == kernel.observed

            end_s = time.monotonic() + 15
            while not await same():
                assert time.monotonic() < end_s, (kernel.observed, fresh.observed)
            assert kernel.reopened == 0


async def test_foreign_routes_in_the_ten_thousands_are_not_even_read(world: World) -> None:
    async with started(world, receive_bytes=65536) as kernel:
        lines = "".join(f"route add blackhole 198.18.{n >> 8}.{n & 255}/32 proto bird\n" for n in range(20000))
        run("ip", "-n", world.pop, "-batch", "-", text=lines)
        world.ip("link", "set", "tb", "down")
        await until("the link event", 1, lambda: not kernel.observed.links["tb"].admin_up)
        assert kernel.reopened == 0
        assert kernel.observed.routes == frozenset()


@pytest.mark.parametrize(("version", "count"), [(4, 10_000), (6, 2_000)])
async def test_ten_thousand_routes(world: World, version: int, count: int) -> None:
    base = int(ip_address("100.64.0.0" if version == 4 else "2001:db8:64::"))

    def route(number: int, device: str) -> KernelRoute:
        prefix = IPv4Network((base + number, 32)) if version == 4 else IPv6Network((base + number, 128))
        return KernelRoute(prefix, RouteKind.UNICAST, 100, MAIN_TABLE, ip_address(FAR[version][device]), device)

    wanted = frozenset(route(number, "ta") for number in range(count))
    moved = wanted - {route(number, "ta") for number in range(1000)} | {route(number, "tb") for number in range(1000)}
    async with started(world) as kernel:
        for what, goal in (("load", wanted), ("move 1000", moved)):
            plan = diff(goal, frozenset(), kernel.observed)
            async with measured(f"IPv{version} {what}"):
                begun_s = time.monotonic()
                kernel.apply(plan)
                # not asked all the time: each answer copies a set of ten thousand
                while kernel.observed.routes is None or not goal <= kernel.observed.routes:
                    assert time.monotonic() - begun_s < 20, what
                    await asyncio.sleep(0.05)
        assert kernel.reopened == 0
        async with measured(f"IPv{version} read all"):
            await kernel.refresh()
        assert kernel.observed.routes == moved
