"""Counters of EIPs equal what was sent, to the packet and the byte; what is not delivered is in a drop counter."""

from __future__ import annotations

import re
import signal
from functools import partial

import pytest

from tests.lab.eip_count import drops, element, metric, named, settled, totals, watch, watched
from tests.lab.eip_stage import BOTH, MODES, POP, USER, Stage, wait_whole
from tests.lab.test_eip_upkeep import daemon
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

SEND = ("python3", "-S", "/lab/datagrams.py")
MBIT = 1_000_000


def send(stage: Stage, sent: dict[str, tuple[int, int]], *options: str) -> None:
    """Send so many datagrams of so many bytes to each address."""
    what = [f"{address}={packets}*{size}" for address, (packets, size) in sent.items()]
    stage.lab.exec(USER, *SEND, *options, *what, check=True)


def test_what_was_sent_is_what_was_counted_in_every_mode(stage: Stage) -> None:
    eips = [stage.bound(version, "eu/b1", mode=mode) for version in BOTH for mode in MODES]
    watch(stage, *eips)
    sent = {address: (300 + 10 * number, 200 + number) for number, address in enumerate(eips)}
    send(stage, sent)
    stage.ask(*eips, count=5).all_ok()
    for address in eips:
        packets, size = sent[address]
        # the last packets of a connection may still come while we look
        came, went = wait_until(f"both count the same of {address}", 15, partial(both_count, stage, address))
        assert came[0] > packets, "datagrams, and the packets of five requests"
        assert came[1] > packets * size
        assert went[0] >= 5 * 4


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGUSR2], ids=lambda how: how.name)
def test_nothing_is_lost_or_counted_twice_when_another_daemon_goes_on(stage: Stage, how: signal.Signals) -> None:
    eips = [stage.bound(version, "eu/b1") for version in BOTH]
    watch(stage, *eips)
    send(stage, dict.fromkeys(eips, (200, 300)))
    for address in eips:
        wait_until(f"both count the same of {address}", 15, partial(both_count, stage, address))
    pid = daemon(stage)
    stage.lab.kill(POP, pid, how)
    # some of it while nobody reads
    send(stage, dict.fromkeys(eips, (150, 300)))
    wait_until("another daemon", 15, lambda: daemon(stage) not in (0, pid))
    wait_whole(stage.lab)
    send(stage, dict.fromkeys(eips, (100, 300)))
    for address in eips:
        came, _ = wait_until(f"both count the same of {address}", 15, partial(both_count, stage, address))
        assert came[0] == 450, "datagrams, and nothing else"


