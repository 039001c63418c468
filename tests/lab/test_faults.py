"""Faults in the world, judged from outside: what routers have, what clients get, and that nothing else moved."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

import pytest

from tests.lab.fleet import ABSENT, BACKENDS, DEPREF, Fleet
from tests.lab.measured import Measured, Row
from tests.lab.topology_facts import (
    PREFIX_A4,
    PREFIX_A6,
    PREFIX_B4,
    PREFIX_B6,
    PREFIXES,
    SERVICE,
    SITES,
    UNDERLAY_DEVICE,
    ask,
    cut_tunnel,
    heal_tunnels,
    make_backend,
)
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

A, B = (PREFIX_A4, PREFIX_A6), (PREFIX_B4, PREFIX_B6)
FRA = SITES["fra"]


def gone(*pops: str) -> dict[tuple[str, str], str]:
    """What routers have of POPs that cannot serve: A is withdrawn, B stays, depreferenced."""
    return {(pop, p): ABSENT for pop in pops for p in A} | {(pop, p): DEPREF for pop in pops for p in B}


def served_by(world: Fleet, client: str, prefix: str) -> str | None:
    """Return the region that answers a client now."""
    (answer,) = ask(world.lab, client, SERVICE[prefix])
    return answer.region if answer.ok else None


def test_each_client_is_served_over_its_nearest_pop(world: Fleet) -> None:
    wanted = {"c-fra": "eu", "c-sin": "eu", "c-iad": "us"}
    for client, region in wanted.items():
        for prefix in PREFIXES:
            wait_until(f"{client} served from {region}", 5, partial(is_served_by, world, client, prefix, region))


def is_served_by(world: Fleet, client: str, prefix: str, region: str) -> bool:
    """Return whether this region answers a client now."""
    found = served_by(world, client, prefix)
    assert found == region, found
    return True


def leaves_to(world: Fleet, pop: str, prefix: str, region: str) -> bool:
    """Return whether a POP's packets for a prefix leave for this region."""
    return world.region(pop, prefix) == region


def eu_device(world: Fleet) -> tuple[str, str]:
    """Return the device by which fra's packets leave for eu now, and the other one."""
    wait_until("packets to eu", 10, partial(leaves_to, world, "fra", PREFIX_A4, "eu"))
    present = str(world.path_device("fra", PREFIX_A4))
    return present, "eu-b" if present == "eu-a" else "eu-a"


@dataclass(frozen=True)
class Sick:
    mode: str
    detected_within_s: float


SICK = [Sick("refuse", 1.5), Sick("silent", 2.0), Sick("error500", 1.5), Sick("slow:2000", 2.0)]


def left(world: Fleet, prefix: str, backend: str) -> bool:
    """Return whether the client of fra is served, and no more by this backend, over forty connections."""
    rows = ask(world.lab, "c-fra", SERVICE[prefix], options=("--count", "40", "--every-ms", "1"))
    return all(one.ok and f"{one.region}/{one.backend}" != backend for one in rows)


@pytest.mark.parametrize("sick", SICK, ids=lambda sick: sick.mode)
def test_a_sick_backend_moves_packets_to_the_other_one_and_no_route(
    world: Fleet, measured: Measured, sick: Sick
) -> None:
    with world.clients(PREFIX_A4, PREFIX_B6) as watch:
        at_s = world.hurt(
            lambda: make_backend(world.lab, "eu-b1", sick.mode), lambda: make_backend(world.lab, "eu-b1", "normal")
        )
        wait_until("packets leave eu/b1", sick.detected_within_s + 2, partial(left, world, PREFIX_A4, "eu/b1"))
        moved_ms = (time.time() - at_s) * 1000
        watch.more()
        world.expect({})
    for pop in ("fra", "sin", "iad"):
        for prefix in PREFIXES:
            assert world.told(SITES[pop], prefix, at_s) == (), "no router heard of it"
    last = [one for one in watch.of("c-fra", PREFIX_A4)][-10:]
    assert {(one.region, one.backend) for one in last} == {("eu", "b2")}
    last = [one for one in watch.of("c-fra", PREFIX_B6)][-10:]
    assert {one.region for one in last} == {"us"}, "it is bound to one backend of each region"
    assert watch.lost("c-iad", PREFIX_A4) == 0
    rows = watch.of("c-fra", PREFIX_A4)
    gap_ms = watch.gap_ms("c-fra", PREFIX_A4)
    measured.add(
        Row(
            f"backend {sick.mode}",
            "its EIPs' packets to the other backend; no route",
            moved_ms,
            gap_ms,
            watch.lost("c-fra", PREFIX_A4),
            len(rows),
        )
    )
    world.heal()
    wait_until("packets back to eu", 5, lambda: world.region("fra", PREFIX_B6) == "eu")


