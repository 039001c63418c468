"""BFD and BGP over a line that a flood has filled: with our class they go first, without it they end.

A client's flood to an EIP leaves the POP by the tunnel; the device below it lets through a fiftieth of it, out of the
queue that Linux gives every device (`pfifo_fast`). BFD (both families, through the tunnel) and BGP (beside it) go out
by the same device to FRR, which says what came of them. IPv4 neighbors are entered by hand, as docs/attack.md asks for.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.lab.bfd_stage import PYTHON, BfdStage, bfd_stage
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(170)]

FLOOD = Path(__file__).parents[2] / "containerlab" / "nodes" / "flood.py"
EIP, PEER, NEIGHBOR = "203.0.113.7", "192.0.2.1", "192.0.2.2"
TUNNEL = ("10.255.1.1", "fd00:1::1")
PPS, AT_MOST_S = 400, 150
"""Of 1,028 bytes: 3.3 Mbit/s."""
LINE = """
qdisc add dev up-frr root handle 1: tbf rate 64kbit burst 2000 limit 3000000
qdisc add dev up-frr parent 1:1 handle 2: pfifo_fast
"""
"""Two minutes' worth waits in a band that is full: longer than BFD or BGP would."""
HEARD, KEPT = 40, 4
"""BFD packets and keepalives while it is full: of longer than either session may go without."""
BGPD = """
router bgp 64496
 bgp router-id 192.0.2.2
 no bgp ebgp-requires-policy
 neighbor 192.0.2.1 remote-as 64500
 neighbor 192.0.2.1 timers 3 9
 neighbor 192.0.2.1 timers connect 1
"""
CONFIG = """
pop: {{name: fra, asn: 64500, router_id: 192.0.2.1}}
neighbors: {{transit: {{address: 192.0.2.2, asn: 64496, local_address: 192.0.2.1, hold_time: 9s}}}}
checks: {{alive: {{bfd: {{interval: 400ms, multiplier: 10}}}}, ping: {{icmp: {{interval: 1s, timeout: 1s, fall: 5}}}}}}
regions:
  eu:
    mode: routed
    tunnels:
      t1:
        {{device: vx-frr, local: 10.255.1.1, local6: "fd00:1::1", far_end: 10.255.1.2, far_end6: "fd00:1::2",
          checks: [alive]}}
    backends: {{web: {{address: 10.255.1.2, checks: [ping]}}}}
prefixes: {{203.0.113.0/24: {{}}}}
eips: {{203.0.113.7: {{bind: [{{backend: eu/web}}]}}}}
attack: {{detect: {{enabled: false}}, absorb: {{enabled: {absorb}}}}}
api: {{port: 8179, socket: {at}/api.sock, group: root}}
bgp: {{user: nobody, socket: {at}/exabgp.sock, directory: {at}/bgp, reactor_speed: 1}}
bfd: {{socket: {at}/bfd.sock}}
state_dir: {at}/state
"""


class Line:
    """The POP with its daemon, FRR behind the line, and the line."""

    def __init__(self, stage: BfdStage) -> None:
        self.stage, self.at = stage, stage.directory / "daemon"
        (self.at / "state").mkdir(parents=True)
        self.write(absorb=True)
        self.program = str(PYTHON.with_name("anycastd"))
        stage.run(stage.pop, self.program, "run", "-c", str(self.at / "anycastd.yaml"))

    def write(self, *, absorb: bool) -> None:
        """Write the configuration; `absorb` false: nothing of ours goes first."""
        text = CONFIG.format(at=self.at, absorb=str(absorb).lower())
        (self.at / "anycastd.yaml").write_text(text, encoding="utf-8")

    def reload(self) -> None:
        """Have the daemon take the file."""
        self.stage.say(self.stage.pop, self.program, "reload", "--socket", str(self.at / "api.sock"))

    def bfd(self, what: str) -> dict[str, int]:
        """Return what FRR counted of each session through the tunnel."""
        return {one["peer"]: one[what] for one in self.stage.frr_counters() if one["peer"] in TUNNEL}

    def are_up(self) -> bool:
        """Return whether FRR says that both BFD sessions and BGP are up."""
        peers = self.stage.frr_peers()
        return self.bgp()["bgpState"] == "Established" and all(peers[one]["status"] == "up" for one in TUNNEL)

    def lost(self) -> dict[str, int]:
        """Return how often FRR lost each session."""
        return self.bfd("session-down") | {"bgp": int(self.bgp()["connectionsDropped"])}

    def bgp(self) -> dict[str, Any]:
        """Return what FRR says of its neighbor."""
        words = ("vtysh", "--vty_socket", str(self.stage.directory / "frr"), "-c", f"show bgp neighbors {PEER} json")
        found: dict[str, Any] = json.loads(self.stage.say(self.stage.frr, *words))[PEER]
        return found

    def queue(self) -> dict[str, int]:
        """Return the counters of the queue."""
        said = json.loads(self.stage.say(self.stage.pop, "tc", "-s", "-j", "qdisc", "show", "dev", "up-frr"))
        found: dict[str, int] = next(one for one in said if one["kind"] == "pfifo_fast")
        return found


