"""Two POPs, each behind a transit of its own (FRR and BIRD, which are neighbors), and an etcd.

t1 (FRR, AS 64496) -- fra == t3    Who sends at t1 or t2 is carried by what their kernels were told by BGP. The rest,
 |                                 tunnels, backend and etcd, is of `etcd_stage`. t3 (BIRD, AS 64498) carries nothing:
t2 (BIRD, AS 64497) -- sin         it has two sessions with fra, `t3`, and `spare`, which is a standby.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.etcd_stage import BACKEND, Pop, Stage, etcd_stage, run, tunnel
from tests.wait import wait_until

PREFIX, PREFIX6, EIP, PORT = "203.0.113.0/24", "2001:db8:113::/48", "203.0.113.10", 9000
SENDER = """
import socket, sys, time
bps, sock, packet = float(sys.argv[1]), socket.socket(socket.AF_INET, socket.SOCK_DGRAM), b"x" * 972
begun, sent = time.monotonic(), 0
while time.monotonic() < begun + 240:
    due = int((time.monotonic() - begun) * bps / 8000)
    # of what a busy machine kept us from a tenth of a second is made up for: a burst would be a load of its own
    sent = max(sent, due - int(bps / 80000))
    for _ in range(due - sent):
        sock.sendto(packet, (sys.argv[2], int(sys.argv[3])))
        sent += 1
    time.sleep(0.02)
"""
"""Packets of 1000 bytes (L3) at a steady rate, for four minutes at most."""
FRR = """
router bgp 64496
 bgp router-id 10.91.1.1
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 timers bgp 3 9
 neighbor 10.91.1.2 remote-as 64500
 neighbor 10.91.1.2 timers connect 1
 neighbor 10.91.12.2 remote-as 64497
 neighbor 10.91.12.2 timers connect 1
 address-family ipv4 unicast
  neighbor 10.91.1.2 activate
  neighbor 10.91.12.2 activate
 exit-address-family
 address-family ipv6 unicast
  neighbor 10.91.1.2 activate
 exit-address-family
"""
BIRD = """
router id 10.91.2.1;
log "{directory}/bird.log" all;
protocol device {{ }}
protocol direct {{ ipv4; }}
protocol kernel {{ ipv4 {{ import none; export where source = RTS_BGP; }}; }}
template bgp session {{
  local as 64497; hold time 9; connect delay time 1; connect retry time 1; error wait time 1, 2;
}}
protocol bgp sin from session {{
  neighbor 10.91.2.2 as 64500; debug {{ routes }};
  ipv4 {{ import all; export none; }};
  ipv6 {{ import all; export none; }};
}}
protocol bgp t1 from session {{ neighbor 10.91.12.1 as 64496; ipv4 {{ import all; export all; }}; }}
"""
BIRD3 = """
router id 10.91.3.1;
protocol device { }
template bgp session {
  strict bind;
  hold time 9; connect delay time 1; connect retry time 1; error wait time 1, 2;
  ipv4 { import all; export none; };
  ipv6 { import all; export none; };
}
protocol bgp t3 from session { local 10.91.3.1 as 64498; neighbor 10.91.3.2 as 64500; }
protocol bgp spare from session { local 10.91.3.3 as 64498; neighbor 10.91.3.4 as 64500; }
"""
BOTH = "families: [ipv4-unicast, ipv6-unicast], export: {{next_hop6: '2001:db8:91:{number}::2'}}"
TO_T3 = (
    "t3: {{address: 10.91.3.1, asn: 64498, local_address: 10.91.3.2, {both}}}, "
    "spare: {{address: 10.91.3.3, asn: 64498, local_address: 10.91.3.4, {both}, announce: standby}}"
)
CONFIG = """
pop: {{name: {name}, asn: 64500, router_id: {address}}}
neighbors: {{{transit}: {{address: {theirs}, asn: {asn}, local_address: {ours}{more}}}{others}}}
checks: {{ping: {{icmp: {{interval: 200ms, timeout: 500ms, rise: 2, fall: 5}}}}}}
regions:
  eu:
    tunnels:
      t1: {{device: tun0, local: {near}, local6: "{near6}", far_end: {far}, far_end6: "{far6}", checks: [ping]}}
    backends: {{web: {{address: {backend}, checks: [ping]}}}}
