"""What seeing attacks costs, and how long it takes: forwarding with and without its counters and its look at packets,
the daemon's processor time with 10,000 EIPs that all carry packets, and the time from a flood to ATTACK among them.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.eip_world import FIRST, MANY, Loaded, eip, eip_document, give_addresses, loaded
from tests.bench.figures import Figure
from tests.bench.footprint import use_of
from tests.bench.forwarding import ALL, BACKEND, PLAIN, PORT, USED, Scene, copy_filter, link, steer
from tests.bench.world import POP_ADDRESS, Rows, World, namespaces, world
from tests.bench.world import run as do
from tests.wait import wait_until

SAMPLED, WITHOUT, COUNTED, WAYS = 1, 3, 4, 5
COMPARED = (SAMPLED, WITHOUT, COUNTED)
ROUNDS, SECONDS = 10, 1
RATIO_BUDGET, CORE_BUDGET, SEEN_BUDGET_S = 0.97, 0.02, 3.0
WATCHED_S, SPRAY_S = 25.0, 2.0
FLOODS, FLOOD_PPS, FLOOD_S, CALM_S, PAUSE_S = 3, 20_000, 6.0, 2.0, 20.0
TESTS = Path(__file__).parents[1]
SPRAY, FLOOD = TESTS / "bench" / "spray.py", TESTS / "lab" / "attack_flood.py"
LOOKING = """
import sys, time
from ipaddress import ip_network
from anycastd.actuators.dataplane.packet_sample import PacketSample
sample = PacketSample()
sample.look_at([ip_network(sys.argv[1])], 2.0 ** -10)
while True:
    sample.take()
    time.sleep(1.0)
"""
COUNTERS = r"^\t\tcounter name \"?(arrived4|arrived6|opened)\"?\n|(?<= )counter name \"?limited\"? (?=drop)"


@contextmanager
def _scene() -> Iterator[Scene]:
    """A POP for each way: plain routing, the daemon's rules with a look at packets, with none, and without counters."""
    with namespaces("c", "f", *(f"p{n}" for n in range(WAYS))) as (directory, (client, far, *pops)):
        places = [directory / pop for pop in pops]
        for place in places:
            place.mkdir(mode=0o755)
        made = Scene(client, far, [World(pop, far, place) for pop, place in zip(pops, places, strict=True)])
        try:
            for number, pop in enumerate(pops):
                link(client, far, pop, number)
            give_addresses(made.pops[PLAIN], 1)
            do("ip", "-n", pops[PLAIN], "route", "add", "10.30.0.0/16", "via", f"10.100.{PLAIN}.2")
            steer(made.pops[ALL], ALL, range(MANY))
            copy_filter(made, WITHOUT, (COUNTERS, ""))
            for way in (SAMPLED, COUNTED):
                # copies too: a table that is read from text is not in all alike with one that grew
                copy_filter(made, way, (r"\Z", "\n"))
            made.pops[SAMPLED].spawn(pops[SAMPLED], [sys.executable, "-c", LOOKING, f"{eip(USED)}/32"], "look.log")
            for port in range(PORT, PORT + 2 * WAYS):
                made.pops[PLAIN].spawn(far, ["iperf3", "-s", "-B", BACKEND, "-p", str(port)], "iperf3.log")
            listening = ("ip", "netns", "exec", far, "ss", "-Hltn")
            wait_until("every iperf3 listens", 10, lambda: len(do(*listening).splitlines()) == 2 * WAYS)
            yield made
        finally:
            for one in made.pops:
                one.end()


def _forwarding(rounds: int, seconds: int) -> list[Figure]:
    with _scene() as made:
        made.measure(1, 0, COMPARED)
        made.tcp_bps.clear()
        made.udp_pps.clear()
        for number in range(rounds):
            made.measure(seconds, number, COMPARED)
    figures = []
    for way, what in ((COUNTED, "counting for it"), (SAMPLED, "counting, and looking at packets of an attacked EIP")):
        tcp, udp = made.ratio(made.tcp_bps, way, WITHOUT), made.ratio(made.udp_pps, way, WITHOUT)
        least = min(tcp, udp)
        figures.append(
            Figure(
                f"forwarding with {what}, {MANY} EIPs (load {os.getloadavg()[0]:.1f})",
                f"{statistics.median(made.udp_pps[way]) / 1000:.1f} thousand packets/s of 64 bytes",
                f"{statistics.median(made.udp_pps[WITHOUT]) / 1000:.1f} thousand, the same rules without",
                f"{tcp:.3f} TCP, {udp:.3f} UDP (medians of {rounds} rounds)",
                f">= {RATIO_BUDGET} of the baseline",
                f"The smaller ratio is {least:.3f}." if least < RATIO_BUDGET else "",
            )
        )
    return figures


