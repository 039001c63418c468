"""The size of the kernel's table of connections, and how strictly it judges TCP: read, written, and read back.

Only the initial network namespace can write the size, which is that of all; the rest is each namespace's own.
Blocking: a change of the number of buckets makes the kernel sort every connection anew.
"""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

from anycastd.model.conntrack import ConntrackWanted

log = logging.getLogger(__name__)

SYSCTLS = Path("/proc/sys/net/netfilter")
MAX, BUCKETS, COUNT, LIBERAL = (f"nf_conntrack_{name}" for name in ("max", "buckets", "count", "tcp_be_liberal"))
ENTRIES_A_BUCKET = 4
ONLY_ELSEWHERE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def settle(wanted: ConntrackWanted, directory: Path = SYSCTLS) -> dict[str, str]:
    """Make connection tracking as wanted; return what is not, and what to do, by the sysctl's name."""
    problems: dict[str, str] = {}
    if wanted.max is not None:
        if problem := _size(wanted.max, directory):
            problems[MAX] = problem
        elif problem := _buckets(wanted.max, directory):
            problems[BUCKETS] = problem
    if wanted.liberal and (problem := _written(LIBERAL, 1, directory)):
        problems[LIBERAL] = problem
    return problems


def _size(wanted: int, directory: Path) -> str:
    have, count = _read(MAX, directory), _read(COUNT, directory)
    if have is not None and count is not None and wanted < min(have, count):
        return f"stays {have}: {count} connections are tracked, {wanted} are wanted at most"
    return _written(MAX, wanted, directory)


def _buckets(entries: int, directory: Path) -> str:
    """Have no fewer than a bucket for four entries: the kernel's own number is larger on most machines, and stays."""
    wanted, have = entries // ENTRIES_A_BUCKET, _read(BUCKETS, directory)
    if have is None or have >= wanted:
        return ""
    if (code := _write(BUCKETS, wanted, directory)) and code not in ONLY_ELSEWHERE:
        return f"is {have}, and {wanted} are needed: {os.strerror(code)}"
    return ""


def _written(name: str, wanted: int, directory: Path) -> str:
    """Write a value unless it is there; return what is wrong, else ""."""
    have = _read(name, directory)
    if have is None:
        return "is not there: does this kernel have nf_conntrack?"
    if have == wanted:
        return ""
    code, mend = _write(name, wanted, directory), f"`sysctl -w net.netfilter.{name}={wanted}`"
    if code:
        return f"is {have}, and cannot be set to {wanted} from here ({os.strerror(code)}): {mend} on the host itself"
    now = _read(name, directory)
    return "" if now == wanted else f"is {now} though {wanted} was written: {mend}, and see what sets it"


def _read(name: str, directory: Path) -> int | None:
    try:
        return int((directory / name).read_text())
    except (OSError, ValueError):
        return None


def _write(name: str, value: int, directory: Path) -> int:
    """Return 0, or the errno of what refused it."""
    try:
        # "r+" neither makes nor empties a file
        with (directory / name).open("r+", encoding="ascii") as file:
            file.write(f"{value}\n")
    except OSError as error:
        return error.errno or errno.EIO
    log.info("net.netfilter.%s set to %d", name, value)
    return 0