prefixes: {{{prefix}: {{announce: {announce}}}, "{prefix6}": {{timers: {{half_life: 1s}}}}}}
fleet: {{pops: {{fra: {{number: 1}}, sin: {{number: 2}}}}}}
eips: {{{eip}: {{bind: [{{backend: eu/web}}]}}}}
timers: {{settle: 0s, return_after: 1s}}
eip: {{traffic_interval: 1s}}
api: {{port: 8179, socket: {directory}/api.sock}}
bgp: {{user: nobody, socket: {directory}/exabgp.sock, directory: {directory}/bgp, reactor_speed: 1}}
safety: {{effect: {{traffic_after: 2s, measurable: 64kbit}}}}
attack:
  detect: {{enabled: false}}
  spread: {{capacity: 10mbit, playbooks: [{playbooks}], calm_below: 10%,
           standby_calm: 3s, standby_leave: 2s}}
state_dir: {directory}/state
{store}
"""
STORE = (
    'store: {{kind: etcd, endpoints: ["{url}"], heartbeat: 300ms, stale_after: 5s, presence: 10s, attempt: 2s,'
    " commit_within: 5s, single_flight: 0s}}"
)
CALL = """
name: call
prefixes: [203.0.113.0/24]
when: [{load_above: 45%, for: 2s}]
calm: 3s
steps: [{more_announcers: {}, verify_after: [4s, 8s, 12s, 20s, 30s, 45s]}]
"""
LONGER = """
name: longer
prefixes: [203.0.113.0/24]
when: [{load_above: 95%, for: 5m}]
calm: 2m
steps: [{prepend: {times: 1}, verify_after: [3s]}]
"""
NARROW = """
name: narrow
prefixes: ["2001:db8:113::/48"]
when: [{load_above: 95%, for: 5m}]
calm: 2s
steps:
  - {selective_neighbors: {neighbors: [t3]}, verify_after: [1s]}
  - {communities: {add: ["64496:3021"], neighbors: [t1]}, verify_after: [1s]}
