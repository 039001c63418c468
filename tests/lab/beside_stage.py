"""A POP that is FRR's or BIRD's machine too: the router has the session to the transit, ExaBGP one with the router.

    t (FRR, AS 64496) -- pop (FRR or BIRD, AS 64500, and the daemon, AS 65010) == r (backend)

Who asks is beside the transit, whose kernel has what BGP told it. `any0` is one end of a veth whose other end is up in
the same namespace: this kernel has no dummy device. Everything ends when we do, also when we are killed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.etcd_stage import Pop, run
from tests.wait import wait_until

PREFIXES = {4: "203.0.113.0/24", 6: "2001:db8:113::/48"}
EIPS = {4: "203.0.113.10", 6: "2001:db8:113::10"}
TRANSIT_ASN, POP_ASN = 64496, 64500
GUARD = """
cat > /dev/null
for name in $2; do for pid in $(ip netns pids "$name"); do kill -9 "$pid"; done; ip netns del "$name"; done
rm -rf "$1"
"""
"""Cleans up when its standard input closes: at the end, and also when we are killed."""
LINKS = {
    "t": """
link set lo up
link add t0 type veth peer name tr0 netns {pop}
addr add 10.93.0.1/29 dev t0
addr add 2001:db8:93::1/64 dev t0 nodad
link set t0 up
""",
    "pop": """
link set lo up
addr add 10.93.0.2/29 dev tr0
addr add 2001:db8:93::2/64 dev tr0 nodad
link set tr0 up
link add any0 type veth peer name any1
link set any1 up
link set any0 up
addr add 198.18.0.1/29 dev any0
addr add 198.18.0.2/29 dev any0
addr add 2001:db8:18::1/64 dev any0 nodad
addr add 2001:db8:18::2/64 dev any0 nodad
link add u0 type veth peer name u0 netns {r}
addr add 10.93.1.1/30 dev u0
link set u0 up
link add tun0 mtu 1450 type vxlan id 93 local 10.93.1.1 remote 10.93.1.2 dstport 4789 dev u0
addr add 10.93.2.1/30 dev tun0
addr add fd93:2::1/64 dev tun0 nodad
link set tun0 up
route add 10.93.3.10/32 via 10.93.2.2
route add fd93:3::10/128 via fd93:2::2
""",
    "r": """
link set lo up
addr add 10.93.1.2/30 dev u0
link set u0 up
link add tun0 mtu 1450 type vxlan id 93 local 10.93.1.2 remote 10.93.1.1 dstport 4789 dev u0
addr add 10.93.2.2/30 dev tun0
addr add fd93:2::2/64 dev tun0 nodad
link set tun0 up
addr add 10.93.3.10/32 dev lo
addr add fd93:3::10/128 dev lo nodad
""",
}
TUNNEL_BACK = """
link set tun0 up
addr replace fd93:2::2/64 dev tun0 nodad
"""
SYSCTLS = (
    "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.conf.all.rp_filter=0",
    "net.ipv4.conf.tr0.rp_filter=0", "net.ipv4.conf.tun0.rp_filter=0",
)  # fmt: skip
FRR_SESSION = """
 neighbor {peer} remote-as {asn}
 neighbor {peer} timers connect 1
"""
FRR_FAMILY = """
 address-family ipv{version} unicast
{lines}
 exit-address-family
"""
BIRD = """
log "{directory}/bird.log" all;
router id 10.93.0.2;
protocol device {{ }}
protocol kernel {{ ipv4 {{ import none; export where source = RTS_BGP; }}; }}
protocol kernel {{ ipv6 {{ import none; export where source = RTS_BGP; }}; }}
filter to_transit {{
  if proto != "anycastd" then reject;
  if bgp_path.len > 1 then {{
    bgp_path.empty; bgp_path.prepend(64500); bgp_path.prepend(64500); bgp_path.prepend(64500);
  }}
  else bgp_path.empty;
  accept;
}}
protocol bgp anycastd {{
  local 198.18.0.1 as 64500; neighbor 198.18.0.2 as 65010; multihop 2; passive on;
  ipv4 {{ import all; export none; }};
  ipv6 {{ import all; export none; }};
}}
protocol bgp transit {{
  local 10.93.0.2 as 64500; neighbor 10.93.0.1 as 64496;
  connect delay time 1; connect retry time 1; error wait time 1, 2;
  ipv4 {{ import none; export filter to_transit; }};
  ipv6 {{ import none; export filter to_transit; }};
}}
"""
CONFIG = """
pop: {{name: fra, asn: 64500, router_id: 192.0.2.100}}
neighbors:
  router:
    address: 198.18.0.1
    asn: 64500
    local_address: 198.18.0.2
    local_asn: 65010
    graceful_restart: 120s
    families: [ipv4-unicast, ipv6-unicast]
    export: {{next_hop4: 198.18.0.3, next_hop6: "2001:db8:18::3"}}
