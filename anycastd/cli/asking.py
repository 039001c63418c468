"""What the verbs that ask the daemon share: which socket, and how a refusal is told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from anycastd.cli.client import DEFAULT_SOCKET, EX_CONFIG, AskError, Remote
from anycastd.cli.option_words import as_typed

DEFAULT_STATE_DIR = "/var/lib/anycastd"
F = TypeVar("F", bound=Callable[..., Any])


def where_options(verb: F) -> F:
    """Add --socket, -c and --url to a verb, which say where the daemon listens, and with what it is asked there."""
    for name, variable, metavar, text in (
        ("--ca-file", "ANYCASTD_CA_FILE", "FILE", "Authorities of the daemon's certificate, with --url."),
        ("--token-file", "ANYCASTD_TOKEN_FILE", "FILE", "File with the token to show, with --url."),
        ("--url", "ANYCASTD_URL", "URL", "Ask over TCP, such as https://192.0.2.1:8179."),
    ):
        option = click.option(
            name, envvar=variable, show_envvar=True, metavar=metavar, help=text, expose_value=False, callback=_keep
        )
        verb = option(verb)
    verb = click.option("-c", "--config", "config_file", metavar="FILE", help="Read the socket's path from FILE.")(verb)
    return click.option("--socket", "socket_path", metavar="PATH", help=f"The daemon's socket [{DEFAULT_SOCKET}].")(
        verb
    )


def _keep(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    context.meta[f"anycastd.{parameter.name}"] = value


def socket_of(socket_path: str | None, config_file: str | None) -> str:
    """Return the socket to ask: the one given, the one the configuration names, or the default; or a Remote."""
    meta = click.get_current_context().meta
    if (url := meta.get("anycastd.url")) is not None and socket_path is None and config_file is None:
        return Remote(url, token_file=meta.get("anycastd.token_file"), ca_file=meta.get("anycastd.ca_file"))
    if socket_path is not None and config_file is not None:
        message = "--socket and -c both say where the daemon listens; give one"
        raise click.UsageError(message)
    if config_file is not None:
        return _configured(config_file)
    return socket_path or DEFAULT_SOCKET


def state_dir_of(config_file: str | None) -> str:
    """Return `state_dir`: what the configuration names, or the default."""
    value, problems = ({}, ()) if config_file is None else _parsed(config_file)
    state_dir = value.get("state_dir")
    if not isinstance(state_dir, str) and problems:
        message = f"{config_file} does not tell where the state is"
        raise AskError(message, EX_CONFIG, tuple(map(str, problems)))
    return state_dir if isinstance(state_dir, str) else DEFAULT_STATE_DIR


def _parsed(path: str) -> tuple[dict[str, Any], tuple[object, ...]]:
    """Return what a file says, and its mistakes."""
    # here, not above: only this option needs YAML
    from anycastd.config.document import parse

    try:
        document = parse(Path(path).read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read: {error.strerror if isinstance(error, OSError) else 'it is not UTF-8'}"
        raise AskError(message, EX_CONFIG) from error
    return document.value, document.problems


def _configured(path: str) -> str:
    """Return `api.socket` of a file. Only that: who asks need not be able to read the secrets the file names.

    A file in which something else is wrong is good enough, for the daemon runs on an older one.
    """
    value, problems = _parsed(path)
    api = value.get("api")
    socket_path = api.get("socket") if isinstance(api, dict) else None
    if isinstance(socket_path, str):
        return socket_path
    if problems:
        message = f"{path} does not tell where the daemon listens; say it with --socket"
        raise AskError(message, EX_CONFIG, tuple(map(str, problems)))
    return DEFAULT_SOCKET


@contextmanager
def told() -> Iterator[None]:
    """Tell an AskError on stderr, with the options for the API's fields, and exit with its code."""
    try:
        yield
    except AskError as error:
        context = click.get_current_context(silent=True)
        known = frozenset(word for one in context.command.params for word in one.opts) if context else frozenset[str]()
        click.echo(f"anycastd: {as_typed(str(error), known)}", err=True)
        for line in error.details:
            click.echo(f"  {as_typed(line, known)}", err=True)
        sys.exit(error.exit_code)