def _document(*, enabled: bool) -> dict[str, Any]:
    bounds = {"floor_packets": 12_000, "floor_bits": "10gbit"}
    detect = {
        "enabled": enabled, "warm_up": "0s", "calm": f"{CALM_S:g}s",
        "pop": {**bounds, "floor_connections": 1_000_000}, "eip": {**bounds, "floor_packets": 3000},
    }  # fmt: skip
    return eip_document() | {"attack": {"detect": detect}}


@contextmanager
def _busy(*, enabled: bool) -> Iterator[Loaded]:
    """A daemon with all EIPs, each of which carries a packet every 2 s."""
    with world(2) as made, loaded(made, MANY, _document(enabled=enabled)) as now:
        for switch in ("all", "bgp0"):
            made.run("ip", "netns", "exec", made.pop, "sysctl", "-qw", f"net.ipv4.conf.{switch}.rp_filter=0")
        made.run("ip", "-n", made.far, "route", "add", "198.18.0.0/18", "via", POP_ADDRESS)
        made.spawn(made.far, [sys.executable, str(SPRAY), str(FIRST), str(MANY), str(SPRAY_S), "200"], "spray.log")
        wait_until("traffic is metered", 30, lambda: _rate(made) > 0.5 * MANY / SPRAY_S)
        time.sleep(5.0)
        yield now


def _rate(made: World) -> float:
    traffic = made.ask("/v1/traffic")
    return float(traffic["rates"]["in"]["pps"]) if traffic else 0.0


def _core(now: Loaded, seconds: float) -> float:
    before, begun_s = use_of([now.pid]), time.monotonic()
    time.sleep(seconds)
    return (use_of([now.pid]).cpu_s - before.cpu_s) / (time.monotonic() - begun_s)


def _state(made: World, address: str) -> str:
    said = made.ask("/v1/attacks") or {"eips": []}
    return next((str(one["state"]) for one in said["eips"] if one["subject"] == address), "NORMAL")


def _seen_s(made: World, number: int) -> float:
    """Return the time from a flood's first packet to ATTACK of its EIP."""
    address, log = str(eip(number)), f"flood-{number}.log"
    words = ("udp", address, "53", str(FLOOD_PPS), str(FLOOD_S), "spoofed")
    child = made.spawn(made.far, [sys.executable, str(FLOOD), *words], log)
    rows = Rows(made.directory / log)
    (begun,) = wait_until("the flood begins", 15, rows.new)
    wait_until("ATTACK", 30, lambda: _state(made, address) == "ATTACK")
    took_s = time.monotonic() - float(begun["at_s"])
    child.wait(30)
    rows.close()
    wait_until("it is over", 60, lambda: _state(made, address) == "NORMAL")
    # extra readings are allowed one after another, and then as many as cost one percent of a core
    time.sleep(PAUSE_S)
    return took_s


def run(seconds: float = WATCHED_S, rounds: int = ROUNDS) -> list[Figure]:
    """Measure everything."""
    figures = _forwarding(rounds, SECONDS)
    with _busy(enabled=False) as now:
        without = _core(now, seconds)
    with _busy(enabled=True) as now:
        share = _core(now, seconds) - without
        seen_s = [_seen_s(now.made, USED + 10 * number) for number in range(FLOODS)]
    load = f"load {os.getloadavg()[0]:.1f}"
    worst_s = max(seen_s)
    return [
        *figures,
        Figure(
            f"processor time of seeing, {MANY} EIPs that all carry packets ({load})",
            f"{share * 100:.2f} % of a core",
            f"{without * 100:.1f} % without it",
            budget=f"<= {CORE_BUDGET * 100:.0f} % of a core",
            missed=f"It is {share * 100:.2f} %." if share > CORE_BUDGET else "",
        ),
        Figure(
            f"first packet of a flood to ATTACK of its EIP, among {MANY} ({load})",
            f"{', '.join(f'{one:.2f}' for one in seen_s)} s",
            budget=f"<= {SEEN_BUDGET_S:g} s",
            missed=f"The longest took {worst_s:.2f} s." if worst_s > SEEN_BUDGET_S else "",
        ),
    ]


if __name__ == "__main__":
    for figure in run():
        print(figure.name, "|", figure.measured, "|", figure.baseline, "|", figure.ratio, "|", figure.missed)