def test_all_backends_of_a_region_move_packets_and_no_route(world: Fleet) -> None:
    def all_eu(mode: str) -> None:
        for backend in ("eu-b1", "eu-b2"):
            make_backend(world.lab, backend, mode)

    at_s = world.hurt(lambda: all_eu("refuse"), lambda: all_eu("normal"))
    for pop in ("fra", "sin"):
        wait_until(f"packets of {pop} to us", 5, partial(leaves_to, world, pop, PREFIX_A6, "us"))
    world.expect({})
    assert world.told(FRA, PREFIX_A4, at_s) == ()


def test_with_no_backend_anywhere_a_is_withdrawn_and_b_stays_depreferenced(world: Fleet, measured: Measured) -> None:
    def everywhere(mode: str) -> None:
        for backend in BACKENDS:
            make_backend(world.lab, backend, mode)

    at_s = world.hurt(lambda: everywhere("error500"), lambda: everywhere("normal"))
    world.expect(gone("fra", "sin", "iad"))
    for site in SITES.values():
        first_ms = world.told(site, PREFIX_A4, at_s)[0]
        measured.add(Row("no backend anywhere", f"A and B depreferenced at t-{site.pop}", first_ms, None, 0, 0))
    world.heal()
    world.wait_normal()


def test_a_silently_cut_tunnel_moves_packets_and_connections_go_on(world: Fleet, measured: Measured) -> None:
    eu_device(world)
    with world.clients(PREFIX_A4, PREFIX_B6, at=("c-fra",), keep=True, every_ms=20, timeout_ms=5000) as watch:
        present, at_s = world.cut_best("fra", PREFIX_A4)
        other = "eu-b" if present == "eu-a" else "eu-a"
        wait_until("packets over the other", 5, lambda: world.path_device("fra", PREFIX_A4) == other)
        moved_ms = (time.time() - at_s) * 1000
        watch.more()
    rows = watch.seen["c-fra"]
    assert rows
    assert not [one for one in rows if not one.ok], "the connection was lost"
    assert {one.region for one in rows} == {"eu"}
    world.expect({})
    assert world.told(FRA, PREFIX_A4, at_s) == ()
    gap_ms = max(one.took_ms for one in rows)
    assert gap_ms > 100, "the cut was felt, or nothing was shown"
    measured.add(Row("tunnel cut silently", "packets to its twin; no route", moved_ms, gap_ms, 0, len(rows)))


def test_a_tunnel_device_that_goes_down_is_left_at_once(world: Fleet, measured: Measured) -> None:
    present, other = eu_device(world)

    def device(state: str) -> None:
        world.lab.exec("fra", "ip", "link", "set", present, state, check=True)

    with world.clients(PREFIX_A4, PREFIX_A6, every_ms=20) as watch:
        at_s = world.hurt(partial(device, "down"), partial(device, "up"))
        wait_until("packets over the other", 3, lambda: world.path_device("fra", PREFIX_A6) == other)
        watch.more(50)
    rows, gap_ms = watch.of("c-fra", PREFIX_A4), watch.gap_ms("c-fra", PREFIX_A4)
    lost = watch.lost("c-fra", PREFIX_A4)
    measured.add(Row("tunnel device down", "packets to its twin; no route", None, gap_ms, lost, len(rows)))
    assert world.told(FRA, PREFIX_A4, at_s) == ()
    world.heal()
    device_of = {prefix: other for prefix in (PREFIX_A4, PREFIX_A6)}
    assert all(world.path_device("fra", prefix) in (device_of[prefix], present) for prefix in device_of)


