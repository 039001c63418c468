"""Start one node: a process in namespaces of its own, on an overlay of the host's root file system.

Life of a node's pid 1: unshare -> own root -> own /proc, /sys, /tmp, /run -> says `ready` on its standard output ->
waits for `go` on its standard input -> runs cmd and reaps orphans for ever. If the runner dies before `go`, the pipe
ends and so does the node; after `go` nothing ties the node to the runner.
"""

from __future__ import annotations

import os
import pwd
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from anycastd.lab.equipment import SYSTEM_PATH, tool
from anycastd.lab.errors import LabError
from anycastd.lab.processes import MARK, Process, running
from anycastd.lab.reach import Reach
from anycastd.lab.shape import Bind, Node

# The lab's addresses must be usable at once: without these, IPv6 addresses stay tentative for about a second
# (RFC 4862 section 5.4). Both `all` and `default` count (net/ipv6/addrconf.c).
DEFAULT_SYSCTLS = {
    "net.ipv6.conf.all.disable_ipv6": "0",
    "net.ipv6.conf.default.disable_ipv6": "0",
    "net.ipv6.conf.all.accept_dad": "0",
    "net.ipv6.conf.default.accept_dad": "0",
}
_OLD_ROOT = "/.lab-host"
# Run directories that packages expect to find and that the node's fresh /run does not have.
_RUN_OWNERS = {"frr": "/run/frr", "bird": "/run/bird"}
_LOG_TAIL_BYTES = 2000


@dataclass(slots=True)
class Waiting:
    """A node that stands and waits for `go`."""

    process: Process
    go: IO[bytes]

    def release(self) -> None:
        """Let the node run its cmd."""
        try:
            self.go.write(b"go\n")
        except BrokenPipeError:
            message = f"process {self.process.pid} of the node ended before its cmd could start"
            raise LabError(message) from None
        self.go.close()


def environment_of(lab: str, node: Node) -> dict[str, str]:
    """Give the environment of all that runs in a node: the venv's programs first, then the system's."""
    own = {"PATH": f"{Path(sys.prefix) / 'bin'}:{SYSTEM_PATH}", "HOME": "/root", "LANG": "C.UTF-8"}
    return own | dict(node.env) | {MARK: f"{lab}.{node.name}"}


def start(node: Node, directory: Path, env: Mapping[str, str], reach: Reach) -> Waiting:
    """Start a node up to the point where it waits for `go`; raise LabError with its last words."""
    (directory / "mount").mkdir(parents=True)
    argv = [
        # setsid --fork: the node is no child of the runner, so nobody must wait for it.
        *(tool("setsid"), "--fork", tool("unshare"), "--net", "--mount", "--uts", "--ipc", "--pid", "--fork"),
        *("--kill-child=KILL", "--propagation=private", "/bin/sh", "-c", script(node, directory, reach)),
        *("lab-node", *node.argv),
    ]
    with (directory / "log").open("ab") as log:
        starter = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=dict(env), cwd="/", bufsize=0
        )
    if starter.stdin is None or starter.stdout is None:
        message = f"{node.name}: no pipes"
        raise LabError(message)
    with starter.stdout:
        pid_line, ready = starter.stdout.readline(), starter.stdout.readline()
    starter.wait()
    process = running(int(pid_line)) if pid_line.strip().isdigit() else None
    if ready != b"ready\n" or process is None:
        starter.stdin.close()
        message = f"{node.name}: did not start: {tail_of(directory / 'log')}"
        raise LabError(message)
    return Waiting(process, starter.stdin)


def tail_of(log: Path) -> str:
    """Give the end of a log."""
    with log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _LOG_TAIL_BYTES))
        return file.read().decode(errors="replace").strip() or "it said nothing"


