"""Find, name and end processes by /proc; a process is known by its pid and its start time, never by a pid alone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from anycastd.lab.errors import LabError

# Every process of a lab and every tool the runner starts for it has this variable, so that what a killed runner
# left behind is found without any file.
MARK = "ANYCASTD_LAB_NODE"
_PROC = Path("/proc")
_POLL_S = 0.005
# For programs entered from outside to end with the namespace they are in.
_FOLLOW_GRACE_S = 0.2
_EXIT_GRACE_S = 1.0


@dataclass(frozen=True, slots=True)
class Process:
    """One process: a pid is used again, pid and start time (clock ticks since boot) are not."""

    pid: int
    start_ticks: int

    def is_alive(self) -> bool:
        """Say whether this very process still runs; a zombie does not."""
        return running(self.pid) == self

    def send(self, number: signal.Signals) -> bool:
        """Send a signal to this very process; say whether it was still there."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            # With the handle open the pid cannot be given to another process between look and signal.
            if not self.is_alive():
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True


def running(pid: int) -> Process | None:
    """Give the process that has this pid now, None if there is none or only a zombie."""
    try:
        # The name in field 2 may hold spaces and brackets: fields are counted from its last bracket (proc(5)).
        fields = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else Process(pid, int(fields[19]))


def all_pids() -> Iterator[int]:
    """Give every pid seen in /proc."""
    return (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())


def marked(lab: str) -> list[Process]:
    """Give all processes that a lab or its runner's tools started and that still have their first environment."""
    prefix = f"{MARK}={lab}.".encode()
    found = []
    for pid in all_pids():
        try:
            environment = (_PROC / str(pid) / "environ").read_bytes()
        except OSError:
            continue
        if any(entry.startswith(prefix) for entry in environment.split(b"\0")) and (process := running(pid)):
            found.append(process)
    return found


def end_all(lab: str, known: list[Process], deadline_s: float) -> None:
    """Kill the known processes, then all marked ones, until none is left; raise LabError after `deadline_s` seconds.

    The known ones (each a pid 1) take their whole namespace along. The others get a moment to end with them: a killed
    nsenter would leave its dead child to the host's init, and the namespace ends only when that has reaped it.
    """
    begin_s = time.monotonic()
    for process in known:
        process.send(signal.SIGKILL)
    while True:
        age_s = time.monotonic() - begin_s
        # A pid 1 that exits has left its network and mounts already; it may wait long for a slow init.
        candidates = {*known, *marked(lab)} - {running(os.getpid())}
        left = {one for one in candidates if one.is_alive() and not (age_s > _EXIT_GRACE_S and _is_exiting(one.pid))}
        if not left:
            return
        if age_s > _FOLLOW_GRACE_S or not known:
            for process in left:
                process.send(signal.SIGKILL)
        if age_s > deadline_s:
            message = f"lab {lab}: processes do not end: {sorted(process.pid for process in left)}"
            raise LabError(message)
        time.sleep(_POLL_S)


def _is_exiting(pid: int) -> bool:
    """Say whether a process is past all of its own code (PF_EXITING, include/linux/sched.h)."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    return bool(int(stat.rpartition(")")[2].split()[6]) & 0x4)


def inside(node: Process, pid: int) -> Process:
    """Give the process that has `pid` inside a node's pid namespace; raise LabError if there is none."""
    namespace = _pid_namespace(node.pid)
    for candidate in all_pids():
        if _pid_namespace(candidate) == namespace and _innermost_pid(candidate) == pid:
            found = running(candidate)
            if found:
                return found
    message = f"no process {pid} in the node"
    raise LabError(message)


def child_of(pid: int) -> Process | None:
    """Give the first child of a process."""
    try:
        words = (_PROC / str(pid) / "task" / str(pid) / "children").read_text(encoding="ascii").split()
    except OSError:
        return None
    return running(int(words[0])) if words else None


def parent_named(pid: int, name: str) -> Process | None:
    """Give the parent of a process if its program has this name."""
    try:
        parent = int(_status(pid)["PPid"])
        return running(parent) if parent and _status(parent)["Name"] == name else None
    except OSError:
        return None


def _status(pid: int) -> dict[str, str]:
    text = (_PROC / str(pid) / "status").read_text(encoding="utf-8", errors="replace")
    return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


def _pid_namespace(pid: int) -> str | None:
    try:
        return str((_PROC / str(pid) / "ns" / "pid").readlink())
    except OSError:
        return None


def _innermost_pid(pid: int) -> int | None:
    try:
        return int(_status(pid)["NSpid"].split()[-1])
    except OSError:
        return None