"""
COUNTERS = """
add table inet seen
add chain inet seen in { type filter hook prerouting priority -500; }
"""


@dataclass
class SpreadStage:
    """The POPs, their transits, and who sends."""

    stage: Stage
    routers: dict[str, str]
    """Their namespaces, by name."""
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    senders: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def fra(self) -> Pop:
        """Return the POP that announces at all times."""
        return self.stage.pops["fra"]

    @property
    def sin(self) -> Pop:
        """Return the standby."""
        return self.stage.pops["sin"]

    def spawn(self, router: str, *argv: str) -> subprocess.Popen[bytes]:
        """Start a program in a router's namespace, to be ended with the stage."""
        with (self.stage.directory / f"{router}.log").open("ab") as log:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.routers[router], *argv], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self.running.append(process)
        return process

    def send(self, router: str, bps: float) -> None:
        """Begin to send to the EIP from beside a router."""
        self.senders.append(self.spawn(router, sys.executable, "-c", SENDER, str(bps), EIP, str(PORT)))

    def calm(self) -> None:
        """End all sending."""
        for sender in self.senders:
            sender.kill()
            sender.wait(10)
        self.senders.clear()

    def frr(self) -> list[int]:
        """Return the AS path that t1 has from fra; empty: nothing."""
        said = self._in("t1", "vtysh", "--vty_socket", str(self.stage.directory / "frr"), "-c",
                        f"show bgp ipv4 unicast {PREFIX} json")  # fmt: skip
        paths = json.loads(said).get("paths", []) if said.startswith("{") else []
        own = [one for one in paths if one["peer"]["peerId"] == "10.91.1.2"]
        return [int(asn) for asn in own[0]["aspath"]["string"].split()] if own else []

    def frr6(self) -> tuple[str, str]:
        """Return the AS path and the communities that t1 has of the IPv6 prefix; empty: nothing."""
        said = self._in("t1", "vtysh", "--vty_socket", str(self.stage.directory / "frr"), "-c",
                        f"show bgp ipv6 unicast {PREFIX6} json")  # fmt: skip
        paths = json.loads(said).get("paths", []) if said.startswith("{") else []
        return (paths[0]["aspath"]["string"], paths[0].get("community", {}).get("string", "")) if paths else ("", "")

    def bird(self) -> list[int]:
        """Return the AS path that t2 has from sin; empty: nothing."""
        control = str(self.stage.directory / "bird.ctl")
        said = self._in("t2", "birdc", "-s", control, "show", "route", PREFIX, "protocol", "sin", "all")
        path = next((line.split(":", 1)[1] for line in said.splitlines() if "BGP.as_path" in line), "")
        return [int(asn) for asn in path.split()]

    def bird3(self, protocol: str, prefix: str) -> tuple[list[int], str]:
        """Return the AS path and the communities that t3 has of a prefix by one of its sessions; empty: nothing."""
        control = str(self.stage.directory / "bird3.ctl")
        said = self._in("t3", "birdc", "-s", control, "show", "route", prefix, "protocol", protocol, "all")
        found = dict(line.strip().split(": ", 1) for line in said.splitlines() if ": " in line)
        return [int(asn) for asn in found.get("BGP.as_path", "").split()], found.get("BGP.community", "")

    def told(self) -> list[str]:
        """Return what t2 logged of the prefix from sin: added, updated, removed, in this order."""
        text = (self.stage.directory / "bird.log").read_text(encoding="utf-8")
        rows = [line.split("sin", 1)[1] for line in text.splitlines() if "sin" in line and PREFIX in line]
        return [
            word for row in rows if ">" in row for word in ("added", "updated", "replaced", "removed") if word in row
        ]

    def came(self, pop: Pop) -> dict[str, int]:
        """Return how many packets for the EIP came to a POP from beside each transit, since the stage began."""
        said = json.loads(run("ip", "netns", "exec", pop.netns, "nft", "-j", "list", "table", "inet", "seen"))
        rules = [one["rule"]["expr"] for one in said["nftables"] if "rule" in one]
        found = {}
        for name, expressions in zip(("t1", "t2"), rules, strict=True):
            found[name] = next(one["counter"]["packets"] for one in expressions if "counter" in one)
        return found

    def _in(self, router: str, *argv: str) -> str:
        done = subprocess.run(
            ["ip", "netns", "exec", self.routers[router], *argv], capture_output=True, text=True, timeout=20
        )
        return done.stdout

    def playbooks(self, pop: Pop) -> dict[str, Any]:
        """Return what the API says of playbooks."""
        found: dict[str, Any] = pop.try_ask("/v1/playbooks")
        assert found is not None, f"{pop.name} does not answer"
        return found

    def close(self) -> None:
        """End what runs."""
        self.calm()
        for process in self.running:
            process.kill()
            process.wait(10)


def _link(one: str, two: str, name: str, ours: str, theirs: str, *, device: str = "tr0", number: int = 0) -> None:
    """Join two namespaces; with a number by IPv6 too."""
    run("ip", "-n", one, "link", "add", f"to-{name}", "type", "veth", "peer", "name", device, "netns", two)
    for where, link, address, last in ((one, f"to-{name}", ours, 1), (two, device, theirs, 2)):
        lines = [f"addr add {address}/29 dev {link}", f"link set {link} up"]
        if number:
            lines.append(f"addr add 2001:db8:91:{number}::{last}/64 dev {link} nodad")
        run("ip", "-n", where, "-batch", "-", text="\n".join(lines) + "\n")


