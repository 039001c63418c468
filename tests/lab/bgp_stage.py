"""A network namespace with raw BGP listeners, in which the real speaker and the real ExaBGP run; gone when we are."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path
from typing import Any, TypeVar

from anycastd.actuators.exabgp.events import SpeakerEvent
from anycastd.actuators.exabgp.speaker import Speaker
from anycastd.model.address import Family, NeighborName
from anycastd.model.bgp import Announce, Priority, Route, SpeakerState, Withdraw
from anycastd.model.topology import BgpConfig, Neighbor, Pop
from tests.wait import AT_LEAST_S, NotInTimeError, wait_until

SINK_PROGRAM = Path(__file__).with_name("bgp_sink.py")
CLONE_NEWNET = 0x40000000
T = TypeVar("T")
LOCAL, LOCAL6 = "10.9.0.1", "fd09::1"
PEERS = range(2, 20)
POP = Pop(name="ex", asn=65000, router_id=IPv4Address(LOCAL))

GUARD = """
cat > /dev/null
for pid in $(ip netns pids "$1"); do kill -9 "$pid"; done
ip netns del "$1"
rm -rf "$2"
"""
"""Cleans up when its standard input closes: at the end of the stage, and also when we are killed."""


async def eventually(what: str, deadline_s: float, so: Callable[[], T | None]) -> T:
    """Return the first truthy value of `so()` without holding the event loop up."""
    deadline_s = max(deadline_s, AT_LEAST_S)
    end_s = time.monotonic() + deadline_s
    while not (value := so()):
        if time.monotonic() > end_s:
            message = f"not within {deadline_s} s: {what} (last seen: {value!r})"
            raise NotInTimeError(message)
        await asyncio.sleep(0.01)
    return value


@dataclass
class Sink:
    """A raw listener and what it has seen."""

    process: subprocess.Popen[bytes]
    path: Path

    def rows(self, *kinds: str) -> list[dict[str, Any]]:
        """Return the stamped lines of these kinds."""
        lines = self.path.read_text(encoding="ascii").splitlines(keepends=True)
        rows = [json.loads(line) for line in lines if line.endswith("\n")]
        return [row for row in rows if not kinds or row["kind"] in kinds]

    def updates(self) -> list[dict[str, Any]]:
        """Return every route, withdrawal and End-of-RIB."""
        return self.rows("announce", "withdraw", "eor")

    def table(self) -> dict[str, dict[str, Any]]:
        """Return what a router would have of the last session."""
        table: dict[str, dict[str, Any]] = {}
        for row in self.rows():
            if row["kind"] == "announce":
                table[row["prefix"]] = row
            elif row["kind"] == "withdraw":
                table.pop(row["prefix"], None)
            elif row["kind"] == "open":
                table.clear()
        return table

    def end(self) -> None:
        """Kill it, as a router dies."""
        self.process.kill()
        self.process.wait()


FRR_CONF = """
hostname frr
no ipv6 forwarding
router bgp {asn}
 bgp router-id 10.9.0.{number}
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 bgp graceful-restart
 bgp graceful-restart stalepath-time 60
 neighbor 10.9.0.1 remote-as 65000
 neighbor 10.9.0.1 passive
 neighbor 10.9.0.1 disable-connected-check
 neighbor 10.9.0.1 ebgp-multihop 5
 neighbor 10.9.0.1 timers 3 9
 {more}
 address-family ipv4 unicast
  neighbor 10.9.0.1 activate
 exit-address-family
 address-family ipv6 unicast
  neighbor 10.9.0.1 activate
 exit-address-family
