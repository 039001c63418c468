"""Start all nodes of a lab at once, each in a thread, stage by stage."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

from anycastd.lab import netns, node
from anycastd.lab.board import AT_LINKS, Board
from anycastd.lab.errors import LabError
from anycastd.lab.inside import run_inside
from anycastd.lab.processes import Process
from anycastd.lab.reach import mount_points_here, needed_paths, reach
from anycastd.lab.running import log_tail
from anycastd.lab.shape import HealthCheck, Kind, Link, Node, Phase, Stage, Topology
from anycastd.lab.state import directory_of, write_process

# Asked more often than the file's interval, which is made for long-lived containers: a start waits for the first yes.
_HEALTH_PERIOD_MAX_S = 0.5
_EXEC_DEADLINE_S = 60.0
# Every wait has the deadline itself; this is for a kernel or a tool that hangs.
_GRACE_S = 10.0
_SIGNAL_PERIOD_S = 0.2

Progress = Callable[[str, str], None]


class Start:
    """One start of one lab."""

    def __init__(
        self, topology: Topology, env: Mapping[str, Mapping[str, str]], deadline_s: float, progress: Progress
    ) -> None:
        self._topology = topology
        self._env = env
        self._progress = progress
        self._board = Board(deadline_s)
        self._reach = reach(needed_paths(), mount_points_here())
        self._linking = threading.Lock()
        self._unlinked: list[Link] = list(topology.links)
        self._naming = threading.Lock()

    def run(self, give_up: Callable[[], None]) -> None:
        """Start all nodes; on the first failure, or an interrupt, stop the others by `give_up` and raise it."""
        nodes = self._topology.nodes.values()
        with ThreadPoolExecutor(len(nodes), thread_name_prefix="lab") as pool:
            is_done = False
            try:
                futures = [pool.submit(self._start_node, one) for one in nodes]
                limit_s = self._board.deadline_s + _GRACE_S
                done, pending = _first_failure_or_all(futures, limit_s)
                # Errors that follow from giving up come later and say nothing.
                first = next((error for future in done if (error := future.exception())), None)
                is_done = first is None and not pending
            finally:
                if not is_done:
                    self._board.stop()
                    give_up()
        if first:
            raise first
        if pending:
            message = f"not up within {limit_s:.0f} s"
            raise LabError(message)

    def _start_node(self, one: Node) -> None:
        board = self._board
        if one.kind is Kind.BRIDGE:
            netns.make_bridge(self._topology.name, one.name)
            self._leave(one, Stage.CREATE)
            self._link(one)
            for stage in (Stage.CREATE_LINKS, Stage.CONFIGURE, Stage.HEALTHY):
                board.leave(one.name, stage)
            return
        self._enter(one, Stage.CREATE, None)
        board.pause(one.startup_delay_s)
        waiting = self._create(one)
        process = waiting.process
        try:
            self._commands(one, Stage.CREATE, Phase.ENTER, process)
            self._leave(one, Stage.CREATE, process)
            self._enter(one, Stage.CREATE_LINKS, process)
            self._link(one)
            self._leave(one, Stage.CREATE_LINKS, process)
            waiting.release()
        finally:
            waiting.go.close()
        self._enter(one, Stage.CONFIGURE, process)
        for argv in one.commands:
            self._command(one, process, argv)
        self._leave(one, Stage.CONFIGURE, process)
        self._enter(one, Stage.HEALTHY, process)
        if one.healthcheck:
            self._await_health(one, one.healthcheck, process)
        self._leave(one, Stage.HEALTHY, process)

    def _create(self, one: Node) -> node.Waiting:
        lab = self._topology.name
        self._board.left_s()
        waiting = node.start(one, directory_of(lab, one.name), self._env[one.name], self._reach)
        is_named = False
        try:
            write_process(lab, one.name, waiting.process)
            # iproute2 prepares /run/netns at the first use and does not do so twice at a time.
            with self._naming:
                netns.attach(lab, one.name, waiting.process.pid)
            is_named = True
        finally:
            if not is_named:
                waiting.go.close()
        return waiting

    def _link(self, one: Node) -> None:
        """Wait for the nodes at the other ends, make what links are not made yet, and bring this node's ends up."""
        lab, board = self._topology.name, self._board
        ends = self._topology.ends_of(one.name)
        peers = {peer.node for end in ends if (peer := self._topology.peer_of(one.name, end.interface))}
        board.leave(one.name, AT_LINKS)
        board.wait_for(one.name, [(peer, AT_LINKS) for peer in peers])
        with self._linking:
            # All that can be made by now, so that one request batch serves many nodes.
            ready = [link for link in self._unlinked if all(board.has_left(end.node, AT_LINKS) for end in link.ends())]
            self._unlinked = [link for link in self._unlinked if link not in ready]
            netns.make_links(lab, ready)
        netns.configure_ends(lab, one.name, ends, is_bridge=one.kind is Kind.BRIDGE)

    def _enter(self, one: Node, stage: Stage, process: Process | None) -> None:
        self._board.wait_for(one.name, [(wait.node, wait.stage) for wait in one.waits if wait.at is stage])
        self._progress(one.name, f"entering {stage}")
        if process:
            self._commands(one, stage, Phase.ENTER, process)

    def _leave(self, one: Node, stage: Stage, process: Process | None = None) -> None:
        if process:
            self._commands(one, stage, Phase.EXIT, process)
        self._board.leave(one.name, stage)
        if stage is Stage.HEALTHY:
            self._progress(one.name, "is up")

    def _commands(self, one: Node, stage: Stage, phase: Phase, process: Process) -> None:
        for command in one.stage_commands:
            if (command.stage, command.phase) == (stage, phase):
                self._command(one, process, command.argv)

    def _command(self, one: Node, process: Process, argv: tuple[str, ...]) -> None:
        limit_s = min(_EXEC_DEADLINE_S, self._board.left_s())
        try:
            done = run_inside(process, self._env[one.name], argv, timeout_s=limit_s)
        except subprocess.TimeoutExpired:
            message = f"{one.name}: exec: {' '.join(argv)}: no end within {limit_s:.0f} s"
            raise LabError(message) from None
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            message = f"{one.name}: exec: {' '.join(argv)}: status {done.returncode}: {said}"
            raise LabError(message)

    def _await_health(self, one: Node, check: HealthCheck, process: Process) -> None:
        said = "no answer yet"
        while (left_s := self._board.left_s()) > 0:
            limit_s = min(float(check.timeout_s), left_s)
            try:
                done = run_inside(process, self._env[one.name], check.argv, timeout_s=limit_s)
            except subprocess.TimeoutExpired:
                said = f"no answer within {limit_s:.0f} s"
            else:
                if done.returncode == 0:
                    return
                said = (done.stderr or done.stdout).strip() or f"status {done.returncode}"
            self._board.pause(min(check.interval_s, _HEALTH_PERIOD_MAX_S))
        log = log_tail(self._topology.name, one.name)
        message = f"{one.name}: not healthy after {self._board.deadline_s:.0f} s: {said}; its log: {log}"
        raise LabError(message)


def _first_failure_or_all(futures: list[Future[None]], limit_s: float) -> tuple[set[Future[None]], set[Future[None]]]:
    """Wait in short steps: a signal that comes just before a wait would else be seen only at its end (CPython)."""
    end_s = time.monotonic() + limit_s
    while True:
        done, pending = wait(futures, timeout=_SIGNAL_PERIOD_S, return_when=FIRST_EXCEPTION)
        if not pending or time.monotonic() > end_s or any(future.exception() for future in done):
            return done, pending
