"""A lab that is up, for tests and demonstrations: run programs in it and hurt it."""

from __future__ import annotations

import ipaddress
import signal
import subprocess
from types import TracebackType
from typing import IO

from anycastd.lab import netns, processes
from anycastd.lab.errors import LabError, LabMissing
from anycastd.lab.inside import ENTER_PROGRAM, NodeProcess, enter_argv, run_inside
from anycastd.lab.node import tail_of
from anycastd.lab.processes import Process
from anycastd.lab.shape import Endpoint, Kind
from anycastd.lab.state import LabRecord, directory_of, erase, known_processes, locked, read_process, read_record

EXEC_TIMEOUT_S = 60.0
DOWN_DEADLINE_S = 20.0


class Lab:
    """A lab by its name; leaving its `with` block takes it down."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.record: LabRecord = read_record(name)

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.down()

    def nodes(self) -> tuple[str, ...]:
        """Give the names of all nodes."""
        return tuple(self.record.nodes)

    def process(self, node: str) -> Process:
        """Give a node's pid 1; raise LabMissing if the node does not run."""
        record = self.record.nodes.get(node)
        if record is None:
            message = f"lab {self.name} has no node {node}; it has: {', '.join(self.nodes())}"
            raise LabMissing(message)
        if record.kind is Kind.BRIDGE:
            message = f"{node} is a bridge: no program runs in it"
            raise LabMissing(message)
        process = read_process(self.name, node)
        if process is None or not process.is_alive():
            message = f"node {node} of lab {self.name} does not run"
            raise LabMissing(message)
        return process

    def pid(self, node: str) -> int:
        """Give the pid of a node's pid 1 as the host sees it."""
        return self.process(node).pid

    def exec(
        self, node: str, *argv: str, timeout_s: float = EXEC_TIMEOUT_S, text: str | None = None, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in a node to its end, with `text` as its input; `check` raises LabError unless it succeeds."""
        done = run_inside(self.process(node), self.record.nodes[node].env, argv, timeout_s=timeout_s, text=text)
        if check and done.returncode:
            message = f"{node}: {' '.join(argv)}: status {done.returncode}: {(done.stderr or done.stdout).strip()}"
            raise LabError(message)
        return done

    def exec_argv(self, node: str, *argv: str) -> tuple[list[str], dict[str, str]]:
        """Give the command line and the environment that run a program in a node."""
        return enter_argv(self.process(node), argv), dict(self.record.nodes[node].env)

    def popen(
        self,
        node: str,
        *argv: str,
        stdin: int | IO[str] | None = subprocess.DEVNULL,
        stdout: int | IO[str] | None = subprocess.PIPE,
        stderr: int | IO[str] | None = subprocess.STDOUT,
    ) -> NodeProcess:
        """Start a program in a node; its output is text on a pipe unless told otherwise."""
        full, env = self.exec_argv(node, *argv)
        return NodeProcess(full, env=env, stdin=stdin, stdout=stdout, stderr=stderr, text=True, errors="replace")

    def logs(self, node: str) -> str:
        """Give all that a node's cmd said."""
        self._known(node)
        path = directory_of(self.name, node) / "log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def link_down(self, node: str, interface: str) -> None:
        """Take an interface down; the far end loses its carrier."""
        self._set_link(node, interface, up=False)

    def link_up(self, node: str, interface: str) -> None:
        """Bring an interface up with the topology's addresses; routes that went with it are not brought back."""
        self._set_link(node, interface, up=True)

    def cut(self, node: str, interface: str, address: str | None = None) -> None:
        """Drop silently, both ways, all frames of an interface or only the packets from and to one address.

        What the node sends is dropped where the far end of the link receives it, so that no socket is told. An
        interface that the topology did not make (a tunnel) has no known far end: there its egress drops.
        """
        where = str(ipaddress.ip_address(address)) if address else None
        self._known(node)
        far = self._far(node, interface)
        netns.cut(self.name, node, interface, where, both_hooks=far is None)
        if far:
            netns.cut(self.name, far.node, far.interface, where, both_hooks=False)

    def heal(self, node: str, interface: str) -> None:
        """End every cut of an interface; nothing happens if there is none."""
        self._known(node)
        far = self._far(node, interface)
        netns.heal(self.name, node, interface)
        if far:
            netns.heal(self.name, far.node, far.interface)

    def pause(self, node: str, pid: int) -> None:
        """Stop a process of a node (SIGSTOP); `pid` as the node sees it."""
        self.kill(node, pid, signal.SIGSTOP)

    def resume(self, node: str, pid: int) -> None:
        """Let a stopped process of a node go on (SIGCONT); `pid` as the node sees it."""
        self.kill(node, pid, signal.SIGCONT)

    def kill(self, node: str, pid: int, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to one process of a node; `pid` as the node sees it."""
        process = processes.inside(self.process(node), pid)
        process.send(number)
        # nsenter stops itself together with the program it waits for.
        starter = processes.parent_named(process.pid, ENTER_PROGRAM) if number is signal.SIGCONT else None
        if starter:
            starter.send(number)

    def down(self) -> None:
        """Take the lab down; nothing of it is left."""
        take_down(self.name)

    def _known(self, node: str) -> None:
        if node not in self.record.nodes:
            self.process(node)

    def _far(self, node: str, interface: str) -> Endpoint | None:
        for link in self.record.links:
            for near, far in ((link.a, link.b), (link.b, link.a)):
                if (near.node, near.interface) == (node, interface):
                    return far
        return None

    def _set_link(self, node: str, interface: str, *, up: bool) -> None:
        self._known(node)
        ends = (end for link in self.record.links for end in link.ends())
        own = next((end for end in ends if (end.node, end.interface) == (node, interface)), None)
        netns.set_link(self.name, node, interface, own, up=up)


def take_down(name: str) -> bool:
    """Take down what there is of a lab, whole or broken; say whether there was anything."""
    with locked(name):
        return clear(name)


def clear(name: str) -> bool:
    """Remove processes first, then names, then state; the caller holds the lab's lock."""
    was_there = directory_of(name).exists() or netns.has_names(name) or bool(processes.marked(name))
    end_processes(name)
    netns.remove_names(name)
    erase(name)
    return was_there


def end_processes(name: str) -> None:
    """End every process of a lab."""
    processes.end_all(name, known_processes(name), DOWN_DEADLINE_S)


def log_tail(name: str, node: str) -> str:
    """Give the last words of a node."""
    path = directory_of(name, node) / "log"
    return tail_of(path) if path.exists() else "it said nothing"
