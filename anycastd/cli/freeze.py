"""`anycastd freeze` and `unfreeze`: a file on disk, so that they work without network, API and daemon."""

from __future__ import annotations

import errno
import getpass
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from anycastd.cli.asking import socket_of, told
from anycastd.cli.client import DEFAULT_SOCKET, EX_CONFIG, EX_NOPERM, AskError, ask
from anycastd.cli.lasting import duration_s, owner, until_s

STATE_DIR = "/var/lib/anycastd"
DEFAULT_FOR = "1h"
SEEN_WITHIN_S = 3.0
SAME_END_S = 2.0
"""Two ends of a freeze that are no farther apart are one: the daemon reckons by another clock."""
F = TypeVar("F", bound=Callable[..., Any])


def file_options(verb: F) -> F:
    """Add the options that say where the file and the daemon are."""
    for option in (
        click.option("-c", "--config", "config_file", metavar="FILE", help="Read state_dir and the socket from FILE."),
        click.option("--socket", "socket_path", metavar="PATH", help=f"The daemon's socket [{DEFAULT_SOCKET}]."),
        click.option("--state-dir", metavar="DIR", help=f"Where the daemon keeps its state [{STATE_DIR}]."),
    ):
        verb = option(verb)
    return verb


def _path(state_dir: str | None, config_file: str | None) -> Path:
    directory = state_dir
    if directory is None and config_file is not None:
        # here, not above: only this option needs YAML
        from anycastd.config.document import parse

        try:
            document = parse(Path(config_file).read_text(encoding="utf-8"), config_file)
        except (OSError, UnicodeDecodeError) as error:
            message = f"{config_file} cannot be read; say where the state is with --state-dir"
            raise AskError(message, EX_CONFIG) from error
        value = document.value.get("state_dir")
        directory = value if isinstance(value, str) else None
        if directory is None and document.problems:
            message = f"{config_file} does not tell where the state is; say it with --state-dir"
            raise AskError(message, EX_CONFIG, tuple(map(str, document.problems)))
    return Path(directory or STATE_DIR) / "freeze"


def _until(for_: str | None, until: str | None) -> float | None:
    if for_ is not None and until is not None:
        message = "--for and --until both say when it ends; give one"
        raise click.UsageError(message)
    if for_ == "never":
        return None
    try:
        left_s = until_s(until, datetime.now(UTC)) if until is not None else duration_s(for_ or DEFAULT_FOR)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return time.time() + left_s


def write(path: Path, said: dict[str, Any]) -> None:
    """Put the file there whole, on disk before this returns; OSError if it cannot be."""
    new = path.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        # whatever the umask of who freezes: a daemon that may not read the file would know neither reason nor end
        os.fchmod(descriptor, 0o644)
        os.write(descriptor, json.dumps(said).encode() + b"\n")
        os.fsync(descriptor)
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    with suppress(OSError):
        # else the name could be lost with the power; some network file systems cannot
        _sync(path.parent)


def _sync(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@click.command("freeze")
@click.option("--reason", metavar="TEXT", default="", help="Why; shown wherever the freeze is.")
@click.option("--for", "for_", metavar="TIME", help=f"How long: 90s, 30m, 2h, 1d, never [{DEFAULT_FOR}].")
@click.option("--until", metavar="TIME", help="When it ends by itself: 2026-01-31T18:00Z.")
@click.option("--eips", is_flag=True, help="Also refuse changes of EIPs, dials, drains and overrides.")
@file_options
def freeze(
    reason: str,
    for_: str | None,
    until: str | None,
    eips: bool,
    state_dir: str | None,
    socket_path: str | None,
    config_file: str | None,
) -> None:
    """Hold every announcement at what it is, by a file on disk; packets go on following health."""
    who = owner() or getpass.getuser()
    said = {"owner": who, "reason": reason, "until_unix_s": _until(for_, until), "eips": eips}
    with told():
        path = _path(state_dir, config_file)
        _on_disk(path, lambda: write(path, said))
        click.echo(f"{path} is written: announcements are frozen {_words(said)}")
        _confirm(socket_path, config_file, said)


def _words(said: dict[str, Any]) -> str:
    until = said["until_unix_s"]
    if until is None:
        return "until anycastd unfreeze"
    return f"until {datetime.fromtimestamp(until, UTC).isoformat(timespec='seconds').replace('+00:00', 'Z')}"


def _on_disk(path: Path, act: Callable[[], object]) -> None:
    try:
        act()
    except FileNotFoundError:
        if not path.parent.is_dir():
            message = f"{path.parent}: there is no such directory; say where the state is with --state-dir"
            raise AskError(message, EX_CONFIG) from None
        raise
    except OSError as error:
        code = EX_NOPERM if isinstance(error, PermissionError) else EX_CONFIG
        hint = "; become root" if code == EX_NOPERM else ""
        if error.errno == errno.ENOSPC:
            hint = f"; `touch {path}` freezes too, without reason and end"
        message = f"{path}: {error.strerror or error}{hint}"
        raise AskError(message, code) from error


@click.command("unfreeze")
@file_options
def unfreeze(state_dir: str | None, socket_path: str | None, config_file: str | None) -> None:
    """Let announcements follow health again, by the ordinary rules."""
    with told():
        path = _path(state_dir, config_file)
        try:
            _on_disk(path, path.unlink)
        except FileNotFoundError:
            click.echo(f"nothing changed: there is no {path}")
            return
        click.echo(f"{path} is removed")
        _confirm(socket_path, config_file, None)


def _confirm(socket_path: str | None, config_file: str | None, wanted: dict[str, Any] | None) -> None:
    """Say whether a running daemon has noticed; that none answers is no error: the file counts when it starts."""
    end_s = time.monotonic() + SEEN_WITHIN_S
    word = "not frozen" if wanted is None else "frozen"
    while True:
        try:
            said = ask(socket_of(socket_path, None if socket_path else config_file), "/v1/freeze", timeout_s=2.0)
        except AskError as error:
            click.echo(f"no daemon confirms it ({error}); it counts from its next look")
            return
        late = time.monotonic() > end_s
        # a freeze that was renewed is told anew; an older daemon, or one that cuts a long reason, says what it has
        if is_so(said, wanted) or (late and said["frozen"] and wanted is not None):
            click.echo(f"the daemon says: {said['text']}")
            return
        if late:
            message = f"the daemon does not say {word} after {SEEN_WITHIN_S:g} s: is its state_dir another one?"
            raise AskError(message, EX_CONFIG)
        time.sleep(0.1)


def is_so(said: dict[str, Any], wanted: dict[str, Any] | None) -> bool:
    """Return whether the daemon knows of this very freeze, not of one before it; or of none."""
    if wanted is None or not said["frozen"]:
        return wanted is None and not said["frozen"]
    left_s, until = said["expires_in_s"], wanted["until_unix_s"]
    if (left_s is None) is not (until is None) or said["reason"] != wanted["reason"]:
        return False
    return until is None or abs(time.time() + left_s - until) < SAME_END_S
