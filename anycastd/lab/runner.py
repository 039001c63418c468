"""Bring labs up, take them down, look into them: the verbs, for the command line and for tests."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from anycastd.lab import state
from anycastd.lab.equipment import check_binds, check_machine, check_user
from anycastd.lab.errors import LabBusy
from anycastd.lab.node import environment_of
from anycastd.lab.running import Lab, clear, end_processes, take_down
from anycastd.lab.shape import Kind
from anycastd.lab.start import Progress, Start
from anycastd.lab.topology import read_name, read_topology

__all__ = ["Lab", "LabStatus", "down", "exec", "list", "logs", "name_of", "up"]

START_DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class LabStatus:
    """How a lab stands."""

    name: str
    path: str
    is_up: bool
    alive: int
    nodes: int


def up(path: str | Path, *, deadline_s: float = START_DEADLINE_S, progress: Progress | None = None) -> Lab:
    """Bring a lab up and return when every node is healthy; if that fails, nothing of it is left.

    What a killed `up` left behind is removed first. Raises LabBusy if the lab is up already.
    """
    topology = read_topology(Path(path), os.environ)
    check_user()
    check_machine(topology)
    check_binds(topology)
    environments = {node.name: environment_of(topology.name, node) for node in topology.nodes.values()}
    full_path = os.fspath(Path(path).resolve())
    with state.locked(topology.name):
        _refuse_if_up(topology.name)
        clear(topology.name)
        directories = (state.directory_of(topology.name, name) for name in topology.nodes)
        is_up = False
        try:
            for directory in directories:
                directory.mkdir(parents=True)
            state.write_record(state.record_of(topology, full_path, environments, is_up=False))
            start = Start(topology, environments, deadline_s, progress or _silent)
            start.run(give_up=lambda: end_processes(topology.name))
            state.write_record(state.record_of(topology, full_path, environments, is_up=True))
            is_up = True
        finally:
            if not is_up:
                clear(topology.name)
    return Lab(topology.name)


def _silent(node: str, what: str) -> None:
    """Tell nobody."""


def _refuse_if_up(name: str) -> None:
    if name in state.known_labs() and (status := _status(name)).is_up and status.alive:
        message = f"lab {name} is up already (from {status.path}): anycastd lab down {name}"
        raise LabBusy(message)


def name_of(name_or_path: str | Path) -> str:
    """Give the lab's name from a name or from a topology file."""
    text = os.fspath(name_or_path)
    return read_name(Path(text), os.environ) if "/" in text or text.endswith((".yml", ".yaml")) else text


def down(name_or_path: str | Path) -> bool:
    """Take a lab down, whole or broken; say whether there was anything."""
    check_user()
    return take_down(name_of(name_or_path))


def list() -> tuple[LabStatus, ...]:
    """Give all labs of this machine, the broken ones too."""
    return tuple(_status(name) for name in state.known_labs())


def _status(name: str) -> LabStatus:
    if not (state.directory_of(name) / "lab.json").exists():
        return LabStatus(name, "", is_up=False, alive=0, nodes=0)
    record = state.read_record(name)
    alive = sum(process.is_alive() for process in state.known_processes(name))
    linux = [node for node in record.nodes.values() if node.kind is Kind.LINUX]
    return LabStatus(name, record.path, record.is_up, alive, len(linux))


def exec(lab: str | Path, node: str, argv: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Run a program in a node of a lab to its end."""
    return Lab(name_of(lab)).exec(node, *argv)


def logs(lab: str | Path, node: str) -> str:
    """Give all that a node's cmd said."""
    return Lab(name_of(lab)).logs(node)