def test_an_underlay_without_carrier_moves_both_regions_tunnels(world: Fleet) -> None:
    present, other = eu_device(world)
    switch = f"bb-{present[-1]}"
    at_s = world.hurt(partial(world.lab.link_down, switch, "eth1"), partial(world.lab.link_up, switch, "eth1"))
    wait_until("packets over the other", 5, lambda: world.path_device("fra", PREFIX_B4) == other)
    world.expect({})
    assert world.told(FRA, PREFIX_B4, at_s) == ()


def test_all_tunnels_of_a_region_move_packets_to_the_other_region(world: Fleet) -> None:
    for underlay in UNDERLAY_DEVICE:
        at_s = world.hurt(
            partial(cut_tunnel, world.lab, "fra", "eu", underlay), partial(heal_tunnels, world.lab, "fra", underlay)
        )
    wait_until("packets to us", 5, lambda: world.region("fra", PREFIX_B6) == "us")
    world.expect({})
    assert world.told(FRA, PREFIX_B6, at_s) == ()
    wait_until("served from us", 5, lambda: served_by(world, "c-fra", PREFIX_B6) == "us")


def test_an_isolated_pop_leaves_with_a_and_stays_behind_with_b(world: Fleet, measured: Measured) -> None:
    def isolate() -> None:
        for device in UNDERLAY_DEVICE.values():
            world.lab.cut("fra", device)

    def join() -> None:
        for device in UNDERLAY_DEVICE.values():
            world.lab.heal("fra", device)

    with world.clients(PREFIX_A4, PREFIX_B4, PREFIX_A6, PREFIX_B6) as watch:
        at_s = world.hurt(isolate, join)
        world.expect(gone("fra"))
        watch.more()
    for prefix in PREFIXES:
        times_ms = world.told(FRA, prefix, at_s)
        kind = "withdrawn" if prefix in A else "depreferenced, stays"
        measured.add(
            Row(
                f"POP isolated, {prefix}",
                f"{kind} at t-fra only",
                times_ms[0],
                watch.gap_ms("c-fra", prefix),
                watch.lost("c-fra", prefix),
                len(watch.of("c-fra", prefix)),
            )
        )
        assert watch.of("c-fra", prefix)[-1].ok, "clients of fra are served by another POP"
        for pop in ("sin", "iad"):
            assert world.told(SITES[pop], prefix, at_s) == ()
            assert watch.lost(SITES[pop].client, prefix) == 0
    world.heal()
    world.wait_normal()


def test_an_uplink_that_goes_down_is_somebody_elses_to_serve(world: Fleet, measured: Measured) -> None:
    with world.clients(PREFIX_A4, PREFIX_B6) as watch:
        world.hurt(lambda: world.lab.link_down("t-fra", "eth1"), lambda: world.lab.link_up("t-fra", "eth1"))
        wait_until("client of fra is served again", 10, lambda: served_by(world, "c-fra", PREFIX_A4) is not None)
        watch.more()
    rows = watch.of("c-fra", PREFIX_A4)
    assert rows[-1].ok
    measured.add(
        Row(
            "uplink down",
            "session lost at t-fra",
            None,
            watch.gap_ms("c-fra", PREFIX_A4),
            watch.lost("c-fra", PREFIX_A4),
            len(rows),
        )
    )
    assert watch.lost("c-sin", PREFIX_A4) == 0
    world.heal()
    world.wait_normal()
