"""The text of a file that an operator names; why it cannot be had is told like any other mistake in it."""

from __future__ import annotations

import io
import os
import stat as mode

from anycastd.config.document import MAX_BYTES
from anycastd.errors import ConfigError, Problem


def read_text(path: str) -> str:
    """Return the text of a regular file; raise ConfigError when it cannot be had."""
    try:
        with io.BufferedReader(io.FileIO(path, "r", opener=_open)) as file:
            if not mode.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigError((Problem(1, 1, "", "cannot be read: not a regular file", path),))
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if len(raw) > MAX_BYTES:
        raise ConfigError((Problem(1, 1, "", f"is larger than {MAX_BYTES // 1024} KiB", path),))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise ConfigError((Problem(line, column, "", "not UTF-8 text", path),)) from error


def _open(path: str, flags: int) -> int:
    # opening a FIFO would block the daemon's reload for ever
    return os.open(path, flags | os.O_NONBLOCK)


def _unreadable(path: str, error: OSError | ValueError) -> ConfigError:
    why = (error.strerror or "").lower() if isinstance(error, OSError) else "not a file name"
    return ConfigError((Problem(1, 1, "", f"cannot be read: {why}", path),))
