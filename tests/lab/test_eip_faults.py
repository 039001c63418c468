"""Faults under EIPs with traffic: how long a client that sends every 10 ms goes unserved, and what goes on."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from functools import partial

import pytest

from tests.lab.eip_load import BUSY, dripping, each_mode, loaded, row
from tests.lab.eip_stage import BOTH, POP, Answers, Stage
from tests.lab.measured import Measured, Row
from tests.lab.topology_facts import (
    PREFIX_A4,
    PREFIX_A6,
    SERVICE,
    UNDERLAY_DEVICE,
    cut_tunnel,
    heal_tunnels,
    make_backend,
    start_backend,
)
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]


def best_of(stage: Stage) -> str:
    """Return the device by which packets leave for eu."""
    return wait_until("a device", 5, lambda: stage.world.path_device(POP, PREFIX_A4))


def test_a_silently_cut_tunnel_is_left_and_connections_of_all_modes_go_on(stage: Stage, measured: Measured) -> None:
    eips = each_mode(stage, *BOTH)
    with loaded(stage, [eips[1]], eips) as load:
        present, at_s = stage.world.cut_best(POP, PREFIX_A4)
        wait_until("the other tunnel", 5, lambda: stage.world.path_device(POP, PREFIX_A4) != present)
        moved_ms = (time.time() - at_s) * 1000
        load.more()
    slowest_ms = []
    for address in eips:
        rows = load.kept.of(address).all_ok()
        assert set(rows.by()) == {"eu/b1"}
        slowest_ms.append(max(one.took_ms for one in rows.rows))
    # the other family may have taken the other tunnel before
    assert sum(one > 100 for one in slowest_ms) >= len(eips) // 2, f"the cut was not felt: {slowest_ms}"
    measured.add(row(load, eips[1], "EIP: tunnel cut silently", "its packets to the twin, connections go on", moved_ms))
    assert load.gap_ms(eips[1]) < BUSY * 1500


def test_a_tunnel_device_that_goes_down_costs_almost_nothing(stage: Stage, measured: Measured) -> None:
    eips = each_mode(stage, *BOTH)
    present = best_of(stage)
    set_link = partial(stage.lab.exec, POP, "ip", "link", "set", present)
    with loaded(stage, [eips[1]], eips) as load:
        stage.world.hurt(partial(set_link, "down", check=True), partial(set_link, "up"))
        wait_until("the other tunnel", 3, lambda: stage.world.path_device(POP, PREFIX_A6) not in (present, None))
        load.more()
    for address in eips:
        assert set(load.kept.of(address).all_ok().by()) == {"eu/b1"}
    measured.add(row(load, eips[1], "EIP: tunnel device down", "its packets to the twin, connections go on"))
    # of those sent each 10 ms: before the kernel, and then the daemon, have taken notice
    assert load.lost(eips[1]) <= BUSY * 2


def test_an_underlay_without_carrier_is_left_and_connections_go_on(stage: Stage, measured: Measured) -> None:
    eips = each_mode(stage, *BOTH)
    present = best_of(stage)
    far = f"bb-{present[-1]}", "eth1"
    carrier = f"/sys/class/net/{UNDERLAY_DEVICE[present[-1]]}/carrier"
    with loaded(stage, [eips[1], eips[4]], eips) as load:
        at_s = stage.world.hurt(partial(stage.lab.link_down, *far), partial(stage.lab.link_up, *far))
        assert stage.lab.exec(POP, "cat", carrier, check=True).stdout == "0\n"
        for prefix in (PREFIX_A4, PREFIX_A6):
            wait_until("the other tunnel", 5, lambda p=prefix: stage.world.path_device(POP, p) not in (present, None))  # type: ignore[misc]
        moved_ms = (time.time() - at_s) * 1000
        load.more()
    for address in eips:
        assert set(load.kept.of(address).all_ok().by()) == {"eu/b1"}
    for address in (eips[1], eips[4]):
        assert Answers(load.fresh.of(address).rows[-20:]).all_ok()
        what = f"IPv{6 if ':' in address else 4}: to the twin, connections go on"
        measured.add(row(load, address, "EIP: underlay without carrier", what, moved_ms))
        assert load.gap_ms(address) < BUSY * 1500


CONFIGURATION = "/etc/anycastd/anycastd.yaml"


def reload_with(stage: Stage, change: Callable[[str], str]) -> None:
    """Let the POP read a changed configuration until the end of the test."""
    text = stage.lab.exec(POP, "cat", CONFIGURATION, check=True).stdout
    changed = change(text)
    assert changed != text
    stage.lab.exec(POP, "tee", "/run/changed.yaml", text=changed, check=True)
    stage.lab.exec(POP, "mount", "--bind", "/run/changed.yaml", CONFIGURATION, check=True)

    def back() -> None:
        stage.lab.exec(POP, "umount", CONFIGURATION, check=True)
        stage.status_of("POST", "/v1/reload")

    stage.world.undo.append(back)
    status, said = stage.status_of("POST", "/v1/reload")
    assert status == 200, said


def test_without_a_return_path_masqueraded_connections_are_reset_at_a_change_of_tunnel_and_no_others(
    stage: Stage, measured: Measured
) -> None:
    hidden, shown = ([stage.bound(version, "eu/b1", mode=mode) for version in BOTH] for mode in ("masquerade", "dnat"))
    reload_with(stage, lambda text: text.replace("    return_path: gateway\n", "", 1))
    with loaded(stage, hidden, [*hidden, *shown]) as load:
        present = best_of(stage)
        # a family may have the other tunnel
        moves = [stage.world.path_device(POP, prefix) == present for prefix in (PREFIX_A4, PREFIX_A6)]
        set_link = partial(stage.lab.exec, POP, "ip", "link", "set", present)
        stage.world.hurt(partial(set_link, "down", check=True), partial(set_link, "up"))
        wait_until("the other tunnel", 3, lambda: stage.world.path_device(POP, PREFIX_A6) not in (present, None))
        load.more()
    for address in shown:
        load.kept.of(address).all_ok()
    for address, moved in zip(hidden, moves, strict=True):
        ends = [one.error for one in load.kept.of(address).rows if not one.ok]
        assert set(ends) <= {"ConnectionResetError", "IncompleteReadError"}, ends
        assert ends or not moved, address
        assert Answers(load.fresh.of(address).rows[-20:]).all_ok()
    fault = "EIP: tunnel device down, `return_path: address`"
    measured.add(row(load, hidden[0], fault, "masqueraded connections are reset, others go on"))


def kill_server(stage: Stage, node: str) -> None:
    """Kill a backend's server."""
    (pid,) = [int(one) for one in stage.lab.exec(node, "pgrep", "-f", "^python3 -S /lab/backend.py").stdout.split()]
    stage.lab.kill(node, pid, signal.SIGKILL)
    stage.world.undo.append(partial(start_backend, stage.lab, node))


