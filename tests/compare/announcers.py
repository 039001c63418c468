"""What is compared: programs that announce a prefix while a server answers, each as its own documentation has it.

All check the same server each second, with a timeout of a second, and count two probes either way. What ends is
started again after a second, as a service manager does.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Protocol

from tests.bench.configs import document, region, server
from tests.bench.world import POP_ADDRESS, ROUTER, ROUTER_ASN, World
from tests.wait import wait_until

PREFIX = "203.0.113.0/24"
CURL = f"curl -fsS -o /dev/null -m 1 http://{server(0)}/"
ANYCAST_HEALTHCHECKER = "ANYCASTD_PEER_AH"
"""Names the command of an installed anycast-healthchecker."""
TIMERS = {"settle": "0s", "return_after": "0s", "return_max": "0s", "half_life": "1s"}
"""Ours, so that nothing is held back: what is compared is how soon a failure is seen."""


def processes(made: World, words: str) -> list[int]:
    """Return the processes of the POP whose command line holds these words, oldest first."""
    pids = [int(pid) for pid in made.read("ip", "netns", "pids", made.pop).split()]
    found = []
    for pid in sorted(pids):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if words in line:
            found.append(pid)
    return found


class Announcer(Protocol):
    """One program, or the pair of a checker and a BGP speaker."""

    name: str
    checker: str
    """Words in the checker's command line."""
    speaker: str

    def start(self, made: World) -> None:
        """Start all of it."""

    def again(self, made: World) -> None:
        """Start what has ended and is not started by another part of it."""


@dataclass
class Ours:
    """anycastd."""

    name: str = "anycastd"
    checker: str = "anycastd run"
    speaker: str = "exabgp server"
    timers: dict[str, str] = field(default_factory=lambda: dict(TIMERS))
    child: subprocess.Popen[bytes] | None = None

    def start(self, made: World) -> None:
        """Start all of it."""
        check = {"http": {"interval": "1s", "timeout": "1s", "rise": 2, "fall": 2}}
        regions = {"r0": region(0, {"web": {"address": server(0), "checks": [check]}})}
        prefixes = {PREFIX: {"last_resort": "withdraw", "timers": self.timers}}
        made.write_config(document(regions, prefixes))
        self.child = made.daemon()

    def again(self, made: World) -> None:
        """Start what has ended and is not started by another part of it."""
        if self.child is not None and self.child.poll() is not None:
            self.child = made.daemon()


HEALTHCHECK = (
    f'--no-syslog --cmd "{CURL}" --ip {PREFIX} --no-ip-setup --next-hop {POP_ADDRESS} --withdraw-on-down '
    "--interval 1 --fast-interval 1 --timeout 1 --rise 2 --fall 2"
)
EXABGP = """
process watch {{
  run {python} -m exabgp healthcheck {options};
  encoder text;
}}
neighbor {router} {{
  router-id {pop}; local-address {pop}; local-as 64500; peer-as {asn};
  api {{ processes [ watch ]; }}
}}
"""


@dataclass
class ExabgpHealthcheck:
    """ExaBGP with its own healthcheck."""

    name: str = "ExaBGP healthcheck"
    checker: str = "exabgp healthcheck"
    speaker: str = "exabgp server"
    child: subprocess.Popen[bytes] | None = None

    def start(self, made: World) -> None:
        """Start all of it."""
        conf = made.directory / "peer.conf"
        words = {"python": sys.executable, "options": HEALTHCHECK, "pop": POP_ADDRESS}
        conf.write_text(EXABGP.format(router=ROUTER, asn=ROUTER_ASN, **words), encoding="ascii")
        argv = ["env", "exabgp_daemon_user=root", "exabgp_daemon_drop=false", "exabgp_api_cli=false",
                sys.executable, "-m", "exabgp", "server", str(conf)]  # fmt: skip
        self.child = made.spawn(made.pop, argv, "peer.log")

    def again(self, made: World) -> None:
        """Start what has ended and is not started by another part of it."""
        if self.child is not None and self.child.poll() is not None:
            self.start(made)


