"""Read a configuration file. The only effects are reading it and looking at (never into) the files it names."""

from __future__ import annotations

import io
import os
import stat as mode
from pathlib import Path

from anycastd.config.build import build, digest_of
from anycastd.config.check import Verdict, check
from anycastd.config.document import MAX_BYTES, parse
from anycastd.errors import ConfigError, Problem
from anycastd.model.topology import Config


def load(path: str) -> Config:
    """Return the configuration of a file; raise ConfigError with every problem found."""
    text = _read(path)
    directory = str(Path(path).absolute().parent)
    verdict = check(parse(text, path), directory, Path.stat)
    if verdict.root is None:
        raise ConfigError(verdict.problems)
    return build(
        verdict.root,
        path=path,
        directory=directory,
        digest=digest_of(text),
        warnings=tuple(str(warning) for warning in verdict.warnings),
    )


def verdict_on(path: str) -> Verdict:
    """Return everything there is to say of a file, errors and warnings; never raises for what is in it."""
    try:
        text = _read(path)
    except ConfigError as error:
        return Verdict(None, error.problems)
    return check(parse(text, path), str(Path(path).absolute().parent), Path.stat)


def problems(path: str) -> tuple[Problem, ...]:
    """Return every error of a file, in the order of the file; empty when it can be loaded."""
    return verdict_on(path).problems


def _read(path: str) -> str:
    """Return the text of a regular file; raise ConfigError when it cannot be had."""
    try:
        with io.FileIO(path, "r", opener=_open) as file:
            if not mode.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigError((Problem(1, 1, "", "cannot be read: not a regular file", path),))
            raw = io.BufferedReader(file).read(MAX_BYTES + 1)
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
