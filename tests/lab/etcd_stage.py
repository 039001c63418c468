"""Three members of an etcd and some POPs, each in a namespace of its own, around a hub that routes between them.

The hub is also the far end of every POP's tunnel and has the backend. A member is cut off silently by the hub's packet
filter: packets vanish, nobody is told. What a test runs itself (a store) can be run inside the first POP's namespace.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from anycastd.cli.client import AskError, ask
from tests.etcd.member import Member, needed
from tests.wait import wait_until

ANYCASTD = Path(sys.executable).with_name("anycastd")
CLONE_NEWNET = 0x40000000
BACKEND = "10.10.0.11"
CONFIG = """
pop: {{name: {name}, asn: 64500, router_id: {address}}}
neighbors: {{hub: {{address: {hub}, asn: 64496, local_address: {address}}}}}
checks: {{ping: {{icmp: {{interval: 200ms, timeout: 500ms, rise: 2}}}}}}
regions:
  eu:
    tunnels: {{t1: {{device: tun0, local: {near}, far_end: {far}, checks: [ping]}}}}
    backends: {{web: {{address: {backend}, checks: [ping]}}}}
prefixes: {{203.0.113.0/24: {{last_resort: withdraw}}}}
api: {{port: 8179, socket: {directory}/api.sock}}
bgp: {{user: nobody, socket: {directory}/exabgp.sock, directory: {directory}/bgp, reactor_speed: 1}}
operator: {{depref: 0s, quiet_for: 0s, wait_at_most: 1s}}
state_dir: {directory}/state
{store}
"""


def tunnel(address: str) -> str:
    """Return the address on a POP's tunnel that stands beside one on its uplink."""
    return address.replace("10.77.", "10.78.")


def run(*argv: str, text: str | None = None) -> str:
    """Run a program to its end and return what it prints."""
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
    return done.stdout


@dataclass
class Pop:
    """One POP: its namespace, its directory, and its daemon if one was started."""

    name: str
    netns: str
    address: str
    hub: str
    directory: Path
    daemon: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Path:
        """Return the daemon's configuration file."""
        return self.directory / "anycastd.yaml"

    def configure(self, store: str) -> None:
        """Write the configuration with this section `store`."""
        self.config.write_text(
            CONFIG.format(name=self.name, address=self.address, hub=self.hub, backend=BACKEND, store=store,
                          near=tunnel(self.address), far=tunnel(self.hub), directory=self.directory),
            encoding="utf-8")  # fmt: skip

    def start(self) -> None:
        """Start the daemon, and wait until it answers."""
        self.begin()
        self.wait()

    def begin(self) -> None:
        """Start the daemon."""
        argv = ["ip", "netns", "exec", self.netns, str(ANYCASTD), "run", "-c", str(self.config)]
        with (self.directory / "log").open("ab") as log:
            self.daemon = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def wait(self) -> None:
        """Wait until the daemon answers."""
        wait_until(f"{self.name} answers", 60, lambda: bool(self.try_ask("/v1/status")))

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Send the daemon a signal and wait for its end."""
        assert self.daemon is not None
        self.daemon.send_signal(number)
        self.daemon.wait(40)
        self.daemon = None

    def try_ask(self, target: str, **more: Any) -> Any:
        """Ask the daemon by its socket, which costs no start of a program; None while it gives no good answer."""
        try:
            return ask(str(self.directory / "api.sock"), target, timeout_s=60, **more)
        except AskError:
            return None

    def try_cli(self, *words: str) -> tuple[int, str]:
        """Run a verb; return its exit status and what it says."""
        argv = ["ip", "netns", "exec", self.netns, str(ANYCASTD), *words]
        if "-c" not in words:
            argv += ["--socket", str(self.directory / "api.sock")]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def cli(self, *words: str) -> str:
        """Run a verb that must succeed."""
        code, said = self.try_cli(*words)
        assert code == 0, said
        return said

    def bound(self) -> frozenset[str]:
        """Return the EIPs that the kernel knows."""
        argv = ["ip", "netns", "exec", self.netns, "nft", "-j", "list", "map", "inet", "anycastd", "eip4"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
        if done.returncode:
            return frozenset()
        (found,) = (item["map"] for item in json.loads(done.stdout)["nftables"] if "map" in item)
        return frozenset(_key(element) for element in found.get("elem", []))


def _key(element: Any) -> str:
    """Return the address of an element of a map, with or without a counter."""
    key = element[0]
    return str(key["elem"]["val"] if isinstance(key, dict) else key)


@dataclass
class Stage:
    """The namespaces and what runs in them."""

    directory: Path
    hub: str
    members: list[Member] = field(default_factory=list)
    pops: dict[str, Pop] = field(default_factory=dict)
    netns: list[str] = field(default_factory=list)

    @property
    def cluster(self) -> dict[str, str]:
        """Return the peers' URLs by name."""
        return {member.name: member.peer for member in self.members}

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Return where clients reach the members."""
        return tuple(member.client for member in self.members)

    def start_members(self, *members: Member) -> None:
        """Start members (of all, unless some are named) and wait until a majority is well."""
        for member in members or self.members:
            member.start(self.cluster)
        self.wait_healthy()

    def wait_healthy(self) -> None:
        """Wait until every running member is of a majority."""
        for member in self.members:
            if member.process is not None:
                wait_until(f"{member.name} is well", 40, partial(is_healthy, member))

    def leader(self) -> Member:
        """Return the member that leads."""

        def found() -> Member | None:
            for member in self.members:
                if member.process is not None:
                    (status,) = json.loads(member.ctl("endpoint", "status", "-w", "json"))
                    if status["Status"]["leader"] == status["Status"]["header"]["member_id"]:
                        return member
            return None

        return wait_until("somebody leads", 20, found)

    def cut(self, *members: Member) -> None:
        """Let every packet of these members vanish, and only theirs; none: all go again."""
        rules = "".join(f"add rule inet cut way ip {way} {host_of(member)} drop\n"
                        for member in members for way in ("saddr", "daddr"))  # fmt: skip
        text = "add table inet cut\nflush table inet cut\n" + (
            "add chain inet cut way { type filter hook forward priority 0; }\n" + rules if members else ""
        )
        run("ip", "netns", "exec", self.hub, "nft", "-f", "-", text=text)

    def heal(self) -> None:
        """Have every member run, and every packet go."""
        self.cut()
        dead = [member for member in self.members if member.process is None]
        for member in dead:
            member.start(self.cluster)
        self.wait_healthy()

    def restore(self, snapshot: Path) -> None:
        """Lose every member with its data, and bring the cluster back from a snapshot, as an operator would."""
        peers = ",".join(f"{name}={url}" for name, url in self.cluster.items())
        for member in self.members:
            member.kill()
            member.forget()
            member.ctl("snapshot", "restore", str(snapshot), "--name", member.name, "--data-dir", str(member.data),
                       "--initial-cluster", peers, "--initial-cluster-token", member.token,
                       "--initial-advertise-peer-urls", member.peer)  # fmt: skip
        self.start_members()

    def begin_anew(self, token: str) -> None:
        """Lose every member with its data, and begin another cluster at the same addresses."""
        for member in self.members:
            member.kill()
            member.forget()
            member.token = token
        self.start_members()

    def start_pops(self, *names: str, store: str) -> list[Pop]:
        """Configure and start the daemons of these POPs."""
        pops = [self.pops[name] for name in names]
        for pop in pops:
            pop.configure(store)
            pop.begin()
        for pop in pops:
            pop.wait()
        return pops

    def close(self) -> None:
        """End all that runs, and remove the namespaces."""
        for pop in self.pops.values():
            if pop.daemon is not None:
                pop.daemon.kill()
                pop.daemon.wait(10)
        for member in self.members:
            member.kill()
        for name in self.netns:
            said = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, timeout=20).stdout
            for pid in said.split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=20)


def host_of(member: Member) -> str:
    """Return a member's address."""
    return member.client.split("//")[1].split(":")[0]


