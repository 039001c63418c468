"""EIPs in the world: where the client's connections go, by the kernel's maps and by what backends saw."""

from __future__ import annotations

import re
import time
from functools import partial

import pytest

from tests.lab.eip_load import loaded
from tests.lab.eip_stage import BOTH, MODES, POP, USER, USER_AT, Answers, Maps, Stage, cleaned, echo_requests
from tests.lab.numbered import numbered
from tests.lab.topology_facts import make_backend
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

CONNECTIONS = 2000


def test_an_eip_is_allocated_bound_by_weight_and_unbound(stage: Stage) -> None:
    eips = [stage.fresh(version) for version in BOTH]
    stage.made += eips
    for address in eips:
        assert "UNBIND" in stage.cli("eip", "allocate", address)
    assert not any(one.ok for one in stage.ask(*eips, count=2, options=("--timeout-ms", "300")).rows)
    for address, last in zip(eips, ("", "-6"), strict=True):
        assert "BIND" in stage.cli("eip", "associate", address, f"eu/b1{last}:100", f"eu/b2{last}:50")
    maps = stage.maps()
    first = maps.ports(dict.fromkeys(eips, 100 * 100 / 150), "eu/b1", CONNECTIONS)
    got = stage.ask(*eips, count=CONNECTIONS, every_ms=2, options=("--from-port", str(first))).all_ok()
    assert goes_as_hashed(got, maps)
    for address in eips:
        of_one = got.of(address)
        assert len({one.port for one in of_one.rows}) == CONNECTIONS
        assert of_one.share("eu/b1") == pytest.approx(100 * 100 / 150, abs=5)
    assert "unbound" in stage.cli("eip", "disassociate", eips[0])
    now = stage.ask(*eips, count=3, options=("--timeout-ms", "300"))
    assert not any(one.ok for one in now.of(eips[0]).rows), "dropped from the moment that the verb ended"
    now.of(eips[1]).all_ok()
    assert "released" in stage.cli("eip", "release", eips[0])
    assert "OFFLINING" in stage.cli("eip", "show", eips[0])


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize("mode", MODES)
def test_each_mode_shows_the_backend_the_client_it_says(stage: Stage, mode: str, version: int) -> None:
    address = stage.bound(version, "eu/b1", mode=mode)
    got = stage.ask(address, count=5).all_ok()
    assert got.by() == {"eu/b1": 5}
    ours = {f"10.200.1{n}1.1" if version == 4 else f"fd00:200:1{n}1::1" for n in (1, 2)}
    assert got.seen <= (ours if mode == "masquerade" else {USER_AT[version]})


def test_weight_zero_gets_nothing_while_another_is_well(stage: Stage) -> None:
    eips = [stage.bound(version, "eu/b1:0", "eu/b2:1") for version in BOTH]
    assert stage.ask(*eips, count=100, every_ms=2).all_ok().by() == {"eu/b2": 200}


def test_the_dial_moves_its_share_to_the_next_region(stage: Stage) -> None:
    eips = [stage.bound(version, "eu/b1", "us/b1") for version in BOTH]
    stage.world.undo.append(partial(reset_dials, stage))
    for percent in (50, 0, 100):
        stage.cli("region", "dial", "eu", str(percent))
        wait_until(f"dial {percent}", 5, partial(is_near, stage, eips, percent))
        maps, count = stage.maps(), CONNECTIONS if percent == 50 else 100
        first = maps.ports(dict.fromkeys(eips, percent), "eu", count)
        got = stage.ask(*eips, count=count, every_ms=2, options=("--from-port", str(first))).all_ok()
        assert goes_as_hashed(got, maps)
        for address in eips:
            assert got.of(address).share("eu") == pytest.approx(percent, abs=5)


def goes_as_hashed(got: Answers, maps: Maps) -> bool:
    """Return whether each connection went where our own hash of its ports says."""
    wrong = [one for one in got.rows if f"{one.region}/{one.backend}" != maps.by_ports(one.to, one.port or 0)]
    assert not wrong, (len(wrong), wrong[:3])
    return True


def reset_dials(stage: Stage) -> None:
    for region in ("eu", "us"):
        stage.cli("region", "dial", region, "--reset")


def is_near(stage: Stage, eips: list[str], percent: int) -> bool:
    got = stage.ask(*eips, count=60, every_ms=2).all_ok()
    return all(abs(got.of(address).share("eu") - percent) < 25 for address in eips)


def test_the_dial_is_honoured_in_failover(stage: Stage) -> None:
    eips = [stage.bound(version, "eu/b1", "eu/b2", "us/b1") for version in BOTH]
    stage.world.undo.append(partial(reset_dials, stage))
    stage.cli("region", "dial", "eu", "50")
    stage.world.hurt(
        lambda: make_backend(stage.lab, "eu-b1", "refuse"), lambda: make_backend(stage.lab, "eu-b1", "normal")
    )
    wait_until("eu/b1 is left", 5, lambda: "eu/b1" not in stage.ask(*eips, count=60).all_ok().by())
    maps = stage.maps()
    first = maps.ports(dict.fromkeys(eips, 50), "eu")
    got = stage.ask(*eips, count=500, every_ms=2, options=("--from-port", str(first))).all_ok()
    assert goes_as_hashed(got, maps)
    for address in eips:
        assert set(got.of(address).by()) == {"eu/b2", "us/b1"}
        assert got.of(address).share("eu") == pytest.approx(50, abs=5)
    stage.cli("region", "dial", "us", "0")
    wait_until("us is drained", 5, lambda: stage.ask(*eips, count=30).all_ok().by() == {"eu/b2": 60})
    make_backend(stage.lab, "eu-b2", "refuse")
    stage.world.undo.append(lambda: make_backend(stage.lab, "eu-b2", "normal"))
    wait_until("the drained region is the last resort", 5, lambda: stage.ask(*eips).all_ok().by() == {"us/b1": 20})


