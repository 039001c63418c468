"""A POP and a router, each in a namespace, for the units: the daemon and ExaBGP as two users without root."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.wait import wait_until

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "etc" / "systemd"
PYTHON = Path(sys.executable)
CONFINED = Path(__file__).with_name("confined.py")
DAEMON, SPEAKER = "daemon", "nobody"
"""Two users of every Debian machine, in place of anycastd and exabgp."""
PASSWORD = "between-friends"
PREFIXES = {4: "203.0.113.0/24", 6: "2001:db8:113::/48"}
CONFIG = """
pop: {{name: fra, asn: 64500, router_id: 192.0.2.1}}
neighbors:
  transit:
    {{address: 192.0.2.2, asn: 64496, local_address: 192.0.2.1, password_file: secret,
      families: [ipv4-unicast, ipv6-unicast], export: {{next_hop6: "2001:db8:fe::1"}}}}
checks: {{ping: {{icmp: {{interval: 200ms, timeout: 200ms, rise: 2}}}}}}
regions:
  eu:
    tunnels:
      t1:
        {{device: vx0, create: {{vxlan: {{vni: 7, local: 192.0.2.1, remote: 192.0.2.2}}}}, local: 10.255.1.1/24,
          local6: "fd00:1::1/64", far_end: 10.255.1.2, far_end6: "fd00:1::2", checks: [ping]}}
    backends: {{web: {{address: 10.10.0.11, checks: [ping]}}, web6: {{address: "fd00:10::11", checks: [ping]}}}}
prefixes: {{{prefixes}}}
eips: {{203.0.113.10: {{bandwidth: {{out: 10mbit}}, bind: [eu/web]}}}}
api: {{port: 8179, socket: {run}/api.sock, group: daemon}}
bgp: {{launch: service, user: nobody, socket: {run}/exabgp.sock, directory: {run}/bgp, reactor_speed: 1}}
state_dir: {directory}/state
"""
POP_SETUP = """
link set lo up
link set up0 up
addr add 192.0.2.1/24 dev up0
addr add 2001:db8:fe::1/64 dev up0 nodad
"""
FAR_SETUP = """
link set lo up
link set up1 up
addr add 192.0.2.2/24 dev up1
addr add 2001:db8:fe::2/64 dev up1 nodad
link add tun0 type vxlan id 7 local 192.0.2.2 remote 192.0.2.1 dstport 4789
link set tun0 up
addr add 10.255.1.2/24 dev tun0
addr add fd00:1::2/64 dev tun0 nodad
addr add 10.10.0.11/32 dev lo
addr add fd00:10::11/128 dev lo nodad
"""
FRR_CONF = f"""
hostname far
router bgp 64496
 bgp router-id 192.0.2.2
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 bgp graceful-restart
 neighbor 192.0.2.1 remote-as 64500
 neighbor 192.0.2.1 password {PASSWORD}
 neighbor 192.0.2.1 timers 3 9
 neighbor 192.0.2.1 timers connect 1
 address-family ipv4 unicast
  neighbor 192.0.2.1 activate
 exit-address-family
 address-family ipv6 unicast
  neighbor 192.0.2.1 activate
 exit-address-family
