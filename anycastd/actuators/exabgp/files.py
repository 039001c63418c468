"""ExaBGP's own directory: its configuration, the bridge, the state that outlives a daemon, and the lock."""

from __future__ import annotations

import fcntl
import json
import math
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anycastd.errors import ActuatorRejected, ActuatorTransient

LOG_LIMIT_BYTES = 4 << 20
BRIDGE_SOURCE = Path(__file__).with_name("bridge.py")
LAUNCHER_SOURCE = Path(__file__).with_name("launcher.py")


@dataclass(frozen=True, slots=True)
class Owner:
    """Who ExaBGP runs as."""

    uid: int
    gid: int


@dataclass(slots=True)
class State:
    """What a daemon must know of an ExaBGP that was started before it.

    `eor_s` is when the last End-of-RIB of a neighbor and family was acknowledged (monotonic s, same boot as `start`).
    """

    pid: int = 0
    start: int = 0
    config: str = ""
    eor_s: dict[str, float] = field(default_factory=dict)


class Files:
    """Paths below BgpConfig.directory and how they are written: each whole or not at all."""

    def __init__(self, directory: str, socket: str) -> None:
        self.directory, self.socket = Path(directory), Path(socket)
        self.conf = self.directory / "exabgp.conf"
        self.candidate = self.directory / "exabgp.conf.new"
        self.bridge = self.directory / "bridge.py"
        self.launcher = self.directory / "launcher.py"
        self.plan = self.directory / "plan.json"
        self.dead_man = self.directory / "deadman.json"
        self.state = self.directory / "state.json"
        self.log = self.directory / "exabgp.log"
        self._lock: int | None = None

    def take_lock(self) -> None:
        """Make the directory and become its only daemon; raise ActuatorRejected if another one is there."""
        try:
            self.socket.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self.directory.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self.directory.mkdir(mode=0o750, exist_ok=True)
            descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            message = f"{self.directory} cannot be used: {error}"
            raise ActuatorRejected(message) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            message = f"another anycastd (pid {holder or 'unknown'}) drives the ExaBGP of {self.directory}"
            raise ActuatorRejected(message) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._lock = descriptor

    def release_lock(self) -> None:
        """Let another daemon in."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def give_to(self, owner: Owner) -> None:
        """Let ExaBGP's user in, and put our two programs there: the package itself may lie below a closed home."""
        try:
            if owner.gid != os.getegid():
                os.chown(self.directory, -1, owner.gid)
            self.directory.chmod(0o750)
            self._write(self.bridge, BRIDGE_SOURCE.read_bytes(), 0o644, None)
            self._write(self.launcher, LAUNCHER_SOURCE.read_bytes(), 0o644, None)
        except OSError as error:
            message = f"{self.directory} cannot be written: {error}"
            raise ActuatorTransient(message) from error

    def write_candidate(self, rendered: bytes, owner: Owner) -> None:
        """Write a configuration beside the one in use, readable by ExaBGP's user only: it holds passwords.

        ActuatorTransient if that cannot be done. Who is not root cannot give a file away: then ExaBGP's group reads it.
        """
        try:
            self._write(self.candidate, rendered, 0o600 if os.geteuid() in (0, owner.uid) else 0o640, owner)
        except OSError as error:
            message = f"{self.candidate} cannot be written: {error}"
            raise ActuatorTransient(message) from error

    def adopt_candidate(self) -> None:
        """Make the candidate the configuration in use."""
        self.candidate.replace(self.conf)

    def write_plan(self, plan: dict[str, Any], owner: Owner) -> None:
        """Write how the service of its own starts ExaBGP."""
        self._write(self.plan, json.dumps(plan).encode("ascii"), 0o640, Owner(-1, owner.gid))

    def read_plan(self) -> dict[str, Any]:
        """Return how to start ExaBGP; OSError or ValueError when nobody has said so yet."""
        plan: dict[str, Any] = json.loads(self.plan.read_text(encoding="ascii"))
        return plan

    def read_conf(self) -> bytes:
        """Return the configuration in use, or nothing."""
        try:
            return self.conf.read_bytes()
        except OSError:
            return b""

    def read_state(self) -> State:
        """Return what the last daemon noted; nothing noted is a state too."""
        try:
            said: dict[str, Any] = json.loads(self.state.read_text(encoding="ascii"))
            eor_s = {str(key): float(value) for key, value in said["eor_s"].items()}
            if not all(map(math.isfinite, eor_s.values())):
                return State()
            return State(int(said["pid"]), int(said["start"]), str(said["config"]), eor_s)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return State()

    def write_state(self, state: State, owner: Owner) -> None:
        """Note it for the daemon after us, and for the bridge's hello."""
        body = {"pid": state.pid, "start": state.start, "config": state.config, "eor_s": state.eor_s}
        self._write(self.state, json.dumps(body).encode("ascii"), 0o640, Owner(-1, owner.gid))

    def write_dead_man(self, stages: list[dict[str, Any]], owner: Owner) -> None:
        """Write what the bridge says when we are gone."""
        self._write(self.dead_man, json.dumps(stages).encode("ascii"), 0o640, Owner(-1, owner.gid))

    def open_log(self) -> int:
        """Return a descriptor on ExaBGP's log, made small first if it has grown."""
        self.trim_log()
        return os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def trim_log(self) -> None:
        """Move a log that is too long aside; ExaBGP appends, so it goes on at the beginning.

        Where there is no room beside it, what it said is lost: nothing waits for a log, and it must not fill the disk.
        """
        with suppress(OSError):
            if self.log.stat().st_size > LOG_LIMIT_BYTES:
                with suppress(OSError):
                    self._write(self.log.with_suffix(".log.1"), self.log.read_bytes()[-LOG_LIMIT_BYTES:], 0o600, None)
                os.truncate(self.log, 0)

    def log_tail(self) -> str:
        """Return the last lines of ExaBGP's log."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(self.log.stat().st_size - 2000, 0))
                lines = file.read().decode("utf-8", "replace").strip().splitlines()
        except OSError:
            return ""
        return " / ".join(" ".join(line.split()) for line in lines[-3:])

    def _write(self, path: Path, data: bytes, mode: int, owner: Owner | None) -> None:
        beside = path.with_name(f".{path.name}.part")
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if owner is not None and os.geteuid() == 0:
                    os.fchown(descriptor, owner.uid, owner.gid)
                elif owner is not None and owner.gid != os.getegid():
                    os.fchown(descriptor, -1, owner.gid)
                os.fchmod(descriptor, mode)
                file.write(data)
        except OSError:
            # half a file is no use, and takes room
            beside.unlink(missing_ok=True)
            raise
        beside.replace(path)
