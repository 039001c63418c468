"""Read a configuration file. The only effects are reading it and looking at (never into) the files it names."""

from __future__ import annotations

import gc
import io
import os
import stat as mode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from anycastd.config.build import build, digest_of
from anycastd.config.check import check
from anycastd.config.document import MAX_BYTES, parse
from anycastd.errors import ConfigError, Problem
from anycastd.model.topology import Config


@dataclass(frozen=True, slots=True)
class Examined:
    """What a file came to: a configuration, or the problems that refuse it; warnings either way."""

    config: Config | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()


def load(path: str) -> Config:
    """Return the configuration of a file; raise ConfigError with every problem found."""
    examined = examine(path)
    if examined.config is None:
        raise ConfigError(examined.problems)
    return examined.config


def examine(path: str) -> Examined:
    """Return everything there is to say of a file; never raises for what is in it."""
    try:
        text = _read(path)
    except ConfigError as error:
        return Examined(None, error.problems)
    with _no_search_for_cycles():
        return _examined(text, path)


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    # there are none in a file's half a million values, and looking for them takes a third of the time
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _examined(text: str, path: str) -> Examined:
    directory = str(Path(path).absolute().parent)
    verdict = check(parse(text, path), directory, Path.stat)
    if verdict.root is None:
        return Examined(None, verdict.problems, verdict.warnings)
    config = build(
        verdict.root,
        path=path,
        directory=directory,
        digest=digest_of(text),
        warnings=tuple(str(warning) for warning in verdict.warnings),
    )
    return Examined(config, (), verdict.warnings)


def problems(path: str) -> tuple[Problem, ...]:
    """Return every error of a file, in the order of the file; empty when it can be loaded."""
    return examine(path).problems


def _read(path: str) -> str:
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