"""


@dataclass
class UnitStage:
    """The two namespaces, a directory that everybody can enter, and what runs."""

    pop: str
    far: str
    directory: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def run(self) -> Path:
        """Return what stands for /run/anycastd."""
        return self.directory / "run"

    @property
    def config(self) -> Path:
        """Return the daemon's configuration file."""
        return self.directory / "etc" / "anycastd.yaml"

    def ip(self, where: str, lines: str) -> None:
        """Run lines of ip(8) in a namespace."""
        subprocess.run(["ip", "-n", where, "-batch", "-"], input=lines.encode(), check=True, timeout=20)

    def say(self, *argv: str, where: str | None = None, check: bool = True) -> str:
        """Run a program in a namespace and return what it prints."""
        argv = ("ip", "netns", "exec", where or self.pop, *argv)
        return subprocess.run(argv, check=check, capture_output=True, text=True, timeout=30).stdout

    def prepare(self) -> None:
        """Make directories and files as sysusers, tmpfiles and the operator do."""
        for name, mode, user, group in (
            ("run", 0o755, DAEMON, DAEMON),
            ("run/bgp", 0o750, DAEMON, "nogroup"),
            ("state", 0o750, DAEMON, DAEMON),
            ("etc", 0o750, "root", DAEMON),
        ):
            path = self.directory / name
            path.mkdir()
            path.chmod(mode)
            shutil.chown(path, user, group)
        secret = self.directory / "etc" / "secret"
        secret.write_text(f"{PASSWORD}\n", encoding="ascii")
        shutil.chown(secret, "root", DAEMON)
        secret.chmod(0o640)
        self.configure(*PREFIXES.values())

    def configure(self, *prefixes: str) -> None:
        """Write the configuration with these prefixes."""
        listed = ", ".join(f'"{prefix}": {{}}' for prefix in prefixes)
        text = CONFIG.format(run=self.run, directory=self.directory, prefixes=listed)
        self.config.write_text(text, encoding="utf-8")
        shutil.chown(self.config, "root", DAEMON)
        self.config.chmod(0o640)

    def unit(self, name: str, *program: str, **environ: str) -> subprocess.Popen[bytes]:
        """Start a program as a unit would."""
        user, groups = (DAEMON, f"{DAEMON},nogroup") if name == "anycastd.service" else (SPEAKER, "nogroup")
        argv = ["ip", "netns", "exec", self.pop, str(PYTHON), str(CONFINED), str(UNITS / name), user, groups,
                str(self.directory), *program]  # fmt: skip
        with (self.directory / f"log-{len(self.running)}").open("wb") as log:
            started = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                       env={**os.environ, **environ}, cwd="/")  # fmt: skip
        self.running.append(started)
        return started

    def log(self, one: subprocess.Popen[bytes]) -> str:
        """Return what a program of `unit` printed."""
        return (self.directory / f"log-{self.running.index(one)}").read_text(encoding="utf-8")

    def daemon(self, **environ: str) -> subprocess.Popen[bytes]:
        """Start the daemon."""
        return self.unit(
            "anycastd.service", str(PYTHON.with_name("anycastd")), "run", "-c", str(self.config), **environ
        )

    def speaker(self, verb: str = "start") -> subprocess.Popen[bytes]:
        """Start or stop ExaBGP as its unit does."""
        module = ("-m", "anycastd.actuators.exabgp.service")
        return self.unit("anycastd-bgp.service", str(PYTHON), *module, verb, str(self.run / "bgp"))

    def frr(self) -> None:
        """Start bgpd in the far namespace."""
        sockets = self.directory / "frr"
        sockets.mkdir()
        shutil.chown(sockets, "frr", "frr")
        conf = sockets / "bgpd.conf"
        conf.write_text(FRR_CONF, encoding="ascii")
        argv = ["ip", "netns", "exec", self.far, "/usr/lib/frr/bgpd", "-f", str(conf), "-i", str(sockets / "pid"),
                "--vty_socket", str(sockets), "-n", "-Z", "-A", "127.0.0.1", "-P", "0"]  # fmt: skip
        self.running.append(subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        wait_until("bgpd answers", 10, lambda: (sockets / "bgpd.vty").exists())

    def routes(self, version: int = 4) -> dict[str, Any]:
        """Return the paths that the router has."""
        show = f"show bgp ipv{version} unicast json"
        text = self.say("vtysh", "--vty_socket", str(self.directory / "frr"), "-c", show, where=self.far, check=False)
        found: dict[str, Any] = json.loads(text).get("routes", {}) if text.startswith("{") else {}
        return {prefix: paths[0] for prefix, paths in found.items()}

    def announced(self) -> set[str]:
        """Return what the router has and is not stale."""
        paths = self.routes(4) | self.routes(6)
        return {prefix for prefix, path in paths.items() if not path.get("stale")}

    def ask(self, *words: str) -> str:
        """Run a verb as the daemon's user."""
        own = ("setpriv", "--reuid", DAEMON, "--regid", DAEMON, "--clear-groups", "--")
        argv = ("ip", "netns", "exec", self.pop, *own, str(PYTHON.with_name("anycastd")), *words,
                "--socket", str(self.run / "api.sock"))  # fmt: skip
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
        return done.stdout + done.stderr

    def tell(self) -> None:
        """Print what every program printed: a test that fails shows it."""
        for log in sorted(self.directory.glob("log-*")):
            print(f"--- {log.name}\n{log.read_text(encoding='utf-8')}")

    def close(self) -> None:
        """End all that runs."""
        for one in self.running:
            if one.poll() is None:
                one.kill()
                one.wait()


class Systemd:
    """A service manager's datagram socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        path.chmod(0o777)
        self._socket.setblocking(False)
        self.heard: list[dict[str, str]] = []

    def said(self, field: str) -> list[str]:
        """Return every value of a field until now."""
        with suppress(BlockingIOError):
            while True:
                text = self._socket.recv(65536).decode()
                self.heard.append(dict(line.split("=", 1) for line in text.splitlines()))
        return [message[field] for message in self.heard if field in message]

    def close(self) -> None:
        """Close it."""
        self._socket.close()


@contextmanager
def unit_stage() -> Iterator[UnitStage]:
    """Make the namespaces and the router; leave nothing behind."""
    pop, far = names = [f"un-{os.getpid()}-{end}" for end in ("pop", "far")]
    made = UnitStage(pop, far, Path(tempfile.mkdtemp(prefix="anycastd-un-")))
    made.directory.chmod(0o755)
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True, timeout=20)
        made.ip(made.pop, f"link add up0 type veth peer name up1 netns {made.far}\n{POP_SETUP}")
        made.ip(made.far, FAR_SETUP)
        made.prepare()
        made.frr()
        yield made
    except BaseException:
        made.tell()
        raise
    finally:
        made.close()
        for name in names:
            for pid in subprocess.run(
                ["ip", "netns", "pids", name], capture_output=True, text=True, timeout=20
            ).stdout.split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=20)
        shutil.rmtree(made.directory, ignore_errors=True)