@pytest.mark.parametrize("version", BOTH)
def test_affinity_by_source_keeps_each_client_at_one_backend(stage: Stage, version: int) -> None:
    address = stage.allocate(version)
    stage.bind(address, "eu/b1", "eu/b2", affinity="source")
    maps = stage.maps()
    base, size = ("10.80.1.", 24) if version == 4 else ("fd00:80:1::", 64)
    of_backend: dict[str, list[str]] = {"eu/b1": [], "eu/b2": []}
    for last in range(11, 99):
        of_backend[maps.by_source(address, f"{base}{last}")].append(f"{base}{last}")
    for source in (*of_backend["eu/b1"][:4], *of_backend["eu/b2"][:4]):
        nodad = ("nodad",) if version == 6 else ()
        cleaned(stage.world.undo, stage.lab, USER, "ip", "addr", "add", f"{source}/{size}", "dev", "eth1", *nodad)
        by = stage.ask(address, count=6, every_ms=1, options=("--from-address", source)).all_ok().by()
        assert by == {maps.by_source(address, source): 6}
    assert all(of_backend.values()), "both have some of these clients"


@pytest.mark.parametrize("version", BOTH)
def test_replace_makes_before_it_breaks(stage: Stage, version: int) -> None:
    address = stage.bound(version, "eu/b1")
    last = "-6" if version == 6 else ""
    with loaded(stage, [address], [address], patience_ms=3000) as load:
        stage.cli("eip", "associate", "--replace", address, f"eu/b2{last}")
        assert stage.ask(address).all_ok().by() == {"eu/b2": 10}
        load.more()
    assert set(load.fresh.all_ok().by()) == {"eu/b1", "eu/b2"}
    assert set(load.kept.all_ok().by()) == {"eu/b1"}, "a connection that stands stays where it is"


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize("mode", ["dnat", "masquerade"])
def test_a_mapped_port_leads_to_the_backends_own(stage: Stage, mode: str, version: int) -> None:
    address = stage.allocate(version)
    last = "-6" if version == 6 else ""
    stage.cli("eip", "associate", address, f"eu/b2{last}", "--mode", mode, "--port", "tcp/8080:80")
    assert stage.ask(address, count=5, options=("--port", "8080")).all_ok().by() == {"eu/b2": 5}
    assert stage.ask(address, count=2).all_ok().by() == {"eu/b2": 2}, "other ports are as they were"


@pytest.mark.parametrize("version", BOTH)
def test_ping_is_answered_by_whom_it_should_be(stage: Stage, version: int) -> None:
    address = stage.bound(version, "eu/b1")
    count = 3

    def pinged() -> dict[str, int]:
        before = {node: echo_requests(stage.lab, node, version) for node in (POP, "eu-b1")}
        said = stage.lab.exec(USER, "ping", "-c", str(count), "-i", "0.02", address, check=True).stdout
        assert f" {count} received" in said
        return {node: echo_requests(stage.lab, node, version) - before[node] for node in before}

    assert pinged() == {POP: 0, "eu-b1": count}
    stage.cli("eip", "modify", address, "--ping", "pop")
    assert pinged() == {POP: count, "eu-b1": 0}
    stage.ask(address).all_ok()


def test_a_blocked_eip_carries_nothing_and_its_connections_stop(stage: Stage) -> None:
    eips = [stage.bound(version, "eu/b1", mode=mode) for version in BOTH for mode in MODES]
    with numbered(stage, *eips) as numbers:
        for address in eips:
            stage.cli("eip", "modify", address, "--block", "abuse")
        begin_s = time.monotonic()
        assert not any(one.ok for one in stage.ask(*eips, count=2, options=("--timeout-ms", "300")).rows)
        numbers.go_on()
        end_s = time.monotonic()
        for address in eips:
            stage.cli("eip", "modify", address, "--unblock")
        numbers.more(50 * len(eips))
    for flow in numbers.flows.values():
        # each second one is of a connection that stood before
        assert flow.all_lost(begin_s, end_s) > 2
    stage.ask(*eips).all_ok()


@pytest.mark.parametrize("version", BOTH)
def test_its_connections_are_counted_by_eip_and_by_path(stage: Stage, version: int) -> None:
    address = stage.bound(version, "eu/b1", mode="dnat")
    count = 7
    stage.ask(address, count=count).all_ok()

    def counted(number: int) -> bool:
        return bool(stage.get(f"/v1/eips/{address}/traffic")["connections"] == number)

    wait_until(f"{count} connections are counted", 15, partial(counted, count))
    assert f"carries   {count} connections" in stage.cli("eip", "show", address)
    metrics = stage.text("/metrics")
    assert f'anycastd_eip_connections{{eip="{address}"}} {count}\n' in metrics
    pinned = re.search(r'path_connections\{region="eu",backend="b1(?:-6)?",mode="dnat"\} (\d+)\n', metrics)
    assert pinned
    assert int(pinned[1]) >= count
    stage.cli("eip", "disassociate", address)
    wait_until("they are forgotten with the binding", 15, partial(counted, 0))
    liberal = "/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal"
    assert stage.lab.exec(POP, "cat", liberal, check=True).stdout == "1\n"
