"""A POP with two real vxlan tunnels, to FRR's bfdd and to BIRD, each end in a namespace; gone when we are."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.wait import wait_until

PYTHON = Path(sys.executable)
KEY = "between-two-routers"
POP_SETUP = """
link add up-frr type veth peer name eth1 netns {frr}
link add up-bird type veth peer name eth1 netns {bird}
link set lo up
link set up-frr up
link set up-bird up
addr add 192.0.2.1/30 dev up-frr
addr add 192.0.2.5/30 dev up-bird
link add vx-frr type vxlan id 7 local 192.0.2.1 remote 192.0.2.2 dstport 4789
link add vx-bird type vxlan id 8 local 192.0.2.5 remote 192.0.2.6 dstport 4789
link set vx-frr up
link set vx-bird up
addr add 10.255.1.1/24 dev vx-frr
addr add 10.255.2.1/24 dev vx-bird
addr add fd00:1::1/64 dev vx-frr nodad
addr add fd00:2::1/64 dev vx-bird nodad
addr add 10.99.0.1/32 dev lo
addr add fd99::1/128 dev lo nodad
route add 10.99.1.2/32 via 10.255.1.2
route add 10.99.2.2/32 via 10.255.2.2
route add fd99:1::2/128 via fd00:1::2
route add fd99:2::2/128 via fd00:2::2
"""
FAR_SETUP = """
link set lo up
link set eth1 up
addr add 192.0.2.{there}/30 dev eth1
link add tun0 type vxlan id {vni} local 192.0.2.{there} remote 192.0.2.{here} dstport 4789
link set tun0 up
addr add 10.255.{number}.2/24 dev tun0
addr add fd00:{number}::2/64 dev tun0 nodad
addr add 10.99.{number}.2/32 dev lo
addr add fd99:{number}::2/128 dev lo nodad
route add 10.99.0.1/32 via 10.255.{number}.1
route add fd99::1/128 via fd00:{number}::1
"""
FRR_CONF = """
hostname far
bfd
 profile plain
  transmit-interval {ms}
  receive-interval {ms}
 exit
 peer 10.255.1.1 local-address 10.255.1.2 interface tun0
  profile plain
 exit
 peer fd00:1::1 local-address fd00:1::2 interface tun0
  profile plain
 exit
 peer 10.99.0.1 multihop local-address 10.99.1.2
  profile plain
 exit
 peer fd99::1 multihop local-address fd99:1::2
  profile plain
 exit
exit
"""
BIRD_CONF = """
router id 192.0.2.6;
protocol device {{ }}
protocol bfd {{
  interface "tun0" {{
    interval {ms} ms; multiplier 3;
    authentication meticulous keyed sha1; password "{key}" {{ id 1; }};
  }};
  multihop {{ interval {ms} ms; multiplier 3; }};
  neighbor 10.255.2.1 dev "tun0" local 10.255.2.2;
  neighbor fd00:2::1 dev "tun0" local fd00:2::2;
  neighbor 10.99.0.1 local 10.99.2.2 multihop on;
  neighbor fd99::1 local fd99:2::2 multihop on;
}}
"""
CUT = """
table inet cut {
  chain in { type filter hook prerouting priority -300; udp dport 4789 drop; }
  chain out { type filter hook output priority -300; udp dport 4789 drop; }
}
"""


def punctual(peer: subprocess.Popen[bytes]) -> None:
    """Give a peer real-time scheduling where that is permitted: it is not the peers' lateness that is tested."""
    with suppress(PermissionError):
        os.sched_setscheduler(peer.pid, os.SCHED_RR, os.sched_param(10))