def script(node: Node, directory: Path, reach: Reach) -> str:
    """Write the shell script that a node's pid 1 runs."""
    mount = shlex.quote(os.fspath(directory / "mount"))
    lines = [
        "set -e; umask 022; node_path=$PATH; PATH=" + SYSTEM_PATH,
        # The old /proc still shows the outer pid namespace: this is our pid as the runner knows it.
        'read -r pid rest < /proc/self/stat; echo "$pid"',
        f"mount -t tmpfs -o mode=0755 lab {mount}; cd {mount}; mkdir upper work root",
        "mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root; cd root",
        f"mkdir .{_OLD_ROOT}; pivot_root . .{_OLD_ROOT}; cd /",
        # All that follows works on paths of the new root, so that an absolute symlink cannot lead to the host.
        "mount -t proc proc /proc; mount -t sysfs -o ro sysfs /sys",
        f"mount --rbind {_OLD_ROOT}/dev /dev; mount -t tmpfs -o mode=1777 tmpfs /dev/shm",
        "mount -t tmpfs -o mode=1777 tmpfs /tmp; mount -t tmpfs -o mode=0755 tmpfs /run; mkdir -m 1777 /run/lock",
        *_run_directories(),
        *_laid_over(reach, directory),
        *_opened(reach),
        "rm -f /etc/resolv.conf; : > /etc/resolv.conf",
        f"rm -f /etc/hosts; printf '127.0.0.1 localhost\\n::1 localhost\\n127.0.1.1 {node.hostname}\\n' > /etc/hosts",
        f"echo {node.hostname} > /etc/hostname; echo {node.hostname} > /proc/sys/kernel/hostname",
        *_sysctls({**DEFAULT_SYSCTLS, **node.sysctls}),
        *(line for bind in node.binds for line in _bind(bind)),
        f"umount -l {_OLD_ROOT}; rmdir {_OLD_ROOT}",
        # From here on nothing but the log is held of the host.
        "echo ready; exec >&2; read -r go || exit 1; exec </dev/null; set +e; PATH=$node_path",
        '"$@" & wait $!; echo "lab: cmd ended with status $?"',
        # A shell in `wait` reaps every orphan of the namespace.
        "PATH=" + SYSTEM_PATH + "; while :; do sleep infinity & wait $!; done",
    ]
    return "\n".join(lines)


def _run_directories() -> list[str]:
    known = {entry.pw_name for entry in pwd.getpwall()}
    return [f"mkdir {path}; chown {owner}: {path}" for owner, path in _RUN_OWNERS.items() if owner in known]


def _laid_over(reach: Reach, directory: Path) -> list[str]:
    lines = []
    layers = f"{_OLD_ROOT}{directory / 'mount'}"
    for number, path in enumerate(reach.laid_over):
        upper, work = f"{layers}/upper{number}", f"{layers}/work{number}"
        options = f"lowerdir={_OLD_ROOT}{path},upperdir={upper},workdir={work}"
        lines.append(
            f"mkdir -p {shlex.quote(upper)} {shlex.quote(work)} {shlex.quote(os.fspath(path))}; "
            f"mount -t overlay overlay -o {shlex.quote(options)} {shlex.quote(os.fspath(path))}"
        )
    return lines


def _opened(reach: Reach) -> list[str]:
    return [f"chmod go+rx {' '.join(shlex.quote(os.fspath(path)) for path in reach.opened)}"] if reach.opened else []


def _sysctls(sysctls: Mapping[str, str]) -> list[str]:
    lines = []
    for name, value in sysctls.items():
        # sysctl(8): after a first slash the two separators change places, for interface names with dots.
        slash, dot = name.find("/"), name.find(".")
        path = name if -1 < slash < dot else name.translate(str.maketrans("./", "/."))
        quoted = shlex.quote(value)
        complaint = shlex.quote(f"sysctl {name}: the node's kernel does not take {value!r}")
        lines.append(f"echo {quoted} > /proc/sys/{path} || {{ echo {complaint} >&2; exit 1; }}")
    return lines


def _bind(bind: Bind) -> list[str]:
    target = shlex.quote(bind.target)
    # Resolved here: below the old root's mount point an absolute symlink would lead into the node.
    source = bind.source.resolve()
    if source.is_dir():
        make = f"mkdir -p {target}"
    else:
        make = f"mkdir -p {shlex.quote(os.path.dirname(bind.target))}; [ -e {target} ] || : > {target}"  # noqa: PTH120
    lines = [make, f"mount --bind {shlex.quote(_OLD_ROOT + os.fspath(source))} {target}"]
    return [*lines, f"mount -o remount,bind,ro {target}"] if bind.read_only else lines