def _make(made: SpreadStage) -> None:
    directory = made.stage.directory
    for name in made.routers.values():
        run("ip", "netns", "add", name)
        made.stage.netns.append(name)
        run("ip", "-n", name, "link", "set", "lo", "up")
    t1, t2, t3 = (made.routers[name] for name in ("t1", "t2", "t3"))
    _link(t1, made.fra.netns, "fra", "10.91.1.1", "10.91.1.2", number=1)
    _link(t2, made.sin.netns, "sin", "10.91.2.1", "10.91.2.2", number=2)
    _link(t1, t2, "t2", "10.91.12.1", "10.91.12.2")
    _link(t3, made.fra.netns, "fra", "10.91.3.1", "10.91.3.2", device="tr1", number=3)
    # BIRD has one session with each address
    run("ip", "-n", t3, "addr", "add", "10.91.3.3/29", "dev", "to-fra")
    run("ip", "-n", made.fra.netns, "addr", "add", "10.91.3.4/29", "dev", "tr1")
    for number, pop in enumerate((made.fra, made.sin), start=1):
        run("ip", "-n", made.stage.hub, "addr", "add", f"fd78:{number}::1/64", "dev", f"tun-{pop.name}", "nodad")
        run("ip", "-n", pop.netns, "addr", "add", f"fd78:{number}::2/64", "dev", "tun0", "nodad")
    for name in (t1, t2, made.fra.netns, made.sin.netns):
        run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0")
    for pop, device in ((made.fra, "tr0"), (made.sin, "tr0")):
        run("ip", "netns", "exec", pop.netns, "sysctl", "-qw", f"net.ipv4.conf.{device}.rp_filter=0")
        rules = "".join(
            f"add rule inet seen in ip daddr {EIP} ip saddr {{{source}}} counter\n"
            for source in ("10.91.1.1, 10.91.12.1", "10.91.2.1, 10.91.12.2")
        )
        run("ip", "netns", "exec", pop.netns, "nft", "-f", "-", text=COUNTERS + rules)
    sockets = directory / "frr"
    sockets.mkdir(mode=0o755)
    shutil.chown(sockets, "frr", "frr")
    (sockets / "bgpd.conf").write_text(FRR, encoding="ascii")
    (directory / "bird.conf").write_text(BIRD.format(directory=directory), encoding="ascii")
    shared = ("--vty_socket", str(sockets), "-z", str(sockets / "zserv.api"), "-A", "127.0.0.1", "-P", "0")
    made.spawn("t1", "/usr/lib/frr/zebra", *shared, "-f", "/dev/null", "-i", str(sockets / "zebra.pid"))
    wait_until("zebra listens", 20, (sockets / "zserv.api").exists)
    made.spawn("t1", "/usr/lib/frr/bgpd", *shared, "-f", str(sockets / "bgpd.conf"), "-i", str(sockets / "bgpd.pid"))
    made.spawn("t2", "bird", "-f", "-c", str(directory / "bird.conf"), "-s", str(directory / "bird.ctl"))
    (directory / "bird3.conf").write_text(BIRD3, encoding="ascii")
    made.spawn("t3", "bird", "-f", "-c", str(directory / "bird3.conf"), "-s", str(directory / "bird3.ctl"))


def _configure(made: SpreadStage, pop: Pop, transit: str, asn: int, number: int, playbooks: tuple[str, ...]) -> None:
    for name, text in (("call", CALL), ("longer", LONGER), ("narrow", NARROW)):
        (pop.directory / f"{name}.yaml").write_text(text, encoding="utf-8")
    store = STORE.format(url=made.stage.endpoints[0])
    is_fra, both = pop.name == "fra", BOTH.format(number=3)
    text = CONFIG.format(
        name=pop.name, address=pop.address, transit=transit, asn=asn, theirs=f"10.91.{number}.1",
        ours=f"10.91.{number}.2", near=tunnel(pop.address), far=tunnel(pop.hub), backend=BACKEND, prefix=PREFIX,
        eip=EIP, announce="always" if is_fra else "standby", directory=pop.directory, store=store, prefix6=PREFIX6,
        near6=f"fd78:{number}::2", far6=f"fd78:{number}::1", more=f", {BOTH.format(number=number)}",
        others=f", {TO_T3.format(both=both)}" if is_fra else "",
        playbooks=", ".join(f"{name}.yaml" for name in playbooks),
    )  # fmt: skip
    Path(pop.config).write_text(text, encoding="utf-8")


@contextmanager
def spread_stage() -> Iterator[SpreadStage]:
    """Make it all and wait until fra announces; leave nothing behind."""
    with etcd_stage(("fra", "sin"), members=1) as stage:
        prefix = stage.hub.removesuffix("-hub")
        made = SpreadStage(stage, {name: f"{prefix}-{name}" for name in ("t1", "t2", "t3")})
        try:
            stage.start_members()
            _make(made)
            _configure(made, made.fra, "t1", 64496, 1, ("call", "longer", "narrow"))
            _configure(made, made.sin, "t2", 64497, 2, ())
            for pop in stage.pops.values():
                pop.begin()
            for pop in stage.pops.values():
                pop.wait()
            wait_until("t1 has the prefix from fra", 60, lambda: made.frr() == [64500])
            yield made
        finally:
            made.close()