"""


@dataclass
class Frr:
    """A real FRR bgpd that keeps routes over a graceful restart."""

    stage: Stage
    number: int
    process: subprocess.Popen[bytes]
    sockets: Path

    def routes(self, version: int = 4) -> dict[str, dict[str, Any]]:
        """Return the paths it has, by prefix."""
        said = self.show(f"show bgp ipv{version} unicast json")
        return {prefix: paths[0] for prefix, paths in said.get("routes", {}).items()}

    def show(self, command: str) -> dict[str, Any]:
        """Ask it something."""
        text = self.stage.run("vtysh", "--vty_socket", str(self.sockets), "-c", command, check=False)
        said: dict[str, Any] = json.loads(text) if text.startswith("{") else {}
        return said

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()


@dataclass
class Daemon:
    """A speaker in a process of its own."""

    process: subprocess.Popen[bytes]
    path: Path

    def said(self, event: str) -> list[str]:
        """Return its events whose name begins so."""
        return [line for line in self.path.read_text(encoding="utf-8").splitlines() if line.startswith(event)]

    def end(self) -> None:
        """Kill it as a fault does."""
        self.process.kill()
        self.process.wait()


@dataclass
class Stage:
    """The namespace, a directory that every user can enter, and what runs."""

    name: str
    directory: Path
    sinks: list[Sink | Frr | Daemon] = field(default_factory=list)
    speakers: list[Driven] = field(default_factory=list)

    def run(self, *argv: str, check: bool = True) -> str:
        """Run a program in the namespace."""
        argv = ("ip", "netns", "exec", self.name, *argv)
        return subprocess.run(argv, check=check, capture_output=True, text=True, timeout=20).stdout

    def sink(self, number: int, asn: int = 65001, *options: str, version: int = 4) -> Sink:
        """Start a listener at 10.9.0.NUMBER or fd09::NUMBER."""
        address = f"10.9.0.{number}" if version == 4 else f"fd09::{number}"
        path = self.directory / f"sink-{number}-{len(self.sinks)}.jsonl"
        with path.open("wb") as out:
            argv = ["ip", "netns", "exec", self.name, sys.executable, str(SINK_PROGRAM), address, str(asn), *options]
            sink = Sink(subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT), path)
        self.sinks.append(sink)
        wait_until("the listener listens", 10, lambda: sink.rows("listening"))
        return sink

    def frr(self, number: int, asn: int = 65001, more: str = "", after: str = "") -> Frr:
        """Start bgpd at 10.9.0.NUMBER; `after` is added to its configuration."""
        sockets = self.directory / f"frr-{number}"
        sockets.mkdir(mode=0o755)
        shutil.chown(sockets, "frr", "frr")
        conf = sockets / "bgpd.conf"
        conf.write_text(FRR_CONF.format(asn=asn, number=number, more=more) + after, encoding="ascii")
        argv = ["ip", "netns", "exec", self.name, "/usr/lib/frr/bgpd", "-f", str(conf), "-i", str(sockets / "pid"),
                "--vty_socket", str(sockets), "-n", "-Z", "-l", f"10.9.0.{number}", "-A", "127.0.0.1",
                "-P", "0", "--log", f"file:{sockets}/log"]  # fmt: skip
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        frr = Frr(self, number, process, sockets)
        self.sinks.append(frr)
        wait_until("bgpd answers", 10, lambda: frr.show("show bgp summary json") or (sockets / "bgpd.vty").exists())
        return frr

    def config(self, **more: Any) -> BgpConfig:
        """Return how ExaBGP runs here."""
        plain: dict[str, Any] = {
            "user": "nobody",
            "socket": str(self.directory / "run" / "exabgp.sock"),
            "directory": str(self.directory / "run" / "bgp"),
        }
        return BgpConfig(**{**plain, **more})

    def daemon(self, *prefixes: str) -> Daemon:
        """Start a daemon in a process of its own, for neighbor n2."""
        path = self.directory / f"daemon-{len(self.sinks)}.log"
        (self.directory / "run").mkdir(exist_ok=True)
        argv = [sys.executable, "-m", "tests.lab.bgp_daemon", str(self.directory / "run"), *prefixes]
        with path.open("wb") as out:
            root = Path(__file__).parents[2]
            process = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT, cwd=root)
        daemon = Daemon(process, path)
        self.sinks.append(daemon)
        return daemon

    async def close(self) -> None:
        """End every speaker that a test left running."""
        for driven in self.speakers:
            if driven.speaker.is_open:
                await driven.speaker.stop(withdraw=False)

    def driven(self, *neighbors: Neighbor, **more: Any) -> Driven:
        """Return a speaker for these neighbors, not yet started."""
        driven = Driven(self.config(**more), neighbors)
        self.speakers.append(driven)
        return driven


class Driven:
    """A speaker and what it told."""

    def __init__(self, config: BgpConfig, neighbors: tuple[Neighbor, ...]) -> None:
        self.events: list[SpeakerEvent] = []
        self.changes = 0
        self.config = config
        self.speaker = Speaker(
            config, POP, {n.name: n for n in neighbors}, on_change=self._changed, on_event=self.events.append
        )

    def _changed(self, _prefixes: object) -> None:
        self.changes += 1

    def of(self, kind: type[T]) -> list[T]:
        """Return the events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    async def start(self, within_s: float = 20.0) -> Driven:
        """Start it and wait until it is ready and has read the routes."""
        await self.speaker.start()
        await self.ready(within_s)
        return self

    async def ready(self, within_s: float = 20.0) -> None:
        """Wait until it is ready and has read the routes."""
        await eventually("the speaker is ready", within_s, self.is_ready)

    def is_ready(self) -> bool:
        """Return whether it can be fed."""
        seen = self.speaker.observed
        return seen.speaker is SpeakerState.READY and seen.routes is not None

    async def up(self, *names: str, within_s: float = 20.0) -> None:
        """Wait until these sessions are up."""
        for name in names:
            await eventually(f"session {name} is up", within_s, partial(self._is_up, name))

    def state(self, name: str) -> str:
        """Return a session's state."""
        return self.speaker.observed.sessions[NeighborName(name)].state.value

    def _is_up(self, name: str) -> bool:
        return self.state(name) == "established"

    async def settled(self, within_s: float = 20.0) -> None:
        """Wait until nothing is under way."""
        await eventually("nothing in flight", within_s, lambda: not self.speaker.observed.in_flight)

    @property
    def pid(self) -> int:
        """Return ExaBGP's pid."""
        running = self.speaker.supervisor.running
        assert running is not None
        return running.pid

    def have(self, name: str) -> dict[str, Route]:
        """Return what ExaBGP holds for a neighbor."""
        routes = self.speaker.observed.routes
        assert routes is not None
        return {str(prefix): one for prefix, one in routes[NeighborName(name)].items()}


