"""ExaBGP as a process: as whom it runs, started apart from the daemon, found again, signalled, watched.

It is started in a session of its own and is no part of the daemon's life: the daemon may die, and the routes stay (I3).
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from anycastd.actuators.exabgp.files import Files, Owner
from anycastd.errors import ActuatorRejected
from anycastd.model.address import Address
from anycastd.model.topology import BgpConfig

SYSTEM_PYTHON = "/usr/bin/python3"
VALIDATE_WITHIN_S = 30.0
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class RunAs:
    """Who ExaBGP runs as, the words before its command that make it so, and why it is not the configured user."""

    name: str
    owner: Owner
    words: tuple[str, ...] = ()
    reason: str = ""


def ourselves(reason: str = "") -> RunAs:
    """Return that ExaBGP runs as we do."""
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return RunAs(name, Owner(uid, os.getegid()), (), reason)


def service_of(user: str) -> RunAs:
    """Return that a service of its own runs ExaBGP as `user`, whose group must be able to read what we write."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return ourselves(f"there is no user {user}: anycastd-bgp.service cannot run as it")
    if os.geteuid() not in (0, entry.pw_uid) and entry.pw_gid not in (os.getegid(), *os.getgroups()):
        mend = f"usermod -aG {grp.getgrgid(entry.pw_gid).gr_name} {ourselves().name}"
        message = f"our user is no member of the group of {user}, who must read ExaBGP's configuration: {mend}"
        raise ActuatorRejected(message)
    return run_as(user) if os.geteuid() == 0 else RunAs(user, Owner(entry.pw_uid, entry.pw_gid))


def run_as(user: str) -> RunAs:
    """Return how to run as `user`: through setpriv when we are root, with the right to bind port 179 and no other."""
    if os.geteuid() != 0:
        return ourselves()
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return ourselves(f"there is no user {user}: ExaBGP runs as root")
    if entry.pw_uid == 0:
        return ourselves()
    setpriv = shutil.which("setpriv", path=SYSTEM_PATH)
    if setpriv is None:
        return ourselves("setpriv (util-linux) is not installed: ExaBGP runs as root")
    capability = "+net_bind_service"
    words = (setpriv, "--reuid", str(entry.pw_uid), "--regid", str(entry.pw_gid), "--init-groups", "--no-new-privs",
             f"--inh-caps={capability}", f"--ambient-caps={capability}", "--")  # fmt: skip
    return RunAs(user, Owner(entry.pw_uid, entry.pw_gid), words)


def program(configured: str) -> str:
    """Return the path of the exabgp program: the configured one, or the one beside our interpreter, or in PATH."""
    if configured:
        return configured
    beside = Path(sys.executable).with_name("exabgp")
    return str(beside) if beside.exists() else shutil.which("exabgp") or str(beside)


def server_command(exabgp: str, files: Files) -> tuple[str, ...]:
    """Return how ExaBGP is started: by our launcher on the interpreter that its script names, or plainly."""
    plain = (exabgp, "server", str(files.conf))
    try:
        with Path(exabgp).open("rb") as script:
            first = script.readline(256).decode("ascii").strip()
    except (OSError, ValueError):
        return plain
    interpreter = first.removeprefix("#!").strip()
    is_python = first.startswith("#!/") and " " not in interpreter and Path(interpreter).name.startswith("python")
    return (interpreter, str(files.launcher), *plain) if is_python else plain


def bridge_command(files: Files) -> tuple[str, ...]:
    """Return the helper's command; -S and -E keep the environment and site packages out of it."""
    python = SYSTEM_PYTHON if os.access(SYSTEM_PYTHON, os.X_OK) else sys.executable
    return (python, "-SE", str(files.bridge), str(files.socket), str(files.directory))


def environment(bgp: BgpConfig, user: str, listen: Iterable[Address]) -> dict[str, str]:
    """Return ExaBGP's settings. Never DEBUG: it writes the MD5 passwords into the log (measured)."""
    return {
        "exabgp_api_cli": "false",
        "exabgp_api_ack": "true",
        "exabgp_api_respawn": "true",
        "exabgp_api_terminate": "false",
        "exabgp_api_chunk": "200",
        "exabgp_api_show-routes-format": "v2",
        "exabgp_reactor_speed": str(bgp.reactor_speed),
        "exabgp_daemon_user": user,
        "exabgp_daemon_daemonize": "false",
        "exabgp_log_level": "WARNING",
        "exabgp_log_destination": "stderr",
        "exabgp_log_short": "false",
        "exabgp_tcp_port": str(bgp.port),
        "exabgp_tcp_bind": " ".join(str(address) for address in listen),
    }


