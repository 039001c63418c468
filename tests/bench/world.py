"""Two namespaces: a POP with the real daemon, and the other side with routers and servers; gone when we are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anycastd.cli.client import AskError, UnixConnection, ask
from tests.wait import wait_until

ROOT = Path(__file__).parents[2]
SINK_PROGRAM = ROOT / "tests" / "lab" / "bgp_sink.py"
BACKEND_PROGRAM = Path(__file__).with_name("backend.py")
POP_ADDRESS, ROUTER, ROUTER_ASN = "10.9.0.1", "10.9.0.2", 64496

GUARD = """
cat > /dev/null
rm -rf "$1"
shift
for name in "$@"; do
  for pid in $(ip netns pids "$name"); do kill -9 "$pid"; done
  ip netns del "$name"
done
"""
"""Cleans up when its standard input closes: at the end of the bench, and also when we are killed."""

Row = dict[str, Any]


def run(*argv: str, text: str | None = None) -> str:
    """Run a command and return what it says; raise OSError when it fails."""
    try:
        done = subprocess.run(argv, check=False, input=text, capture_output=True, text=True, timeout=20)
    except subprocess.TimeoutExpired as error:
        raise OSError(str(error)[:300]) from error
    if done.returncode:
        message = f"{' '.join(argv)[:200]}: {done.stderr[:300]}"
        raise OSError(message)
    return done.stdout


class Rows:
    """JSON lines that a program writes, read as they grow."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._rest = b""

    def new(self) -> list[Row]:
        """Return the lines written since the last call."""
        data = self._rest + self._file.read()
        whole, _, self._rest = data.rpartition(b"\n")
        return [json.loads(line) for line in whole.splitlines()]

    def close(self) -> None:
        """Read no more."""
        self._file.close()


