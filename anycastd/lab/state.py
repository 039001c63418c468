"""What is kept about a lab in /run/anycastd-lab/<name>: enough to use it and to take it down, from any process."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from anycastd.lab.errors import LabBusy, LabMissing
from anycastd.lab.processes import Process
from anycastd.lab.shape import Endpoint, Kind, Link, Topology

STATE = Path("/run/anycastd-lab")
_LOCK_GRACE_S = 1.0
_LOCK_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """What is remembered of one node."""

    kind: Kind
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LabRecord:
    """What is remembered of one lab."""

    name: str
    path: str
    is_up: bool
    nodes: Mapping[str, NodeRecord]
    links: tuple[Link, ...]


def directory_of(lab: str, node: str | None = None) -> Path:
    """Give the state directory of a lab, or of one node of it."""
    return STATE / lab / "nodes" / node if node else STATE / lab


def write_record(record: LabRecord) -> None:
    """Write a lab's record; a reader sees the old or the new one, never half of one."""
    body = {
        "name": record.name,
        "path": record.path,
        "is_up": record.is_up,
        "nodes": {name: {"kind": node.kind, "env": dict(node.env)} for name, node in record.nodes.items()},
        "links": [{"mtu_bytes": link.mtu_bytes, "ends": [_end(end) for end in link.ends()]} for link in record.links],
    }
    _replace(directory_of(record.name) / "lab.json", json.dumps(body))


def _end(end: Endpoint) -> dict[str, str | None]:
    return {"node": end.node, "interface": end.interface, "mac": end.mac, "ipv4": end.ipv4, "ipv6": end.ipv6}


def read_record(lab: str) -> LabRecord:
    """Read a lab's record; raise LabMissing if there is none."""
    try:
        body = json.loads((directory_of(lab) / "lab.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        message = f"lab {lab} is not up"
        raise LabMissing(message) from None
    links = ((Endpoint(**link["ends"][0]), Endpoint(**link["ends"][1]), link["mtu_bytes"]) for link in body["links"])
    nodes = {name: NodeRecord(Kind(node["kind"]), node["env"]) for name, node in body["nodes"].items()}
    return LabRecord(body["name"], body["path"], body["is_up"], nodes, tuple(Link(*parts) for parts in links))


def record_of(topology: Topology, path: str, env: Mapping[str, Mapping[str, str]], *, is_up: bool) -> LabRecord:
    """Make the record of a topology."""
    nodes = {name: NodeRecord(node.kind, env.get(name, {})) for name, node in topology.nodes.items()}
    return LabRecord(topology.name, path, is_up, nodes, topology.links)


def write_process(lab: str, node: str, process: Process) -> None:
    """Remember a node's pid 1."""
    _replace(directory_of(lab, node) / "pid", f"{process.pid} {process.start_ticks}\n")


def read_process(lab: str, node: str) -> Process | None:
    """Give a node's pid 1 as it was written, alive or not; None if it was never written."""
    try:
        pid, start_ticks = (directory_of(lab, node) / "pid").read_text(encoding="ascii").split()
    except FileNotFoundError:
        return None
    return Process(int(pid), int(start_ticks))


def known_processes(lab: str) -> list[Process]:
    """Give the pid 1 of every node that was written down."""
    nodes = directory_of(lab) / "nodes"
    names = [entry.name for entry in nodes.iterdir()] if nodes.is_dir() else []
    return [process for name in names if (process := read_process(lab, name))]


def known_labs() -> list[str]:
    """Give the names of all labs that have state, up or broken."""
    return sorted(entry.name for entry in STATE.iterdir() if entry.is_dir()) if STATE.is_dir() else []


def erase(lab: str) -> None:
    """Remove a lab's state."""
    if directory_of(lab).exists():
        shutil.rmtree(directory_of(lab))


@contextmanager
def locked(lab: str) -> Iterator[None]:
    """Hold the lab for one up or down; the kernel frees it when the holder dies, however it dies.

    The file stays: removing it would let two processes hold the lock of two different files of one name.
    """
    STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle = os.open(STATE / f"{lab}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(handle, lab)
        yield
    finally:
        os.close(handle)


def _take(handle: int, lab: str) -> None:
    """Take the lock; a child that a killed runner had not yet turned into a tool may hold it for a moment."""
    end_s = time.monotonic() + _LOCK_GRACE_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end_s:
                message = f"lab {lab}: another up or down is at work on it"
                raise LabBusy(message) from None
            time.sleep(_LOCK_POLL_S)
        else:
            return


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(path.name + ".new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
