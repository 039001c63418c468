"""A POP with two tunnels, a region's gateway and two backends that own 203.0.113.1: four namespaces."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab.kernel_world import run

NAME = "anygw"
CLIENT, EIP = {4: "192.0.2.1", 6: "2001:db8:1::1"}, {4: "203.0.113.1", 6: "2001:db8:9::1"}
FAR = {4: "10.200.{}.2", 6: "fd00:200:{}::2"}
NUMBER = {"a": 1, "b": 2}
VXLAN = """
link add {name} type vxlan id {n} local 10.100.{n}.{me} remote 10.100.{n}.{other} dstport 4789 nolearning
link set {name} mtu 1450
link set {name} up
addr add 10.200.{n}.{me}/30 dev {name}
addr add fd00:200:{n}::{me}/64 dev {name} nodad
"""
POP = """
link set lo up
link add ua type veth peer name ua netns {gw}
link add ub type veth peer name ub netns {gw}
link set ua up
link set ub up
addr add 10.100.1.1/24 dev ua
addr add 10.100.2.1/24 dev ub
addr add 192.0.2.1/32 dev lo
addr add 2001:db8:1::1/128 dev lo nodad
"""
GATEWAY = """
link set lo up
link set ua up
link set ub up
addr add 10.100.1.2/24 dev ua
addr add 10.100.2.2/24 dev ub
link add b1 type veth peer name eth0 netns {b1}
link add b2 type veth peer name eth0 netns {b2}
link set b1 up
link set b2 up
addr add 10.51.1.1/24 dev b1
addr add 10.51.2.1/24 dev b2
addr add fd00:51:1::1/64 dev b1 nodad
addr add fd00:51:2::1/64 dev b2 nodad
"""
BACKEND = """
link set lo up
link set eth0 up
addr add 10.51.{n}.10/24 dev eth0
addr add fd00:51:{n}::10/64 dev eth0 nodad
addr add 203.0.113.1/32 dev lo
addr add 2001:db8:9::1/128 dev lo nodad
route add default via 10.51.{n}.1
route add ::/0 via fd00:51:{n}::1
"""
SYSCTLS = (
    "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.conf.all.rp_filter=0",
    "net.ipv4.conf.default.rp_filter=0", "net.ipv4.fib_multipath_hash_policy=3",
    "net.ipv4.fib_multipath_hash_fields=55", "net.ipv6.fib_multipath_hash_policy=3",
    "net.ipv6.fib_multipath_hash_fields=55", "net.ipv6.conf.default.accept_dad=0",
)  # fmt: skip
FILE = """
tunnels:
  a: {device: pop-a, pop: fra, far_end: 10.200.1.1, far_end6: "fd00:200:1::1"}
  b: {device: pop-b, pop: fra, far_end: 10.200.2.1, far_end6: "fd00:200:2::1"}
routes:
  203.0.113.0/24: [10.51.1.10, 10.51.2.10]
  2001:db8:9::/48: ["fd00:51:1::10", "fd00:51:2::10"]
mss: {ipv4: 1300, ipv6: 1280}
"""


@dataclass
class World:
    """The four namespaces, and the gateway's file."""

    pop: str
    gateway: str
    backends: tuple[str, str]
    file: Path

    def at(self, where: str, *words: str, text: str | None = None) -> str:
        return run("ip", "netns", "exec", where, *words, text=text)

    def gw(self, *words: str) -> str:
        return run("ip", "-n", self.gateway, *words)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `anycastd gateway` in the gateway."""
        full = ["ip", "netns", "exec", self.gateway, ".venv/bin/anycastd", "gateway", *words, "-c", str(self.file)]
        return subprocess.run(full, capture_output=True, text=True, timeout=30, check=False)

    def watching(self, ready: Path) -> subprocess.Popen[str]:
        """Start `anycastd gateway apply --watch`."""
        words = ["gateway", "apply", "--watch", "--ready", str(ready), "-c", str(self.file)]
        full = ["ip", "netns", "exec", self.gateway, ".venv/bin/anycastd", *words]
        return subprocess.Popen(full, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def by(self, tunnel: str, version: int) -> None:
        """Let the POP send by this tunnel."""
        via = FAR[version].format(NUMBER[tunnel])
        prefix = "203.0.113.0/24" if version == 4 else "2001:db8:9::/48"
        run("ip", "-n", self.pop, f"-{version}", "route", "replace", prefix, "via", via)

    def sent(self) -> dict[str, int]:
        """Return the packets that the gateway sent by each tunnel."""
        rows: list[dict[str, Any]] = json.loads(run("ip", "-n", self.gateway, "-s", "-j", "link"))
        return {row["ifname"][-1]: row["stats64"]["tx"]["packets"] for row in rows if row["ifname"].startswith("pop-")}

    def state(self) -> tuple[str, ...]:
        """Return everything of the gateway's kernel that we could change, as the tools show it."""
        shown = [self.gw(f"-{v}", "route", "show", "table", "all") for v in (4, 6)]
        shown += [self.gw(f"-{v}", "rule") for v in (4, 6)]
        return (*shown, self.at(self.gateway, "nft", "list", "ruleset"))


def _remove_stale() -> None:
    for path in Path("/run/netns").glob(f"{NAME}-*"):
        if not Path(f"/proc/{path.name.split('-')[1]}").exists():
            run("ip", "netns", "del", path.name)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    _remove_stale()
    pop, gateway, one, two = (f"{NAME}-{os.getpid()}-{part}" for part in ("pop", "gw", "b1", "b2"))
    file = tmp_path / "gateway.yaml"
    file.write_text(FILE)
    try:
        for name in (pop, gateway, one, two):
            run("ip", "netns", "add", name)
            run("ip", "netns", "exec", name, "sysctl", "-qw", *SYSCTLS)
        run("ip", "-n", pop, "-batch", "-", text=POP.format(gw=gateway))
        run("ip", "-n", gateway, "-batch", "-", text=GATEWAY.format(b1=one, b2=two))
        for number, name in ((1, one), (2, two)):
            run("ip", "-n", name, "-batch", "-", text=BACKEND.format(n=number))
        for tunnel, n in NUMBER.items():
            run("ip", "-n", pop, "-batch", "-", text=VXLAN.format(name=f"gw-{tunnel}", n=n, me=1, other=2))
            run("ip", "-n", gateway, "-batch", "-", text=VXLAN.format(name=f"pop-{tunnel}", n=n, me=2, other=1))
        found = World(pop, gateway, (one, two), file)
        for tunnel in NUMBER:
            for version in (4, 6):
                # neighbors resolved before, as on a tunnel that is checked
                found.at(pop, "ping", "-c1", "-W3", FAR[version].format(NUMBER[tunnel]))
        yield found
    finally:
        for name in (pop, gateway, one, two):
            if Path("/run/netns", name).exists():
                run("ip", "netns", "del", name)