def enter_neighbors(stage: BfdStage) -> None:
    """Have both ends know each other's link addresses for good: ARP waits behind the flood."""
    ends = ((stage.pop, "up-frr", stage.frr, "eth1", "192.0.2"), (stage.pop, "vx-frr", stage.frr, "tun0", "10.255.1"))
    for one, device, other, far, net in ends:
        for where, at, there, its, last in ((one, device, other, far, 2), (other, far, one, device, 1)):
            (link,) = json.loads(stage.say(there, "ip", "-j", "link", "show", "dev", its))
            words = (f"{net}.{last}", "lladdr", link["address"], "dev", at, "nud", "permanent")
            stage.say(where, "ip", "neigh", "replace", *words)


@contextmanager
def flooded(line: Line) -> Iterator[None]:
    """Fill the line."""
    stage = line.stage
    stage.say(stage.bird, "ip", "route", "add", "203.0.113.0/24", "via", "192.0.2.5")
    for switch in ("ip_forward=1", "conf.all.rp_filter=0", "conf.up-bird.rp_filter=0"):
        stage.say(stage.pop, "sysctl", "-qw", f"net.ipv4.{switch}")
    enter_neighbors(stage)
    stage.say(stage.pop, "tc", "-batch", "-", text=LINE)
    words = ("udp", EIP, "9", str(PPS), str(AT_MOST_S))
    flood = stage.run(stage.bird, sys.executable, "-S", str(FLOOD), *words)
    try:
        yield
    finally:
        flood.terminate()
        flood.wait(20)


@pytest.fixture
def line() -> Iterator[Line]:
    with bfd_stage() as stage:
        stage.start_frr(50)
        stage.configure_frr("bfd", "profile plain", "detect-multiplier 10")
        sockets = stage.directory / "frr"
        (sockets / "bgpd.conf").write_text(BGPD, encoding="ascii")
        shared = ("--vty_socket", str(sockets), "-z", str(sockets / "zserv.api"), "-A", "127.0.0.1", "-P", "0")
        stage.run(stage.frr, "/usr/lib/frr/bgpd", "-f", str(sockets / "bgpd.conf"), "-i", str(sockets / "g"), *shared)
        shutil.chown(sockets / "bgpd.conf", "frr", "frr")
        yield Line(stage)


def test_sessions_live_through_a_full_line_in_their_class_and_die_without_it(line: Line) -> None:
    wait_until("all is up", 60, line.are_up)
    lost, made = line.lost(), line.bgp()["connectionsEstablished"]
    with flooded(line):
        wait_until("the line is full", 60, lambda: line.queue()["drops"] > PPS)
        # what IPv6 forgot is asked again past the flood
        line.stage.say(line.stage.pop, "ip", "-6", "neigh", "flush", "dev", "vx-frr")
        heard, kept = line.bfd("control-packet-input"), line.bgp()["messageStats"]["keepalivesRecv"]
        wait_until("BFD is heard on", 60, lambda: all(
            count > heard[peer] + HEARD for peer, count in line.bfd("control-packet-input").items()
        ))  # fmt: skip
        wait_until("and BGP", 60, lambda: line.bgp()["messageStats"]["keepalivesRecv"] >= kept + KEPT)
        queue, now = line.queue(), line.bfd("control-packet-input")
        came = {peer: count - heard[peer] for peer, count in now.items()}
        print(f"\nmeasured: {queue['drops']} of the flood dropped, {queue['qlen']} wait; FRR heard of BFD {came}")
        assert line.lost() == lost, "not one went down"
        assert line.bgp()["connectionsEstablished"] == made
        assert queue["qlen"] > HEARD, "it was full to the end"

        begun_s = time.monotonic()
        line.write(absorb=False)
        line.reload()
        wait_until(
            "without the class all of them end", 90, lambda: all(n > lost[one] for one, n in line.lost().items())
        )
        print(f"measured: without the class all three were lost {time.monotonic() - begun_s:.1f} s after the reload")