def neighbor(number: int, asn: int = 65001, *, version: int = 4, **more: Any) -> Neighbor:
    """Return neighbor `nNUMBER`."""
    plain: dict[str, Any] = {
        "name": NeighborName(f"n{number}"),
        "address": ip_address(f"10.9.0.{number}" if version == 4 else f"fd09::{number}"),
        "asn": asn,
        "local_address": ip_address(LOCAL if version == 4 else LOCAL6),
        "local_asn": 65000,
        "families": (Family.IPV4_UNICAST, Family.IPV6_UNICAST),
    }
    return Neighbor(**{**plain, **more})


def route(prefix: str, **more: Any) -> Route:
    """Return a route with our AS path, unless said otherwise."""
    hop = LOCAL6 if ":" in prefix else LOCAL
    return Route(**{"prefix": ip_network(prefix), "next_hop": hop, "as_path": (65000,), **more})


def announce(number: int, prefix: str, priority: Priority = Priority.NORMAL, **more: Any) -> Announce:
    """Return the announcement of a route to neighbor `nNUMBER`."""
    return Announce(NeighborName(f"n{number}"), route(prefix, **more), priority)


def withdraw(number: int, prefix: str) -> Withdraw:
    """Return the withdrawal of a prefix from neighbor `nNUMBER`."""
    return Withdraw(NeighborName(f"n{number}"), ip_network(prefix), LOCAL6 if ":" in prefix else LOCAL)


def children(pid: int) -> list[int]:
    """Return the pids of a process's children."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Signal one process of ours."""
    os.kill(pid, number)


@contextmanager
def stage() -> Iterator[Stage]:
    """Make the namespace and be in it; leave nothing behind."""
    name = f"ex-{os.getpid()}-{time.monotonic_ns() % 100000}"
    directory = Path(tempfile.mkdtemp(prefix="anycastd-ex-"))
    directory.chmod(0o755)
    subprocess.run(["ip", "netns", "add", name], check=True)
    guard = subprocess.Popen(
        ["sh", "-c", GUARD, "guard", name, str(directory)],
        stdin=subprocess.PIPE, start_new_session=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    libc = ctypes.CDLL(None, use_errno=True)
    made = Stage(name, directory)
    try:
        made.run("ip", "link", "set", "lo", "up")
        for number in (1, *PEERS):
            made.run("ip", "addr", "add", f"10.9.0.{number}/32", "dev", "lo")
            made.run("ip", "addr", "add", f"fd09::{number}/128", "dev", "lo", "nodad")
        assert libc.setns(there, CLONE_NEWNET) == 0
        yield made
    finally:
        assert libc.setns(home, CLONE_NEWNET) == 0
        os.close(home)
        os.close(there)
        for sink in made.sinks:
            sink.end()
        assert guard.stdin is not None
        guard.stdin.close()
        guard.wait(10)
        shutil.rmtree(directory, ignore_errors=True)