def both_count(stage: Stage, address: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return what came and what went by the test's own table; the API and the metrics must say the same."""
    came, went = (watched(stage, address, way) for way in ("in", "out"))
    none = dict.fromkeys(("in limit", "in unbound", "in no_path", "out limit"), (0, 0))
    wanted = {"in": came, "out": went, **none}
    have = totals(stage, address)
    assert {key: have[key] for key in wanted} == wanted
    assert metric(stage, "anycastd_eip_packets_total", eip=address, direction="in") == came[0]
    assert metric(stage, "anycastd_eip_bytes_total", eip=address, direction="out") == went[1]
    return came, went


@pytest.mark.parametrize("version", BOTH)
def test_drops_are_counted_by_cause(stage: Stage, version: int) -> None:
    limited = stage.bound(version, "eu/b1", bandwidth={"in_bps": MBIT, "out_bps": None, "shaping": "police"})
    idle, nobody = stage.allocate(version), stage.fresh(version)
    dark = stage.allocate(version)
    count, size = 300, 1000
    before = named(stage.lab, "anycastd")[f"unbound{version}"]
    send(stage, {limited: (count, size), idle: (count, size), nobody: (count, size)})
    settled(stage, idle, {"in": (0, 0), "in unbound": (count, count * size)})
    after = named(stage.lab, "anycastd")[f"unbound{version}"]
    assert (after[0] - before[0], after[1] - before[1]) == (count, count * size)
    wait_until("all were seen", 5, lambda: sum_of(totals(stage, limited), "in") == count)
    have = totals(stage, limited)
    assert have["in"] == element(stage.lab, f"in{version}", limited)
    # the burst is 64 kB and what comes meanwhile
    assert 60 <= have["in"][0] < count, have
    cause = {"eip": limited, "direction": "in", "cause": "limit"}
    assert metric(stage, "anycastd_eip_dropped_packets_total", **cause) == have["in limit"][0]
    assert metric(stage, "anycastd_pop_dropped_packets_total", cause=f"unbound{version}") == after[0]
    stage.bind(dark, "eu/b1", when_unhealthy="drop")
    stage.lab.exec("eu-b1", "backendctl", "refuse", check=True)
    stage.world.undo.append(lambda: stage.lab.exec("eu-b1", "backendctl", "normal"))
    wait_until("it has no path", 5, lambda: stage.get(f"/v1/eips/{dark}")["reason"] == "no_path")
    wait_until("the kernel drops", 5, lambda: stage.lab.exec(POP, *get_element(f"dark{version}", dark)).returncode == 0)
    send(stage, {dark: (count, size)})
    settled(stage, dark, {"in": (0, 0), "in no_path": (count, count * size)})


def get_element(name: str, address: str) -> tuple[str, ...]:
    return ("nft", "get", "element", "inet", "anycastd", name, f"{{ {address} }}")


def sum_of(have: dict[str, tuple[int, int]], way: str) -> int:
    """Return the packets of one direction, let through or not."""
    return sum(packets for key, (packets, _) in have.items() if key.split()[0] == way)


@pytest.mark.parametrize("version", BOTH)
def test_answers_above_the_limit_are_dropped_and_counted(stage: Stage, version: int) -> None:
    # little, so that not all of it passes where a slow machine sends for seconds
    limit = {"in_bps": None, "out_bps": MBIT // 4, "shaping": "police"}
    address = stage.bound(version, "eu/b1", bandwidth=limit)
    watch(stage, address)
    count, payload = 500, 1200
    said = stage.lab.exec(USER, "ping", "-q", "-c", str(count), "-i", "0.002", "-s", str(payload), "-W", "1", address)
    found = re.search(r"(\d+) packets transmitted, (\d+) received", said.stdout)
    assert found, said.stdout
    received, size = int(found[2]), payload + 8 + (20 if version == 4 else 40)
    assert int(found[1]) == count
    assert 50 <= received < count, "the burst and a second of the rate pass"
    assert watched(stage, address, "out") == (received, received * size)
    lost = count - received
    settled(
        stage,
        address,
        {"in": (count, count * size), "out": (received, received * size), "out limit": (lost, lost * size)},
    )


def test_what_is_sent_into_a_prefix_is_delivered_or_in_a_drop_counter(stage: Stage) -> None:
    """The sum over all addresses of both families: bound, unbound, limited, blocked, and of nobody."""
    eips = []
    for version in BOTH:
        eips += [stage.bound(version, "eu/b1", mode=mode) for mode in MODES]
        eips += [stage.bound(version, "eu/b1", bandwidth={"in_bps": MBIT, "out_bps": None, "shaping": "police"})]
        eips += [stage.allocate(version), stage.bound(version, "eu/b1", "eu/b2"), stage.fresh(version)]
        stage.change("PATCH", f"/v1/eips/{eips[-2]}", {"blocked": True, "blocked_reason": "test"})
    known = eips[:6] + eips[7:13]
    # what is late of the connections of earlier tests is in the sum too: then once more
    assert any(all_accounted(stage, eips, known) for _ in range(3))


def all_accounted(stage: Stage, eips: list[str], known: list[str]) -> bool:
    """Send datagrams to all addresses; return whether each was delivered or is in one drop counter."""
    begun = drops(stage.lab)
    before = {one: totals(stage, one) for one in known}
    received = delivered(stage)
    count = 150
    send(stage, {address: (count, 1000) for address in eips}, "--port", "5999")

    def accounted() -> int:
        passed = delivered(stage) - received
        dropped = sum(packets - begun[name] for name, packets in drops(stage.lab).items())
        limited = (refused(totals(stage, one)) - refused(before[one]) for one in known)
        return passed + dropped + sum(limited)

    wait_until("every packet is accounted for", 6, lambda: accounted() >= count * len(eips))
    return accounted() == count * len(eips)


def refused(have: dict[str, tuple[int, int]]) -> int:
    """Return the packets of one EIP that came and were not let through."""
    return sum_of(have, "in") - have["in"][0]


DELIVERED = """table inet lab_got {
counter got { }
chain c { type filter hook input priority 0; udp dport 5999 counter name got
}
}
"""


def delivered(stage: Stage) -> int:
    """Return how many of the test's datagrams have reached the backend."""
    found = stage.lab.exec("eu-b1", "nft", "list", "counter", "inet", "lab_got", "got")
    if found.returncode:
        stage.lab.exec("eu-b1", "nft", "-f", "-", text=DELIVERED, check=True)
        stage.world.undo.append(lambda: stage.lab.exec("eu-b1", "nft", "delete", "table", "inet", "lab_got"))
        return 0
    return int(found.stdout.split("packets ")[1].split()[0])