@dataclass
class Program:
    """A child that tells by JSON lines what it saw."""

    process: subprocess.Popen[bytes]
    rows: Rows
    name: str = ""

    def tell(self, **order: Any) -> None:
        """Give it an order."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.rows.close()


@dataclass
class World:
    """The namespaces `pop` and `far`, joined by a BGP link and one link for each tunnel."""

    pop: str
    far: str
    directory: Path
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)
    programs: list[Program] = field(default_factory=list)

    def run(self, *argv: str, text: str | None = None) -> None:
        """Run a command; raise OSError when it fails."""
        run(*argv, text=text)

    def read(self, *argv: str) -> str:
        """Run a command and return what it says; raise OSError when it fails."""
        return run(*argv)

    def spawn(self, name: str, argv: Sequence[str], out: str) -> subprocess.Popen[bytes]:
        """Start a program in a namespace; its output goes to a file of the directory."""
        with (self.directory / out).open("ab") as file:
            child = subprocess.Popen(
                ["ip", "netns", "exec", name, *argv], stdin=subprocess.PIPE, stdout=file, stderr=file, cwd=ROOT
            )
        self.children.append(child)
        return child

    def tunnels(self, count: int) -> None:
        """Make tunnels 0 to `count` - 1: device tunN with 10.100.N.1, far end 10.100.N.2, a server at 10.20.N.1."""
        lines_pop, lines_far = [], []
        for n in range(count):
            lines_pop += [f"link add tun{n} type veth peer name far{n} netns {self.far}"]
            lines_pop += [f"addr add 10.100.{n}.1/30 dev tun{n}", f"link set tun{n} up"]
            lines_far += [f"addr add 10.100.{n}.2/30 dev far{n}", f"link set far{n} up", f"addr add 10.20.{n}.1 dev lo"]
        self.run("ip", "-n", self.pop, "-batch", "-", text="\n".join(lines_pop) + "\n")
        self.run("ip", "-n", self.far, "-batch", "-", text="\n".join(lines_far) + "\n")

    def _program(self, name: str, argv: Sequence[str]) -> Program:
        out = f"{name}-{len(self.programs)}.jsonl"
        process = self.spawn(self.far, [sys.executable, *argv], out)
        program = Program(process, Rows(self.directory / out), name)
        self.programs.append(program)
        wait_until(f"{name} listens", 10, lambda: any(row["kind"] == "listening" for row in program.rows.new()))
        return program

    def sink(self, address: str = ROUTER, asn: int = ROUTER_ASN, *options: str) -> Program:
        """Start a router: a raw listener that stamps what it is sent; `options` are more of its own."""
        return self._program("sink", [str(SINK_PROGRAM), address, str(asn), "--hold", "60", *options])

    def backend(self) -> Program:
        """Start the servers: one program on every address of the far side."""
        return self._program("backend", [str(BACKEND_PROGRAM)])

    def write_config(self, document: Row) -> Path:
        """Write a configuration (JSON is YAML), its paths in the directory."""
        run, path = self.directory / "run", self.directory / "anycastd.yaml"
        document = {
            **document,
            "api": {"socket": str(run / "api.sock")},
            "bgp": {"user": "nobody", "socket": str(run / "exabgp.sock"), "directory": str(run / "bgp")},
            "state_dir": str(self.directory / "state"),
            **{key: {**value} for key, value in document.items() if key == "logging"},
        }
        path.write_text(json.dumps(document, indent=1), encoding="ascii")
        (self.directory / "state").mkdir(exist_ok=True)
        run.mkdir(exist_ok=True)
        return path

    def daemon(self, calls_timed_by: Path | None = None) -> subprocess.Popen[bytes]:
        """Start the daemon on the configuration that was written; with every call of its loop timed, if by a program.

        That program tells of the calls in `calls.json` beside the configuration (tests/lab/loop_watch.py).
        """
        path = str(self.directory / "anycastd.yaml")
        argv = ["-m", "anycastd", "run", "-c", path]
        if calls_timed_by is not None:
            argv = [str(calls_timed_by), path, str(self.directory / "calls.json"), "held"]
        return self.spawn(self.pop, [sys.executable, *argv], "daemon.log")

    def ask(self, target: str) -> Any:
        """Return what the daemon answers, or None if it does not."""
        try:
            return ask(str(self.directory / "run" / "api.sock"), target)
        except AskError:
            return None

    def scrape(self) -> str:
        """Return the daemon's metrics."""
        asked = UnixConnection(str(self.directory / "run" / "api.sock"), 30.0)
        asked.request("GET", "/metrics")
        text = asked.getresponse().read().decode()
        asked.close()
        return text

    def end_daemon(self, child: subprocess.Popen[bytes]) -> None:
        """Tell the daemon to leave, and wait until ExaBGP has gone too."""
        child.terminate()
        child.wait(30)

    def log_tail(self) -> str:
        """Return the end of the daemon's log."""
        return (self.directory / "daemon.log").read_text(encoding="utf-8")[-2000:]

    def end(self) -> None:
        """End every child."""
        for program in self.programs:
            program.end()
        for child in self.children:
            child.kill()
            child.wait()
            if child.stdin is not None and not child.stdin.closed:
                child.stdin.close()


@contextmanager
def namespaces(*roles: str) -> Iterator[tuple[Path, list[str]]]:
    """Make a directory, and a namespace for each role; they and all processes in them are gone at the end."""
    tag = f"bn{os.getpid()}-{time.monotonic_ns() % 100000}"
    names, directory = [f"{tag}{role}" for role in roles], Path(tempfile.mkdtemp(prefix="anycastd-bench-"))
    directory.chmod(0o755)
    guard = subprocess.Popen(
        ["sh", "-c", GUARD, "guard", directory, *names],
        stdin=subprocess.PIPE, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for name in names:
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        yield directory, names
    finally:
        assert guard.stdin is not None
        guard.stdin.close()
        guard.wait(20)
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def world(tunnels: int) -> Iterator[World]:
    """Make both namespaces, the BGP link and the tunnels; leave nothing behind."""
    with namespaces("p", "f") as (directory, (pop, far)):
        made = World(pop, far, directory)
        try:
            bgp = [f"link add bgp0 type veth peer name bgp1 netns {far}", f"addr add {POP_ADDRESS}/24 dev bgp0"]
            made.run("ip", "-n", pop, "-batch", "-", text="\n".join([*bgp, "link set bgp0 up"]) + "\n")
            made.run("ip", "-n", far, "-batch", "-", text=f"addr add {ROUTER}/24 dev bgp1\nlink set bgp1 up\n")
            made.tunnels(tunnels)
            yield made
        finally:
            made.end()
