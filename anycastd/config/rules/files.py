"""Files that the configuration names: there, readable by us alone where they hold a secret. Looked at, never read."""

from __future__ import annotations

import os
import stat as mode
from collections.abc import Callable
from pathlib import Path as FilePath

from anycastd.config.build.check_options import absolute
from anycastd.config.document import Path
from anycastd.config.rules.findings import Findings

Stat = Callable[[FilePath], os.stat_result]

# Linux TCP_MD5SIG_MAXKEYLEN is 80; a line end may follow
MAX_PASSWORD_BYTES = 82


def named_files(found: Findings, directory: str, stat: Stat) -> None:
    """Look at every password file."""
    for name, neighbor in found.root.neighbors.items():
        if neighbor.password_file is not None:
            _password(found, ("neighbors", name, "password_file"), neighbor.password_file, directory, stat)


def _password(found: Findings, path: Path, name: str, directory: str, stat: Stat) -> None:
    status = look(found, path, name, directory, stat)
    if status is None:
        return
    if status.st_size == 0:
        found.error(path, f"{name} is empty")
    elif status.st_size > MAX_PASSWORD_BYTES:
        found.error(path, f"{name} holds {status.st_size} bytes; a TCP MD5 password has at most 80")
    secret(found, path, name, status)


def secret(found: Findings, path: Path, name: str, status: os.stat_result) -> None:
    """Note a file that others can use, or its group write: a daemon that is not root reads it by its group."""
    if status.st_mode & 0o137:
        found.error(
            path,
            f"{name} can be used by others, or written by its group (mode {mode.S_IMODE(status.st_mode):04o}); "
            "chmod 600 it, or 640 with the daemon's group",
        )


def look(found: Findings, path: Path, name: str, directory: str, stat: Stat) -> os.stat_result | None:
    """Return what there is to know of a regular file; None, and an error noted, where it cannot be looked at."""
    try:
        status = stat(FilePath(absolute(name, directory) or name))
    except (OSError, ValueError) as error:
        why = (error.strerror or "").lower() if isinstance(error, OSError) else "not a file name"
        found.error(path, f"{name} cannot be looked at: {why}")
        return None
    if not mode.S_ISREG(status.st_mode):
        found.error(path, f"{name} is not a regular file")
        return None
    return status