@pytest.mark.parametrize("version", BOTH)
def test_a_killed_backend_costs_its_share_until_its_checks_fail(stage: Stage, measured: Measured, version: int) -> None:
    address = stage.bound(version, "eu/b1", "eu/b2", "us/b1@2")
    with loaded(stage, [address], []) as load:
        kill_server(stage, "eu-b1")
        load.felt()
        load.more()
    rows = load.fresh.rows
    assert set(Answers(rows[-20:]).all_ok().by()) == {"eu/b2"}
    failed = [one.sent_s for one in rows if not one.ok]
    took_ms = (failed[-1] - failed[0]) * 1000
    measured.add(row(load, address, f"EIP: backend killed, IPv{version}", "all its packets to the other", took_ms))
    assert took_ms < BUSY * 1500
    assert load.gap_ms(address) < BUSY * 500, "the other backend serves its share all the while"


def test_a_killed_region_is_left_for_the_other(stage: Stage, measured: Measured) -> None:
    eips = [stage.bound(version, "eu/b1", "eu/b2", "us/b1", "us/b2") for version in BOTH]
    with loaded(stage, eips, []) as load:
        for underlay in UNDERLAY_DEVICE:
            stage.world.hurt(
                partial(cut_tunnel, stage.lab, POP, "eu", underlay), partial(heal_tunnels, stage.lab, POP, underlay)
            )
        load.felt()
        load.more()
    for address in eips:
        assert Answers(load.fresh.of(address).rows[-20:]).all_ok().share("us") == 100
        measured.add(row(load, address, "EIP: region cut off silently", f"{address}: all to the other region"))
        assert load.gap_ms(address) < BUSY * 2000