def is_healthy(member: Member) -> bool:
    """Return whether a majority answers by a member; etcdctl would wait two seconds for one that does not."""
    with inside(member.inside[-1]):
        return member.healthy()


@contextmanager
def inside(netns: str) -> Iterator[None]:
    """Have this thread, and the sockets it makes, be in a namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    before, there = (os.open(path, os.O_RDONLY) for path in ("/proc/thread-self/ns/net", f"/run/netns/{netns}"))
    try:
        assert libc.setns(there, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        yield
    finally:
        libc.setns(before, CLONE_NEWNET)
        os.close(before)
        os.close(there)


@contextmanager
def etcd_stage(pops: Sequence[str], members: int = 3) -> Iterator[Stage]:
    """Make the namespaces; members and daemons are started by the test. Leave nothing behind."""
    needed()
    prefix = f"et{os.getpid()}"
    stage = Stage(Path(tempfile.mkdtemp(prefix="anycastd-et-")), f"{prefix}-hub")
    stage.directory.chmod(0o755)
    try:
        _make(stage, prefix, pops, members)
        yield stage
    except BaseException:
        for log in sorted(stage.directory.rglob("log")):
            print(f"--- {log}\n{log.read_text(errors='replace')[-6000:]}")
        raise
    finally:
        stage.close()
        shutil.rmtree(stage.directory, ignore_errors=True)


def _make(stage: Stage, prefix: str, pops: Sequence[str], members: int) -> None:
    names = [*(f"m{number}" for number in range(1, members + 1)), *pops]
    stage.netns = [stage.hub, *(f"{prefix}-{name}" for name in names)]
    for name in stage.netns:
        run("ip", "netns", "add", name)
    hub = ["link set lo up", f"addr add {BACKEND}/32 dev lo"]
    for number, name in enumerate(names, start=1):
        netns, ours, theirs = f"{prefix}-{name}", f"10.77.{number}.2", f"10.77.{number}.1"
        run("ip", "-n", stage.hub, "link", "add", f"to-{name}", "type", "veth", "peer", "name", "up0", "netns", netns)
        hub += [f"addr add {theirs}/24 dev to-{name}", f"link set to-{name} up"]
        there = f"link set lo up\naddr add {ours}/24 dev up0\nlink set up0 up\nroute add default via {theirs}\n"
        run("ip", "-n", netns, "-batch", "-", text=there)
        if name in pops:
            link = ("type", "veth", "peer", "name", "tun0", "netns", netns)
            run("ip", "-n", stage.hub, "link", "add", f"tun-{name}", *link)
            hub += [f"addr add {tunnel(theirs)}/24 dev tun-{name}", f"link set tun-{name} up"]
            run("ip", "-n", netns, "-batch", "-", text=f"addr add {tunnel(ours)}/24 dev tun0\nlink set tun0 up\n")
            directory = stage.directory / name
            directory.mkdir()
            directory.chmod(0o755)
            stage.pops[name] = Pop(name, netns, ours, theirs, directory)
        else:
            inside_ = ("ip", "netns", "exec", netns)
            urls = (f"http://{ours}:2379", f"http://{ours}:2380")
            stage.members.append(Member(name, stage.directory, *urls, inside=inside_))
    run("ip", "-n", stage.hub, "-batch", "-", text="\n".join(hub) + "\n")
    run("ip", "netns", "exec", stage.hub, "sysctl", "-qw", "net.ipv4.ip_forward=1")
