"""A line that loses packets and a backend that fails every second request: seen, left, and returned to, by no route."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from anycastd.cli.client import ask as ask_api
from tests.lab.chaos import COMMAND, cover, uncover
from tests.lab.fleet import Fleet
from tests.lab.measured import Measured, Row
from tests.lab.topology_facts import (
    PREFIX_A4,
    PREFIX_B6,
    SERVICE,
    SITES,
    UNDERLAY_DEVICE,
    ask,
    gateway_outer,
    make_backend,
)
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

FRA = SITES["fra"]
LOST_PERCENT = 12
# a timeout of three intervals: answers overtake each loss, which must count all the same
QUALITY = "{icmp: {interval: 100ms, timeout: 300ms, rise: 2, fall: 6, window: 50, loss: [5%, 2%], jitter: 1s}}"


def told(world: Fleet, kind: str) -> dict[str, dict[str, Any]]:
    """Ask the API of fra for all tunnels, backends or regions."""
    body = ask_api(f"/proc/{world.lab.pid('fra')}/root/run/anycastd/api.sock", f"/v1/{kind}s")
    return {one[kind]: one for one in body[f"{kind}s"]}


def lossy(world: Fleet, underlay: str, on: bool) -> None:
    """Drop a part of what arrives at fra from eu over one underlay, by chance."""
    device, outer = UNDERLAY_DEVICE[underlay], gateway_outer("eu", underlay)
    rules = "table netdev lab_lossy\ndelete table netdev lab_lossy\n"
    if on:
        rules += (
            "table netdev lab_lossy {\n chain in {\n"
            f'  type filter hook ingress device "{device}" priority -200;\n'
            f"  ip saddr {outer} numgen random mod 100 < {LOST_PERCENT} counter drop\n }}\n}}\n"
        )
    world.lab.exec("fra", "nft", "-f", "-", text=rules, check=True)


@pytest.fixture
def careful(world: Fleet) -> Iterator[Fleet]:
    """The world, with checks of quality on every tunnel of fra."""
    cover(world, "fra", "checks: [link, path]", f"checks: [link, path, {QUALITY}]")
    wait_until(
        "every tunnel is healthy", 15, lambda: {t["health"] for t in told(world, "tunnel").values()} == {"HEALTHY"}
    )
    yield world
    world.heal()
    uncover(world, "fra")
    wait_until(
        "every tunnel is healthy", 15, lambda: {t["health"] for t in told(world, "tunnel").values()} == {"HEALTHY"}
    )


def test_a_tunnel_that_loses_packets_is_left_for_its_twin_and_connections_go_on(
    careful: Fleet, measured: Measured
) -> None:
    world = careful
    present = str(world.path_device("fra", PREFIX_A4))
    underlay = present[-1]
    twin = {"a": "eu-b", "b": "eu-a"}[underlay]
    with world.clients(PREFIX_A4, PREFIX_B6, at=("c-fra",), keep=True, every_ms=20, timeout_ms=5000) as watch:
        at_s = world.hurt(partial(lossy, world, underlay, True), partial(lossy, world, underlay, False))
        wait_until("packets over the twin", 25, lambda: world.path_device("fra", PREFIX_A4) == twin)
        moved_ms = (time.time() - at_s) * 1000
        wait_until("a word on it", 25, lambda: told(world, "tunnel")[f"eu/{underlay}"]["health"] == "DEGRADED")
        tunnel = told(world, "tunnel")[f"eu/{underlay}"]
        assert tunnel["loss_percent"] > 2
        assert (tunnel["reason"], "loss" in tunnel["why"]) == ("check_degraded", True)
        shown = world.lab.exec("fra", COMMAND, "status", check=True).stdout
        assert any("DEGRADED" in line and " % above 5 % for " in line for line in shown.splitlines()), shown
        watch.more()
    rows = watch.seen["c-fra"]
    assert rows
    assert not [one for one in rows if not one.ok], "a connection was lost"
    assert {one.region for one in rows} == {"eu"}
    region = told(world, "region")["eu"]
    assert (region["health"], region["tunnels"]) == ("HEALTHY", {"healthy": 1, "degraded": 1, "total": 2})
    world.expect({})
    assert world.told(FRA, PREFIX_A4, at_s) == (), "no router heard of it"
    gap_ms = max(one.took_ms for one in rows)
    measured.add(Row(f"tunnel loses {LOST_PERCENT} %", "packets to its twin; no route", moved_ms, gap_ms, 0, len(rows)))
    world.heal()
    wait_until("the tunnel is well", 20, lambda: told(world, "tunnel")[f"eu/{underlay}"]["health"] == "HEALTHY")


def left(world: Fleet, backend: str) -> bool:
    """Return whether the client of fra is served, and no more by this backend, over forty connections."""
    rows = ask(world.lab, "c-fra", SERVICE[PREFIX_A4], options=("--count", "40", "--every-ms", "1"))
    return all(one.ok and f"{one.region}/{one.backend}" != backend for one in rows)


def serves(world: Fleet, backend: str) -> bool:
    """Return whether the client of fra is served by this backend among others; who served it is told if not."""
    rows = ask(world.lab, "c-fra", SERVICE[PREFIX_A4], options=("--count", "40", "--every-ms", "1"))
    seen = {f"{one.region}/{one.backend}" for one in rows if one.ok}
    assert backend in seen, seen
    return True


def test_a_backend_that_fails_every_second_request_is_left_once(world: Fleet, measured: Measured) -> None:
    """Two in a row never fail, so that no streak is ever seen: the share of failures tells."""
    # a backend behind the line that lost packets may have been left for that
    wait_until("eu/b1 serves", 20, lambda: serves(world, "eu/b1"))
    at_s = world.hurt(
        lambda: make_backend(world.lab, "eu-b1", "brownout"), lambda: make_backend(world.lab, "eu-b1", "normal")
    )
    wait_until("packets leave eu/b1", 20, partial(left, world, "eu/b1"))
    moved_ms = (time.time() - at_s) * 1000
    # packets leave when the check through the tunnel in use says so; the backend is bad when the other one does too
    wait_until("a word on it", 10, lambda: told(world, "backend")["eu/b1"]["health"] == "UNHEALTHY")
    backend = told(world, "backend")["eu/b1"]
    assert (backend["health"], backend["reason"]) == ("UNHEALTHY", "too_many_failures")
    assert "above 40 %" in backend["why"]
    with world.clients(PREFIX_A4, at=("c-fra",)) as watch:
        watch.more(30)
    assert {(one.ok, one.backend) for one in watch.seen["c-fra"]} == {(True, "b2")}
    assert told(world, "backend")["eu/b1"]["since"] == backend["since"], "it flapped"
    world.expect({})
    assert world.told(FRA, PREFIX_A4, at_s) == (), "no router heard of it"
    measured.add(Row("backend brownout", "its EIPs' packets to the other backend; no route", moved_ms, None, 0, 0))
    world.heal()
    wait_until("the backend is well", 20, lambda: told(world, "backend")["eu/b1"]["health"] == "HEALTHY")
