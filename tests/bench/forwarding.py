"""Throughput through a POP: packets to an EIP (by mark, translated) beside plain routing over the same kind of tunnel.

One client, one backend, and a POP for each way between them, so that rounds can be measured by turns without a change
of anything: plain routing without any packet filter; the daemon's with one EIP; with 10,000; two copies of the last,
one without the look for a usable route, one without counting; the floor, which tracks connections and translates to the
backend by one rule; and plain routing again beside one `ip rule`, which is what a region's own table costs all packets.
The daemons are dead while packets are measured.
"""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from anycastd.model.nft import NftSet
from tests.bench.configs import Document
from tests.bench.eip_world import (
    MANY,
    TABLE,
    backend,
    eip,
    eip_document,
    fill_store,
    filter_of,
    give_addresses,
    tunnel,
)
from tests.bench.figures import Figure
from tests.bench.footprint import pids_of
from tests.bench.world import POP_ADDRESS, World, namespaces
from tests.bench.world import run as do
from tests.wait import wait_until

USED = 6
"""An EIP without a limit that is bound to one backend."""
BACKEND = backend(0, USED // 2)
PLAIN, ONE, ALL, NO_LOOK, NO_COUNT, FLOOR, RULED = range(7)
ROUNDS, SECONDS = 6, 1
RATIO_BUDGET = 0.95
TRANSLATED = f"""table ip floor {{
  chain there {{ type nat hook prerouting priority dstnat; ip daddr {eip(USED)} dnat to {BACKEND}; }}
  chain back {{ type nat hook postrouting priority srcnat; }}
}}
"""
RULE = ("pref", "1001", "fwmark", "0x1000000/0xff000000", "lookup", "1001")
LOOK = "fib daddr . mark oif missing"
PORT = 5201
LINES_CLIENT = """link add c{n} type veth peer name up0 netns {pop}
addr add 10.50.{n}.2/30 dev c{n}
link set c{n} up
"""
LINES_POP = """addr add 10.50.{n}.1/30 dev up0
link set up0 up
link add u0 type veth peer name u{n} netns {far}
addr add 10.51.{n}.1/30 dev u0
link set u0 up
link add vx0 mtu 1450 type vxlan id {vni} local 10.51.{n}.1 remote 10.51.{n}.2 dstport 4789 dev u0
addr add 10.100.{n}.1/30 dev vx0
link set vx0 up
addr add {bgp}/32 dev lo
"""
LINES_FAR = """addr add 10.51.{n}.2/30 dev u{n}
link set u{n} up
link add vx{n} mtu 1450 type vxlan id {vni} local 10.51.{n}.2 remote 10.51.{n}.1 dstport 4789 dev u{n}
addr add 10.100.{n}.2/30 dev vx{n}
link set vx{n} up
route add 10.50.{n}.0/30 via 10.100.{n}.1
"""


@dataclass
class Scene:
    """The namespaces, and the POPs by number."""

    client: str
    far: str
    pops: list[World]
    tcp_bps: dict[int, list[float]] = field(default_factory=dict)
    udp_pps: dict[int, list[float]] = field(default_factory=dict)

    def measure(self, seconds: int, first: int) -> None:
        """Measure every way once, beginning with another one each time."""
        for at in range(len(self.pops)):
            way = (first + at) % len(self.pops)
            said = self._iperf(way, seconds)
            self.tcp_bps.setdefault(way, []).append(said["sum_received"]["bits_per_second"])
            said = self._iperf(way, seconds, "-u", "-l", "64", "-b", "0")
            got = said["sum"]["packets"] - said["sum"]["lost_packets"]
            self.udp_pps.setdefault(way, []).append(got / said["sum"]["seconds"])

    def _iperf(self, way: int, seconds: int, *more: str) -> Document:
        target = BACKEND if way in (PLAIN, RULED) else str(eip(USED))
        # a server for each, since one that is still at the last run refuses the next
        port = PORT + 2 * way + bool(more)
        argv = ["iperf3", "-c", target, "-p", str(port), "--bind-dev", f"c{way}", "-t", str(seconds), "-J", *more]
        ended: Document = json.loads(do("ip", "netns", "exec", self.client, *argv))["end"]
        return ended

    def ratio(self, got: dict[int, list[float]], way: int, beside: int = PLAIN) -> float:
        """Return the median of each round's ratio."""
        return statistics.median(mine / other for mine, other in zip(got[way], got[beside], strict=True))


def link(client: str, far: str, pop: str, number: int) -> None:
    """Join a POP with the client and with the far side, by a vxlan tunnel."""
    words = {"n": number, "pop": pop, "far": far, "vni": 100 + number, "bgp": POP_ADDRESS}
    default = f"route add default via 10.50.{number}.1 dev c{number} metric {number + 1}\n"
    for name, lines in ((client, LINES_CLIENT), (pop, LINES_POP), (client, default), (far, LINES_FAR)):
        do("ip", "-n", name, "-batch", "-", text=lines.format(**words))
    for name in (client, pop, far):
        switches = ("net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
        do("ip", "netns", "exec", name, "sysctl", "-qw", *switches)


def steer(made: World, number: int, numbers: range) -> None:
    """Let a daemon load EIPs and set routes and rules; then it is killed, and what it did stays."""
    made.write_config(eip_document([tunnel("vx0", number)]))
    fill_store(made, numbers)
    made.daemon()
    with filter_of(made.pop) as kernel:
        wait_until("the EIPs are in the kernel", 60, lambda: kernel.size(NftSet.EIP4) == len(numbers))
        wait_until("so is where they lead", 30, lambda: kernel.size(NftSet.POOL) and kernel.size(NftSet.NAT4))
    every = ("ip", "-n", made.pop, "route", "show", "table", "all")
    route = f"default via 10.100.{number}.2 dev vx0 table 1001"
    wait_until("the region's route is in the kernel", 30, lambda: route in made.read(*every))
    rules = ("ip", "-n", made.pop, "rule", "show")
    wait_until("so is the rule that leads there", 30, lambda: "lookup 1001" in made.read(*rules))
    for pid in pids_of(made):
        os.kill(pid, signal.SIGKILL)
    wait_until("the daemon and ExaBGP are gone", 10, lambda: not pids_of(made))


def copy_filter(scene: Scene, number: int, change: tuple[str, str]) -> None:
    """Give a POP the packet filter with all EIPs, but for a change of its text, and the same way into the tunnel."""
    text = scene.pops[ALL].read("ip", "netns", "exec", scene.pops[ALL].pop, "nft", "list", "table", "inet", TABLE)
    changed = re.sub(*change, text, flags=re.MULTILINE)
    made = scene.pops[number]
    assert changed != text
    made.run("ip", "netns", "exec", made.pop, "nft", "-f", "-", text=changed)
    made.run("ip", "-n", made.pop, "rule", "add", *RULE)
    made.run("ip", "-n", made.pop, "route", "add", "default", "via", f"10.100.{number}.2", "table", "1001")


@contextmanager
def scene(variants: bool) -> Iterator[Scene]:
    """Make everything; the copies only with `variants`."""
    ways = 7 if variants else 3
    with namespaces("c", "f", *(f"p{n}" for n in range(ways))) as (directory, (client, far, *pops)):
        made = Scene(client, far, [World(pop, far, _directory(directory, pop)) for pop in pops])
        try:
            for number, pop in enumerate(pops):
                link(client, far, pop, number)
            give_addresses(made.pops[PLAIN], 1)
            for number in (PLAIN, FLOOR, RULED) if variants else (PLAIN,):
                do("ip", "-n", pops[number], "route", "add", "10.30.0.0/16", "via", f"10.100.{number}.2")
            steer(made.pops[ONE], ONE, range(USED, USED + 1))
            steer(made.pops[ALL], ALL, range(MANY))
            if variants:
                copy_filter(made, NO_LOOK, (rf"^.*{LOOK}.*\n", ""))
                made.pops[FLOOR].run("ip", "netns", "exec", pops[FLOOR], "nft", "-f", "-", text=TRANSLATED)
                do("ip", "-n", pops[RULED], "rule", "add", *RULE)
                copy_filter(made, NO_COUNT, (r"^\t\tcounter\n|(?<=\d) counter packets \d+ bytes \d+", ""))
            for port in range(PORT, PORT + 2 * ways):
                made.pops[PLAIN].spawn(far, ["iperf3", "-s", "-B", BACKEND, "-p", str(port)], "iperf3.log")
            listening = ("ip", "netns", "exec", far, "ss", "-Hltn")
            wait_until("every iperf3 listens", 10, lambda: len(do(*listening).splitlines()) == 2 * ways)
            yield made
        finally:
            for one in made.pops:
                one.end()


def _directory(directory: Path, name: str) -> Path:
    made = directory / name
    made.mkdir(mode=0o755)
    return made


def measured(rounds: int, seconds: int, variants: bool = True) -> Scene:
    """Measure by turns."""
    with scene(variants) as made:
        made.measure(1, 0)
        made.tcp_bps.clear()
        made.udp_pps.clear()
        for number in range(rounds):
            made.measure(seconds, number)
        return made


def run(rounds: int = ROUNDS, seconds: int = SECONDS) -> list[Figure]:
    """Return throughput beside plain routing, and what single parts of the rules cost."""
    made = measured(rounds, seconds)
    load = f"load {os.getloadavg()[0]:.1f}"
    figures = []
    for got, what, unit, scale in (
        (made.tcp_bps, "TCP to an EIP, one stream", "Gbit/s", 1e9),
        (made.udp_pps, "UDP of 64 bytes to an EIP", "thousand packets/s", 1e3),
    ):
        plain = statistics.median(got[PLAIN]) / scale
        for way, loaded in ((ONE, "1 EIP"), (ALL, f"{MANY} EIPs")):
            ratio = made.ratio(got, way)
            figures.append(
                Figure(
                    f"{what}, {loaded} loaded ({load})",
                    f"{statistics.median(got[way]) / scale:.2f} {unit}",
                    f"{plain:.2f} {unit}, plain routing",
                    f"{ratio:.2f} (median of {rounds} rounds)",
                    f">= {RATIO_BUDGET} of the baseline",
                    f"The ratio is {ratio:.2f}." if ratio < RATIO_BUDGET else "",
                )
            )
    for way, what in ((NO_LOOK, "without the look for a usable route"), (NO_COUNT, "without counting")):
        both = [
            f"{made.ratio(got, way, ALL):.2f} {name}" for got, name in ((made.tcp_bps, "TCP"), (made.udp_pps, "UDP"))
        ]
        figures.append(Figure(f"the same {what}, {MANY} EIPs", f"{' and '.join(both)} times as much"))
    for way, name in (
        (FLOOR, "only tracking of connections and one rule that translates to the backend"),
        (RULED, "plain routing beside one `ip rule`, as each region has one, and no packet filter"),
    ):
        both = [f"{made.ratio(got, way):.2f} {what}" for got, what in ((made.tcp_bps, "TCP"), (made.udp_pps, "UDP"))]
        figures.append(Figure(name, f"{' and '.join(both)} of plain routing"))
    return figures


if __name__ == "__main__":
    for figure in run():
        print(figure.name, "|", figure.measured, "|", figure.baseline, "|", figure.ratio, "|", figure.missed)