checks: {{ping: {{icmp: {{interval: 200ms, timeout: 500ms, rise: 2}}}}}}
regions:
  eu:
    mode: masquerade
    tunnels:
      t1:
        device: tun0
        local: 10.93.2.1
        local6: "fd93:2::1"
        far_end: 10.93.2.2
        far_end6: "fd93:2::2"
        checks: [ping]
    backends:
      web: {{address: 10.93.3.10, checks: [ping]}}
      six: {{address: "fd93:3::10", checks: [ping]}}
prefixes: {{{prefix4}: {{}}, "{prefix6}": {{}}}}
eips:
  {eip4}: {{bind: [{{backend: eu/web}}]}}
  "{eip6}": {{bind: [{{backend: eu/six}}]}}
timers: {{settle: 0s, return_after: 1s, return_max: 1s, half_life: 1s}}
operator: {{depref: 0s, quiet_for: 0s, wait_at_most: 1s}}
api: {{port: 8179, socket: {directory}/api.sock}}
bgp: {{user: nobody, listen: false, socket: {directory}/exabgp.sock, directory: {directory}/bgp, reactor_speed: 1}}
state_dir: {directory}/state
"""
CLIENT = """
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=3).read().decode())
"""


@dataclass
class Beside:
    """The machines; `kind` is what routes on the POP's."""

    kind: str
    directory: Path
    netns: dict[str, str]
    pop: Pop
    router: list[subprocess.Popen[bytes]] = field(default_factory=list)
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def spawn(self, where: str, *argv: str) -> subprocess.Popen[bytes]:
        """Start a program, to be ended with the stage."""
        with (self.directory / f"{where}.log").open("ab") as log:
            started = subprocess.Popen(
                ["ip", "netns", "exec", self.netns[where], *argv], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                cwd=self.directory,
            )  # fmt: skip
        self.running.append(started)
        return started

    def close(self) -> None:
        """End what was started here; the guard ends the rest."""
        for one in (*self.running, *((self.pop.daemon,) if self.pop.daemon else ())):
            one.kill()
            one.wait(10)

    def start_router(self) -> None:
        """Start what routes on the POP's machine."""
        if self.kind == "bird":
            (self.directory / "bird.conf").write_text(BIRD.format(directory=self.directory), encoding="ascii")
            words = ("-c", str(self.directory / "bird.conf"), "-s", str(self.directory / "bird.ctl"))
            self.router = [self.spawn("pop", "bird", "-f", *words)]
        else:
            self.router = self._frr("pop", _frr_of_pop())

    def kill_router(self) -> None:
        """Let it die; its kernel routes stay as it left them."""
        for one in self.router:
            one.kill()
            one.wait(10)

    def _frr(self, where: str, text: str) -> list[subprocess.Popen[bytes]]:
        home = self.directory / f"frr-{where}"
        if not home.exists():
            home.mkdir(mode=0o755)
            shutil.chown(home, "frr", "frr")
        (home / "zserv.api").unlink(missing_ok=True)
        (home / "bgpd.conf").write_text(text, encoding="ascii")
        shared = ("--vty_socket", str(home), "-z", str(home / "zserv.api"), "-A", "127.0.0.1", "-P", "0")
        zebra = self.spawn(where, "/usr/lib/frr/zebra", *shared, "-f", "/dev/null", "-i", str(home / "zebra.pid"))
        wait_until("zebra listens", 20, (home / "zserv.api").exists)
        words = ("-f", str(home / "bgpd.conf"), "-i", str(home / "bgpd.pid"))
        return [zebra, self.spawn(where, "/usr/lib/frr/bgpd", *shared, *words)]

    def start(self) -> None:
        """Start everything."""
        self._frr("t", _frr_of_transit())
        self.spawn("r", sys.executable, "-m", "http.server", "--bind", "::", "-d", str(self.directory / "www"), "8000")
        self.start_router()
        self.pop.start()

    def path(self, version: int) -> list[int]:
        """Return the AS path that the transit has of the prefix; empty: nothing, or what a dead router had said."""
        said = self.inside("t", "vtysh", "--vty_socket", str(self.directory / "frr-t"), "-c",
                           f"show bgp ipv{version} unicast {PREFIXES[version]} json")  # fmt: skip
        paths: list[dict[str, Any]] = json.loads(said).get("paths", []) if said.startswith("{") else []
        paths = [one for one in paths if not one.get("stale")]
        return [int(asn) for asn in paths[0]["aspath"]["string"].split()] if paths else []

    def lengths(self) -> tuple[int, int]:
        """Return how long the paths of both families are at the transit."""
        return len(self.path(4)), len(self.path(6))

    def updates(self) -> int:
        """Return how many UPDATEs the transit has had from the router."""
        said = self.inside("t", "vtysh", "--vty_socket", str(self.directory / "frr-t"), "-c",
                           "show bgp neighbors 10.93.0.2 json")  # fmt: skip
        return int(json.loads(said)["10.93.0.2"]["messageStats"]["updatesRecv"])

    def asked(self, version: int) -> bool:
        """Return whether the backend answers who asks the EIP beside the transit."""
        host = f"[{EIPS[6]}]" if version == 6 else EIPS[4]
        return self.inside("t", sys.executable, "-c", CLIENT, f"http://{host}:8000/").strip() == "backend"

    def inside(self, where: str, *argv: str, text: str | None = None) -> str:
        """Run a program to its end; return what it prints, whatever its status."""
        words = ["ip", "netns", "exec", self.netns[where], *argv]
        return subprocess.run(words, input=text, capture_output=True, text=True, timeout=30).stdout