def bindable(addresses: Iterable[Address], port: int) -> tuple[list[Address], str]:
    """Return which addresses a listener can be bound to now, and why not the others.

    ExaBGP ends itself when it cannot bind, so what cannot be bound is left out: we then only dial (port 179 may be
    FRR's or BIRD's).
    """
    good, reasons = [], []
    for address in sorted(set(addresses), key=str):
        with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((str(address), port))
            except OSError as error:
                reasons.append(f"{address} port {port}: {error.strerror}")
            else:
                good.append(address)
    return good, "; ".join(reasons)


async def validate(path: Path, exabgp: str, who: RunAs) -> str:
    """Return what ExaBGP finds wrong with a configuration file, or nothing."""
    environ = {"PATH": SYSTEM_PATH, "exabgp_log_level": "ERROR", "exabgp_daemon_user": who.name}
    try:
        process = await asyncio.create_subprocess_exec(
            *who.words, exabgp, "validate", str(path),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            env=environ, cwd="/",
        )  # fmt: skip
    except OSError as error:
        return f"{exabgp} cannot be run: {error}"
    try:
        said, _ = await asyncio.wait_for(process.communicate(), VALIDATE_WITHIN_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        return f"exabgp validate said nothing for {VALIDATE_WITHIN_S:.0f} s"
    if process.returncode == 0:
        return ""
    text = " ".join(said.decode("utf-8", "replace").split())
    # a complaint may quote the line that holds a password
    return f"exabgp validate: exit {process.returncode}: " + (text[:300] if "md5" not in text else "a wrong line")


@dataclass(frozen=True, slots=True)
class Found:
    """A process of ours, told apart from a later one with the same pid by its start (clock ticks since boot)."""

    pid: int
    start: int


def start_of(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot, or None if it is not there or has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def is_ours(pid: int, conf: Path) -> bool:
    """Return whether a process is an ExaBGP that serves this configuration file, in our network."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    if [b"server", os.fsencode(conf), b""] != words[-3:]:
        return False
    try:
        return Path(f"/proc/{pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink()
    except OSError:
        return True


def find(conf: Path) -> list[Found]:
    """Return every running ExaBGP that serves this configuration file, the oldest first; no pid file is trusted."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and is_ours(int(entry.name), conf):
            start = start_of(int(entry.name))
            if start is not None:
                found.append(Found(int(entry.name), start))
    return sorted(found, key=lambda one: (one.start, one.pid))


class Running:
    """One ExaBGP process, ours by birth or by adoption; `ended` is called once, with its status if it was our child."""

    def __init__(self, found: Found, *, ended: Callable[[Running, int | None], None]) -> None:
        self.pid, self.start = found.pid, found.start
        self.gone = asyncio.Event()
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        try:
            self._descriptor: int | None = os.pidfd_open(found.pid)
        except ProcessLookupError:
            self._descriptor = None
            self._loop.call_soon(self._over)
            return
        self._loop.add_reader(self._descriptor, self._over)

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal; return False if we may not."""
        if self._descriptor is None:
            return True
        try:
            signal.pidfd_send_signal(self._descriptor, number)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return True

    async def wait(self, within_s: float) -> bool:
        """Wait for its end; return whether it came."""
        try:
            await asyncio.wait_for(self.gone.wait(), within_s)
        except TimeoutError:
            return False
        return True

    def release(self) -> None:
        """Watch it no more; it lives on."""
        if self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def _over(self) -> None:
        self.release()
        status: int | None = None
        with suppress(ChildProcessError):  # an adopted one is somebody else's child
            _, code = os.waitpid(self.pid, os.WNOHANG)
            status = os.waitstatus_to_exitcode(code)
        self.gone.set()
        self._ended(self, status)


def launch(exabgp: str, files: Files, who: RunAs, settings: Mapping[str, str]) -> Found:
    """Start ExaBGP in a session of its own; raise ActuatorRejected if that cannot be done."""
    words = [*who.words, *server_command(exabgp, files)]
    environ = {"PATH": SYSTEM_PATH, "LANG": "C.UTF-8", **settings}
    log = files.open_log()
    try:
        actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)]
        actions += [(os.POSIX_SPAWN_DUP2, log, number) for number in (1, 2)]  # type: ignore[misc]
        plain = [signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]
        pid = os.posix_spawn(
            words[0], words, environ, file_actions=actions, setsid=True, setsigmask=[], setsigdef=plain
        )
    except OSError as error:
        message = f"{words[0]} cannot be started: {error.strerror}"
        raise ActuatorRejected(message) from error
    finally:
        os.close(log)
    return Found(pid, start_of(pid) or 0)