@dataclass
class BfdStage:
    """The three namespaces and what runs in them."""

    pop: str
    frr: str
    bird: str
    directory: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def ip(self, where: str, lines: str) -> None:
        """Run lines of ip(8) in a namespace."""
        subprocess.run(["ip", "-n", where, "-batch", "-"], input=lines.encode(), check=True, timeout=20)

    def say(self, where: str, *argv: str, text: str | None = None, check: bool = True) -> str:
        """Run a program in a namespace and return what it prints."""
        argv = ("ip", "netns", "exec", where, *argv)
        done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=30, input=text)
        assert done.returncode == 0 or not check, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def run(self, where: str, *argv: str) -> subprocess.Popen[bytes]:
        """Start a program in a namespace."""
        log = (self.directory / f"log-{len(self.running)}").open("wb")
        with log:
            started = subprocess.Popen(
                ["ip", "netns", "exec", where, *argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
            )
        self.running.append(started)
        return started

    def log(self, one: subprocess.Popen[bytes]) -> str:
        """Return what a program of `run` printed."""
        return (self.directory / f"log-{self.running.index(one)}").read_text(encoding="utf-8", errors="replace")

    def cut(self) -> None:
        """Have the underlay swallow every packet of the tunnels, both ways."""
        self.say(self.pop, "nft", "-f", "-", text=CUT)

    def mend(self) -> None:
        """Undo `cut`."""
        self.say(self.pop, "nft", "delete", "table", "inet", "cut", check=False)

    def start_frr(self, ms: int = 300) -> None:
        """Start zebra and bfdd."""
        sockets = self.directory / "frr"
        sockets.mkdir()
        shutil.chown(sockets, "frr", "frr")
        conf = sockets / "bfdd.conf"
        conf.write_text(FRR_CONF.format(ms=ms), encoding="ascii")
        (sockets / "zebra.conf").touch()
        api = str(sockets / "zserv.api")
        common = ("--vty_socket", str(sockets), "-z", api, "-A", "127.0.0.1", "-P", "0")
        self.run(self.frr, "/usr/lib/frr/zebra", "-f", str(sockets / "zebra.conf"), "-i", str(sockets / "z"), *common)
        wait_until("zebra answers", 10, lambda: (sockets / "zserv.api").exists())
        punctual(self.run(self.frr, "/usr/lib/frr/bfdd", "-f", str(conf), "-i", str(sockets / "b"),
                          "--bfdctl", str(sockets / "ctl"), *common))  # fmt: skip

    def start_bird(self, ms: int = 300) -> None:
        """Start BIRD."""
        conf = self.directory / "bird.conf"
        conf.write_text(BIRD_CONF.format(ms=ms, key=KEY), encoding="ascii")
        punctual(self.run(self.bird, "bird", "-f", "-c", str(conf), "-s", str(self.directory / "bird.ctl")))

    def frr_peers(self) -> dict[str, dict[str, Any]]:
        """Return FRR's sessions by our address."""
        text = self.say(self.frr, "vtysh", "--vty_socket", str(self.directory / "frr"), "-c", "show bfd peers json",
                        check=False)  # fmt: skip
        return {one["peer"]: one for one in json.loads(text)} if text.startswith("[") else {}

    def frr_counters(self) -> list[dict[str, Any]]:
        """Return what FRR counted of each session."""
        sockets = str(self.directory / "frr")
        said = self.say(self.frr, "vtysh", "--vty_socket", sockets, "-c", "show bfd peers counters json")
        found: list[dict[str, Any]] = json.loads(said)
        return found

    def configure_frr(self, *lines: str) -> None:
        """Enter lines of configuration at FRR."""
        words = [word for line in ("configure terminal", *lines) for word in ("-c", line)]
        self.say(self.frr, "vtysh", "--vty_socket", str(self.directory / "frr"), *words)

    def bird_peers(self) -> dict[str, str]:
        """Return the states of BIRD's sessions by our address."""
        said = self.say(self.bird, "birdc", "-s", str(self.directory / "bird.ctl"), "show", "bfd", "sessions")
        rows = (line.split() for line in said.splitlines())
        return {row[0]: row[2] for row in rows if len(row) >= 6 and row[0] != "IP"}

    def tell(self) -> None:
        """Print what every program printed: a test that fails shows it."""
        for log in sorted(self.directory.glob("log-*")):
            print(f"--- {log.name}\n{log.read_text(encoding='utf-8', errors='replace')[-6000:]}")

    def close(self) -> None:
        """End all that runs."""
        for one in self.running:
            if one.poll() is None:
                one.kill()
                one.wait()


@contextmanager
def bfd_stage() -> Iterator[BfdStage]:
    """Make the namespaces and tunnels; leave nothing behind."""
    names = [f"bfd-{os.getpid()}-{end}" for end in ("pop", "frr", "bird")]
    made = BfdStage(names[0], names[1], names[2], Path(tempfile.mkdtemp(prefix="anycastd-bfd-")))
    made.directory.chmod(0o755)
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True, timeout=20)
        made.ip(made.pop, POP_SETUP.format(frr=made.frr, bird=made.bird))
        made.ip(made.frr, FAR_SETUP.format(number=1, vni=7, here=1, there=2))
        made.ip(made.bird, FAR_SETUP.format(number=2, vni=8, here=5, there=6))
        yield made
    except BaseException:
        made.tell()
        raise
    finally:
        made.close()
        for name in names:
            pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, timeout=20)
            for pid in pids.stdout.split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=20)
        shutil.rmtree(made.directory, ignore_errors=True)
