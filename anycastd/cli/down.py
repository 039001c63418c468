"""`anycastd down`: leave, and with --purge remove all that is ours from the kernel."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from anycastd.cli.asking import socket_of, told
from anycastd.cli.client import EX_NOPERM, EX_TEMPFAIL, EX_UNAVAILABLE, EX_USAGE, AskError
from anycastd.cli.sure import sure, yes_option

if TYPE_CHECKING:
    from anycastd.model.topology import KernelConfig

UNITS = ("anycastd.service", "anycastd-bgp.service")
ENDS_WITHIN_S = 90.0
"""Above the unit's TimeoutStopSec."""
LOOK_EACH_S = 0.05
CONFIG = "/etc/anycastd/anycastd.yaml"


@click.command("down")
@click.option("--purge", is_flag=True, help="Remove routes, rules, the nft table, devices and qdiscs of ours.")
@click.option(
    "--force", is_flag=True, help="Withdraw whatever the guard says; with --purge, end a running daemon first."
)
@click.option("--dry-run", is_flag=True, help="Say what would be done; do nothing.")
@yes_option
@click.option("-c", "--config", "path", metavar="FILE", default=CONFIG, show_default=True, help="Configuration file.")
@click.option("--socket", "socket_path", metavar="PATH", help="The daemon's socket, if it is not the file's.")
def down(purge: bool, force: bool, dry_run: bool, yes: bool, path: str, socket_path: str | None) -> None:
    """Stop announcing and end the daemon; the kernel goes on forwarding, unless --purge empties it too.

    Exits 75 if something is left, 69 if no daemon runs (without --purge).
    """
    with told():
        where = socket_of(socket_path, path if socket_path is None and Path(path).exists() else None)
        pid = daemon_of(where)
        if purge:
            if pid is not None and not force:
                message = f"a daemon runs (pid {pid}) and would put everything back: anycastd down --purge --force"
                raise AskError(message, EX_TEMPFAIL)
            _purge(path, pid, dry_run=dry_run, yes=yes)
            return
        if pid is None:
            message = f"no daemon answers on {where}; what it left: anycastd down --purge --dry-run"
            raise AskError(message, EX_UNAVAILABLE)
        if dry_run:
            click.echo(f"would end the daemon (pid {pid}){', and ExaBGP with every route' if force else ''}")
            return
        sure(f"withdraw every prefix and end the daemon (pid {pid})?", yes=yes)
        leave(pid)
        if force:
            end_speaker(path)
        click.echo("the daemon has ended; the kernel goes on forwarding (anycastd down --purge removes that)")


def daemon_of(where: str) -> int | None:
    """Return the pid of who listens on a socket, as the kernel tells it, or None."""
    with socket.socket(socket.AF_UNIX) as asking:
        try:
            asking.connect(where)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as error:
            message = f"{where}: {error.strerror}"
            raise AskError(message, EX_NOPERM if isinstance(error, PermissionError) else EX_UNAVAILABLE) from error
        pid: int = struct.unpack("3i", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    return pid


def leave(pid: int) -> None:
    """End a daemon as its service manager does, and wait for it."""
    unit = UNITS[0]
    try:
        managed = f"/{unit}" in Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8")
        if managed and shutil.which("systemctl"):
            # otherwise it would be started again
            subprocess.run(["systemctl", "stop", unit], check=True, timeout=ENDS_WITHIN_S)
        else:
            os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    except FileNotFoundError:
        return
    except PermissionError as error:
        message = f"the daemon (pid {pid}) is another user's: become root"
        raise AskError(message, EX_NOPERM) from error
    except subprocess.SubprocessError as error:
        message = f"systemctl stop {unit}: {error}"
        raise AskError(message, EX_UNAVAILABLE) from error
    end_s = time.monotonic() + ENDS_WITHIN_S
    while Path(f"/proc/{pid}").exists() and _runs(pid):
        if time.monotonic() > end_s:
            message = f"the daemon (pid {pid}) has not ended within {ENDS_WITHIN_S:.0f} s"
            raise AskError(message, EX_TEMPFAIL)
        time.sleep(LOOK_EACH_S)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False


def end_speaker(path: str) -> None:
    """End an ExaBGP that still runs, with every route withdrawn first."""
    # heavy, and only needed here
    from anycastd.actuators.exabgp import process, service
    from anycastd.config.load import examine

    config = examine(path).config
    if config is None:
        message = f"{path} is refused, so it does not tell where ExaBGP runs: anycastd check -c {path}"
        raise AskError(message, EX_USAGE)
    directory = Path(config.bgp.directory)
    for one in process.find(directory / "exabgp.conf"):
        if f"/{UNITS[1]}" in Path(f"/proc/{one.pid}/cgroup").read_text(encoding="utf-8") and shutil.which("systemctl"):
            subprocess.run(["systemctl", "stop", UNITS[1]], check=True, timeout=ENDS_WITHIN_S)
            return
        service.stop(directory)
        os.kill(one.pid, signal.SIGTERM)
        click.echo(f"ExaBGP (pid {one.pid}) has withdrawn everything and ends")


def _purge(path: str, pid: int | None, *, dry_run: bool, yes: bool) -> None:
    from anycastd.config.load import examine
    from anycastd.errors import AnycastdError
    from anycastd.model.topology import KernelConfig

    # what is removed is listed here already
    logging.getLogger("anycastd").addHandler(logging.NullHandler())
    examined = examine(path).config
    kernel = KernelConfig() if examined is None else examined.kernel
    if examined is None:
        click.echo(f"{path} cannot be used: taking protocol {kernel.protocol}, the default, for ours", err=True)
    try:
        lines = asyncio.run(_look(kernel))
        for line in lines:
            click.echo(f"{'would remove' if dry_run else 'to be removed'}: {line}")
        if dry_run or not (lines or pid):
            click.echo("" if lines else f"nothing of ours {'is' if dry_run else 'was'} in the kernel", nl=not lines)
            return
        sure("remove it?", yes=yes, unasked="--purge removes all this; say --yes where nobody can be asked")
        if pid is not None:
            leave(pid)
            end_speaker(path)
        problems = asyncio.run(_remove(kernel))
    except AnycastdError as error:
        raise AskError(str(error), EX_UNAVAILABLE) from error
    if problems:
        message = "something could not be removed"
        raise AskError(message, EX_TEMPFAIL, problems)
    click.echo(f"{len(lines)} removed")


async def _look(kernel: KernelConfig) -> tuple[str, ...]:
    from anycastd.runtime.kernel.purge import purging

    async with purging(kernel) as purge:
        return (await purge.look()).lines()


async def _remove(kernel: KernelConfig) -> tuple[str, ...]:
    from anycastd.runtime.kernel.purge import purging

    async with purging(kernel) as purge:
        return await purge.remove()