BIRD = """
log "{directory}/bird.log" all;
router id {pop};
include "{directory}/prefixes.conf";
protocol device {{ }}
protocol static {{ ipv4; route {prefix} blackhole; }}
protocol bgp peer {{
  local as 64500; neighbor {router} as {asn}; connect delay time 1; connect retry time 1;
  ipv4 {{ import none; export where net ~ ACAST_PS_ADVERTISE; }};
}}
"""
AH_DAEMON = """
[daemon]
pidfile = {directory}/ah.pid
ipv4 = true
bird_conf = {directory}/prefixes.conf
bird_reconfigure_cmd = {birdc}
dummy_ip_prefix = 10.189.200.255/32
log_file = {directory}/ah.log
stderr_file = {directory}/ah.err
purge_ip_prefixes = false
"""
AH_SERVICE = """
[web]
check_cmd = {curl}
check_interval = 1
check_timeout = 1
check_rise = 2
check_fail = 2
check_disabled = false
ip_check_disabled = true
on_disabled = withdraw
ip_prefix = {prefix}
"""
BIRDC = """#!/bin/sh
# waits once as long as the file says, as a birdc does whose bird does not answer
if [ -e {directory}/hang ]; then s=$(cat {directory}/hang); rm {directory}/hang; sleep "$s"; fi
exec birdc -s {directory}/bird.ctl configure
"""


@dataclass
class AnycastHealthchecker:
    """anycast-healthchecker and BIRD."""

    name: str = "anycast-healthchecker + BIRD"
    checker: str = "anycast-healthchecker -f"
    speaker: str = "bird -f"
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, made: World) -> None:
        """Start all of it."""
        path = made.directory
        words = {"directory": path, "pop": POP_ADDRESS, "router": ROUTER, "asn": ROUTER_ASN, "prefix": PREFIX}
        birdc = path / "birdc.sh"
        for file, text in (
            (path / "bird.conf", BIRD.format(**words)),
            (path / "prefixes.conf", "define ACAST_PS_ADVERTISE =\n    [\n        10.189.200.255/32\n    ];\n"),
            (path / "ah.conf", AH_DAEMON.format(birdc=birdc, **words)),
            (path / "web.conf", AH_SERVICE.format(curl=CURL, **words)),
            (birdc, BIRDC.format(**words)),
        ):
            file.write_text(text, encoding="ascii")
        birdc.chmod(0o755)
        self._bird(made)
        wait_until("bird answers", 10, (path / "bird.ctl").exists)
        self._checker(made)

    def _bird(self, made: World) -> None:
        path = made.directory
        argv = ["bird", "-f", "-c", str(path / "bird.conf"), "-s", str(path / "bird.ctl"), "-P", str(path / "bird.pid")]
        self.children["bird"] = made.spawn(made.pop, argv, "bird.out")

    def _checker(self, made: World) -> None:
        (made.directory / "ah.pid").unlink(missing_ok=True)
        argv = [os.environ[ANYCAST_HEALTHCHECKER], "-f", str(made.directory / "ah.conf"), "-F",
                str(made.directory / "web.conf")]  # fmt: skip
        self.children["checker"] = made.spawn(made.pop, argv, "ah.out")

    def again(self, made: World) -> None:
        """Start what has ended and is not started by another part of it."""
        for name, start in (("bird", self._bird), ("checker", self._checker)):
            if self.children[name].poll() is not None:
                start(made)


def present() -> list[type[Announcer]]:
    """Return what can be run here."""
    found: list[type[Announcer]] = [Ours, ExabgpHealthcheck]
    if os.environ.get(ANYCAST_HEALTHCHECKER) and shutil.which("bird"):
        found.append(AnycastHealthchecker)
    return found


def versions() -> str:
    """Return what is compared, with versions."""
    found = [f"anycastd {metadata.version('anycastd-edge')}", f"ExaBGP {metadata.version('exabgp')}"]
    if AnycastHealthchecker in present():
        for name, command in (("anycast-healthchecker", os.environ[ANYCAST_HEALTHCHECKER]), ("BIRD", "bird")):
            said = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=20, check=True)
            found.append(f"{name} {(said.stdout + said.stderr).split()[-1]}")
    return ", ".join(found)


def kill(made: World, words: str, number: signal.Signals) -> int:
    """Signal the processes whose command line holds these words; return how many there were."""
    pids = processes(made, words)
    for pid in pids:
        os.kill(pid, number)
    return len(pids)
