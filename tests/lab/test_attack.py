"""The real daemon and a real flood: how soon it is seen, what is said of it, what it costs in memory, and its end."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bench.eip_world import Loaded, eip, eip_document, loaded
from tests.bench.footprint import use_of
from tests.bench.world import POP_ADDRESS, Rows, World, world
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

FLOOD = Path(__file__).with_name("attack_flood.py")
COUNT, VICTIM = 20, eip(6)
PPS, SECONDS, PORT = 15_000, 7.0, 5353
DETECT = {
    "warm_up": "0s", "calm": "2s",
    "pop": {"floor_packets": 1000, "floor_bits": "1gbit", "floor_connections": 1000},
    "eip": {"floor_packets": 1000, "floor_bits": "1gbit"},
}  # fmt: skip


@pytest.fixture(scope="module")
def pop() -> Iterator[Loaded]:
    """A daemon with some EIPs, in namespaces of its own; sources may be any."""
    whole = eip_document() | {"attack": {"detect": DETECT}}
    with world(2) as made, loaded(made, COUNT, whole) as now:
        made.run("ip", "-n", made.far, "route", "add", "198.18.0.0/18", "via", POP_ADDRESS)
        for switch in ("all", "default", "bgp0"):
            made.run("ip", "netns", "exec", made.pop, "sysctl", "-qw", f"net.ipv4.conf.{switch}.rp_filter=0")
        yield now


def attacks(made: World) -> Any:
    said = made.ask("/v1/attacks")
    assert said is not None, made.log_tail()
    return said


def of(said: Any, address: str) -> Any:
    return next((one for one in said["eips"] if one["subject"] == address), None)


def test_a_flood_from_random_sources_is_seen_named_and_forgotten(pop: Loaded) -> None:
    made, victim = pop.made, str(VICTIM)
    wait_until("all is NORMAL", 20, lambda: attacks(made)["state"] == "NORMAL")
    rss_before = use_of([pop.pid]).rss_bytes
    child = made.spawn(
        made.far, [sys.executable, str(FLOOD), "udp", victim, str(PORT), str(PPS), str(SECONDS), "spoofed"], "flood.log"
    )
    rows = Rows(made.directory / "flood.log")
    (begun,) = wait_until("the flood begins", 15, rows.new)
    seen = wait_until("ATTACK", 30, lambda: (one := of(attacks(made), victim)) and one["state"] == "ATTACK" and one)
    took_s = time.monotonic() - begun["at_s"]
    shaped = wait_until(
        "its shape",
        20,
        lambda: (one := of(attacks(made), victim)) and (one["shape"] or {}).get("sampled", 0) >= 100 and one,
    )
    page = subprocess.run(
        [sys.executable, "-m", "anycastd", "attack", "status", "--socket", str(made.directory / "run" / "api.sock")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    child.wait(30)
    grown_mib = (use_of([pop.pid]).rss_bytes - rss_before) / (1 << 20)
    (ended,) = rows.new()
    rows.close()
    print(f"\nmeasured: ATTACK {took_s:.2f} s after the first packet; {ended['sent']} packets; {shaped['detail']}")
    print(f"measured: memory grew by {grown_mib:.1f} MiB\n{page}")
    assert seen["reasons"] == ["packets_above_usual"]
    assert shaped["shape"]["protocols"][0] == {"value": "udp", "percent": 100.0}
    assert shaped["shape"]["ports"][0] == {"value": str(PORT), "percent": 100.0}
    assert shaped["shape"]["spoofed"]
    assert shaped["shape"]["mean_bytes"] == 28.0
    assert victim in page
    assert "sources look random" in page
    assert grown_mib < 16.0
    wait_until("NORMAL again", 60, lambda: attacks(made)["state"] == "NORMAL")
    wait_until("the journal has it", 20, lambda: len(steps(made)) == 3)
    assert steps(made) == [("NORMAL", "ATTACK"), ("ATTACK", "ELEVATED"), ("ELEVATED", "NORMAL")]


def steps(made: World) -> list[tuple[str, str]]:
    """Return what the journal has of the victim, oldest first."""
    found = made.ask(f"/v1/journal?types=attack&subject={VICTIM}")
    assert found is not None
    return [(one["before"], one["after"]) for one in reversed(found["entries"])]
