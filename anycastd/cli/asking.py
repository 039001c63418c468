"""What the verbs that ask the daemon share: which socket, and how a refusal is told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from anycastd.cli.client import DEFAULT_SOCKET, EX_CONFIG, AskError

F = TypeVar("F", bound=Callable[..., Any])


def where_options(verb: F) -> F:
    """Add --socket and -c to a verb; both say where the daemon listens."""
    verb = click.option("-c", "--config", "config_file", metavar="FILE", help="Read the socket's path from FILE.")(verb)
    return click.option("--socket", "socket_path", metavar="PATH", help=f"The daemon's socket [{DEFAULT_SOCKET}].")(
        verb
    )


def socket_of(socket_path: str | None, config_file: str | None) -> str:
    """Return the socket to ask: the one given, the one the configuration names, or the default."""
    if socket_path is not None and config_file is not None:
        message = "--socket and -c both say where the daemon listens; give one"
        raise click.UsageError(message)
    if config_file is not None:
        return _configured(config_file)
    return socket_path or DEFAULT_SOCKET


def _configured(path: str) -> str:
    # here, not above: the configuration's models cost more than this whole verb
    from anycastd.config.load import load
    from anycastd.errors import ConfigError

    try:
        return load(path).api.socket
    except ConfigError as error:
        lines = str(error).splitlines()
        message = f"{path} cannot be read"
        raise AskError(message, EX_CONFIG, tuple(lines)) from error


@contextmanager
def told() -> Iterator[None]:
    """Tell an AskError on stderr and exit with its code."""
    try:
        yield
    except AskError as error:
        click.echo(f"anycastd: {error}", err=True)
        for line in error.details:
            click.echo(f"  {line}", err=True)
        sys.exit(error.exit_code)