def _frr_of_transit() -> str:
    family = "".join(FRR_FAMILY.format(version=version, lines="  neighbor 10.93.0.2 activate") for version in (4, 6))
    head = "router bgp 64496\n bgp router-id 10.93.0.1\n no bgp ebgp-requires-policy\n no bgp default ipv4-unicast\n"
    return head + FRR_SESSION.format(peer="10.93.0.2", asn=POP_ASN) + family


def _frr_of_pop() -> str:
    lines = (
        "  neighbor 198.18.0.2 activate\n  neighbor 10.93.0.1 activate\n"
        "  neighbor 10.93.0.1 remove-private-AS all replace-AS"
    )
    head = (
        "router bgp 64500\n bgp router-id 10.93.0.2\n no bgp ebgp-requires-policy\n no bgp default ipv4-unicast\n"
        " bgp graceful-restart\n neighbor 198.18.0.2 remote-as 65010\n neighbor 198.18.0.2 passive\n"
    )
    families = "".join(FRR_FAMILY.format(version=version, lines=lines) for version in (4, 6))
    return head + FRR_SESSION.format(peer="10.93.0.1", asn=TRANSIT_ASN) + families


@contextmanager
def beside(kind: str) -> Iterator[Beside]:
    """Make it all, with `frr` or `bird` on the POP's machine; leave nothing behind."""
    directory = Path(tempfile.mkdtemp(prefix="anycastd-beside-"))
    directory.chmod(0o755)
    netns = {name: f"anyb{os.getpid()}-{name}" for name in LINKS}
    guard = subprocess.Popen(
        ["sh", "-c", GUARD, "guard", str(directory), " ".join(netns.values())],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        for name in netns.values():
            run("ip", "netns", "add", name)
        for name, lines in LINKS.items():
            run("ip", "-n", netns[name], "-batch", "-", text=lines.format(**netns))
        run("ip", "netns", "exec", netns["pop"], "sysctl", "-qw", *SYSCTLS)
        (directory / "www").mkdir()
        (directory / "www" / "index.html").write_text("backend\n", encoding="ascii")
        pop = Pop("fra", netns["pop"], "10.93.0.2", "10.93.0.1", directory)
        words = {f"{name}{version}": said[version] for name, said in (("prefix", PREFIXES), ("eip", EIPS))
                 for version in (4, 6)}  # fmt: skip
        pop.config.write_text(CONFIG.format(directory=directory, **words), encoding="utf-8")
        made = Beside(kind, directory, netns, pop)
        try:
            yield made
        finally:
            made.close()
    except BaseException:
        for log in sorted(directory.glob("*log")):
            print(f"--- {log}\n{log.read_text(errors='replace')[-6000:]}")
        raise
    finally:
        assert guard.stdin is not None
        guard.stdin.close()
        guard.wait(20)