def kill_pop(stage: Stage) -> None:
    """Kill all that runs at the POP, and its routers."""
    stage.lab.exec(POP, "touch", "/run/no-restart", check=True)

    def of_ours() -> list[str]:
        return stage.lab.exec(POP, "pgrep", "-f", "anycastd run -c|exabgp server|bridge.py").stdout.split()

    found = of_ours()
    assert found
    # one that ends with another is gone before it is its turn
    stage.lab.exec(POP, "kill", "-9", *found)
    wait_until("none of them runs", 5, lambda: not of_ours())


def revive_pop(stage: Stage) -> None:
    stage.lab.exec(POP, "rm", "-f", "/run/no-restart", check=True)


@pytest.mark.parametrize("light", ["lost", pytest.param("kept", marks=pytest.mark.soak)])
def test_a_dead_pop_is_replaced_by_another(stage: Stage, measured: Measured, light: str) -> None:
    # EIPs of the file stand at every POP
    eips = [SERVICE[PREFIX_A4], SERVICE[PREFIX_A6]]
    with loaded(stage, eips, []) as load:
        if light == "lost":
            stage.world.hurt(lambda: stage.lab.link_down("t-fra", "eth1"), lambda: stage.lab.link_up("t-fra", "eth1"))
        else:
            for device in ("eth1", "eth2", "eth3"):
                stage.world.hurt(partial(stage.lab.cut, POP, device), partial(stage.lab.heal, POP, device))
        # after its links: a machine without power closes no session
        stage.world.hurt(partial(kill_pop, stage), partial(revive_pop, stage))
        load.felt()
        load.more()
    for address in eips:
        assert Answers(load.fresh.of(address).rows[-20:]).all_ok()
        changed = "served by another POP once the router sees it"
        measured.add(row(load, address, f"EIP: POP killed, light {light}, {address}", changed))
        # the hold time is 9 s
        assert load.gap_ms(address) < (BUSY * 4000 if light == "lost" else 9000 + BUSY * 3000)
    stage.world.heal()
    stage.world.wait_normal()


def test_connections_of_a_bad_backend_are_reset_at_once_and_no_others(stage: Stage, measured: Measured) -> None:
    two = [stage.bound(version, "eu/b1", "eu/b2", mode=mode) for version in BOTH for mode in ("dnat", "masquerade")]
    # a gateway has one way to an EIP, and all connections go to the first region
    eips = [*two, *(stage.bound(version, "eu/b1", "us/b1", mode="routed") for version in BOTH)]
    each = (f"{address}*2" if address in two else address for address in eips)
    one = dripping(stage, *each, until=4 * len(eips))
    at_s = time.monotonic()
    # the server goes on to take bytes, and its machine would never reset anything: only its checks fail
    stage.world.hurt(
        lambda: make_backend(stage.lab, "eu-b1", "silent"), lambda: make_backend(stage.lab, "eu-b1", "normal")
    )
    said = [json.loads(line) for line in one.communicate(timeout=60)[0].splitlines()]
    assert len(said) == 4 * (len(two) + len(eips))
    ill, well = ([row for row in said if (row["backend"] == "eu/b1") is bad] for bad in (True, False))
    assert all(sum(row["to"] == to for row in ill) == 4 for to in eips), "connections of every mode and family"
    assert not [row for row in well if row["reset_s"] is not None], "none of the other backend's"
    hang = [row for row in ill if row["reset_s"] is None]
    assert not hang, f"{len(hang)} are left hanging"
    resets_ms = {to: sorted((row["reset_s"] - at_s) * 1000 for row in ill if row["to"] == to) for to in eips}
    last_ms = max(times[-1] for times in resets_ms.values())
    measured.add(Row("EIP: backend hangs", f"its {len(ill)} connections are reset", last_ms, None, 0, 0))
    assert last_ms < BUSY * 2500
    assert all(times[-1] - times[0] < BUSY * 300 for times in resets_ms.values()), "all at once"
