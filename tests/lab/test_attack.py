"""The real daemon and real floods of both families: how soon each is seen, what is said of it, its cost, its end."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.bench.eip_world import ICMP, PREFIX, Loaded, eip, eip_document, loaded
from tests.bench.footprint import use_of
from tests.bench.world import POP_ADDRESS, Rows, World, world
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(150)]

PROGRAM = Path(__file__).with_name("attack_flood.py")
COUNT, PREFIX6, BACKEND6 = 20, "2001:db8:99::/48", "2001:db8:30::1"
SECONDS = 40.0
"""At most: each ends as soon as all were seen."""
DETECT = {
    "warm_up": "0s", "calm": "2s",
    "pop": {"floor_packets": 1000, "floor_bits": "1gbit", "floor_connections": 1000},
    "eip": {"floor_packets": 1000, "floor_bits": "1gbit", "floor_connections": 100},
}  # fmt: skip


@dataclass(frozen=True)
class Flood:
    """One flood, and what is to be said of it."""

    victim: str
    kind: str
    port: int
    pps: int
    protocol: str
    bytes: float


LOUD = (
    Flood(str(eip(6)), "small", 5353, 3000, "udp", 28.0),
    Flood(str(eip(9)), "syn", 443, 3000, "tcp syn", 40.0),
    Flood("2001:db8:99::7", "small", 53, 3000, "udp", 48.0),
    Flood("2001:db8:99::8", "syn", 80, 3000, "tcp syn", 60.0),
)
QUIET = Flood(str(eip(12)), "syn", 25, 600, "tcp syn", 40.0)
"""Too few packets for anything; it is its new connections that are unusual."""
EVERY = (*LOUD, QUIET)
COUNTED = tuple(one for one in EVERY if one.kind == "syn" or ":" not in one.victim)
"""All but datagrams to one that is not tracked while it is attacked."""


def document() -> dict[str, Any]:
    whole = eip_document(traffic_interval="1s")
    # IPv6 goes as it is: what begins at an EIP in ATTACK is not tracked there, and must be seen all the same
    whole["regions"]["r0"]["tunnels"]["t"] |= {"local6": "2001:db8:100::1", "far_end6": "2001:db8:100::2"}
    whole["neighbors"]["transit"] |= {
        "families": ["ipv4-unicast", "ipv6-unicast"], "export": {"next_hop6": "2001:db8:9::1"},
    }  # fmt: skip
    whole["prefixes"][PREFIX6] = whole["prefixes"][PREFIX]
    whole["regions"]["r0"]["backends"]["six"] = {"address": BACKEND6, "checks": [ICMP]}
    routed = {"bind": [{"backend": "r0/six", "mode": "routed"}]}
    whole["eips"] = {one.victim: routed for one in LOUD if ":" in one.victim}
    return whole | {"attack": {"detect": DETECT}}


@pytest.fixture(scope="module")
def pop() -> Iterator[Loaded]:
    """A daemon with some EIPs, in namespaces of its own; sources may be any."""
    with world(2) as made:
        for one in (made.pop, made.far):
            made.run("ip", "netns", "exec", one, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0")
        for where, address, device in (
            (made.pop, "2001:db8:9::1", "bgp0"), (made.far, "2001:db8:9::3", "bgp1"),
            (made.pop, "2001:db8:100::1", "tun0"), (made.far, "2001:db8:100::2", "far0"),
        ):  # fmt: skip
            made.run("ip", "-n", where, "addr", "add", f"{address}/64", "dev", device, "nodad")
        made.run("ip", "-n", made.far, "addr", "add", f"{BACKEND6}/128", "dev", "lo", "nodad")
        made.run("ip", "netns", "exec", made.pop, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
        with loaded(made, COUNT, document()) as now:
            made.run("ip", "-n", made.far, "route", "add", PREFIX, "via", POP_ADDRESS)
            made.run("ip", "-n", made.far, "route", "add", PREFIX6, "via", "2001:db8:9::1")
            for switch in ("all", "default", "bgp0"):
                made.run("ip", "netns", "exec", made.pop, "sysctl", "-qw", f"net.ipv4.conf.{switch}.rp_filter=0")
            yield now


def attacks(made: World) -> Any:
    said = made.ask("/v1/attacks")
    assert said is not None, made.log_tail()
    return said


class Besieged:
    """Floods that run, and what is said meanwhile."""

    def __init__(self, made: World, stack: ExitStack) -> None:
        self.made = made
        self.seen_s: dict[str, float] = {}
        """When each was first said to be an ATTACK (monotonic)."""
        self.said: dict[str, Any] = {}
        self.children, self.rows = [], []
        for number, one in enumerate(EVERY):
            words = (one.kind, one.victim, str(one.port), str(one.pps), str(SECONDS), "spoofed")
            self.children.append(made.spawn(made.far, [sys.executable, str(PROGRAM), *words], f"flood-{number}.log"))
            self.rows.append(Rows(made.directory / f"flood-{number}.log"))
            stack.callback(self.rows[-1].close)
            stack.callback(self.children[-1].kill)

    def look(self) -> bool:
        """Take in what is said now; return whether all were seen."""
        now_s = time.monotonic()
        self.said = {one["subject"]: one for one in attacks(self.made)["eips"]}
        for victim, one in self.said.items():
            if one["state"] == "ATTACK":
                self.seen_s.setdefault(victim, now_s)
        return self.seen_s.keys() == {one.victim for one in EVERY}

    def shaped(self) -> bool:
        """Return whether enough packets of each were looked at, and the new connections of each counted."""
        self.look()
        shapes = {victim: one["shape"] or {"sampled": 0} for victim, one in self.said.items()}
        return all(shapes[one.victim]["sampled"] >= (100 if one in LOUD else 3) for one in EVERY) and all(
            "connections_above_usual" in self.said[one.victim]["reasons"] for one in COUNTED
        )

    def end(self) -> None:
        """End them, so that the machine is quiet again."""
        for child in self.children:
            child.kill()
            child.wait()


def test_floods_of_both_families_are_seen_named_and_forgotten(pop: Loaded) -> None:
    made = pop.made
    wait_until("all is NORMAL", 20, lambda: attacks(made)["state"] == "NORMAL")
    rss_before = use_of([pop.pid]).rss_bytes
    with ExitStack() as stack:
        siege = Besieged(made, stack)
        begun_s = [wait_until("it begins", 30, rows.new)[0]["at_s"] for rows in siege.rows]
        wait_until("each is an ATTACK", 35, siege.look)
        wait_until("the shape of each", 35, siege.shaped)
        page = cli(made, "attack", "status")
        siege.end()
    grown_mib = (use_of([pop.pid]).rss_bytes - rss_before) / (1 << 20)
    for one, at_s in zip(EVERY, begun_s, strict=True):
        print(
            f"\nmeasured: {siege.said[one.victim]['detail']}: ATTACK {siege.seen_s[one.victim] - at_s:.2f} s after it"
        )
    print(f"measured: memory grew by {grown_mib:.1f} MiB\n{page}")
    assert grown_mib < 16.0
    for one in EVERY:
        said = siege.said[one.victim]
        shape = said["shape"]
        assert shape["protocols"] == [{"value": one.protocol, "percent": 100.0}], one
        assert shape["ports"] == [{"value": str(one.port), "percent": 100.0}], one
        assert shape["mean_bytes"] == one.bytes, one
        assert one.victim in page
    for one in COUNTED:
        assert siege.said[one.victim]["rate"]["new_connections"] > 100.0
    for one in LOUD:
        assert "packets_above_usual" in siege.said[one.victim]["reasons"]
        assert siege.said[one.victim]["shape"]["spoofed"]
    assert siege.said[QUIET.victim]["reasons"] == ["connections_above_usual"]
    assert "sources look random" in page
    wait_until("NORMAL again", 60, lambda: attacks(made)["state"] == "NORMAL")
    for one in EVERY:
        wait_until("the journal has it", 20, lambda one=one: len(steps(made, one.victim)) == 3)  # type: ignore[misc]
        assert steps(made, one.victim) == [("NORMAL", "ATTACK"), ("ATTACK", "ELEVATED"), ("ELEVATED", "NORMAL")]


def cli(made: World, *words: str) -> str:
    """Return what a verb of the command line prints."""
    argv = [sys.executable, "-m", "anycastd", *words, "--socket", str(made.directory / "run" / "api.sock")]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def steps(made: World, victim: str) -> list[tuple[str, str]]:
    """Return what the journal has of a victim, oldest first."""
    found = made.ask(f"/v1/journal?types=attack&subject={victim}")
    assert found is not None
    return [(one["before"], one["after"]) for one in reversed(found["entries"])]
