"""`anycastd explain`: why a prefix is announced as it is."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import click

from anycastd.cli.asking import socket_of, told, where_options
from anycastd.cli.client import EX_USAGE, AskError, ask
from anycastd.cli.eip_render import show_lines
from anycastd.cli.journal_lines import decision_line
from anycastd.cli.render import EXPLAINED, explain_lines, wants_colour, wrapped

LAST = 3
"""Decisions that are shown; `anycastd decisions --prefix` has the others."""


@click.command("explain")
@click.argument("prefix")
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
@where_options
def explain(prefix: str, as_json: bool, socket_path: str | None, config_file: str | None) -> None:
    """Say why PREFIX (or the prefix of an address) is announced as it is, and what would change it.

    Of an address that is an EIP it is said first where its packets go, and why.
    """
    with told():
        path = socket_of(socket_path, config_file)
        body = ask(path, f"/v1/explain?prefix={quote(prefix, safe='')}")
        eip = None if as_json or "/" in prefix else _eip(path, prefix)
        history = [] if as_json else _history(path, body["prefix"]["prefix"])
    if as_json:
        click.echo(json.dumps(body, indent=2, ensure_ascii=False))
        return
    colour = wants_colour()
    lines = [] if eip is None else [*show_lines(eip, colour=colour), ""]
    click.echo("\n".join([*lines, *explain_lines(body, colour=colour), *history]), color=colour)


def _history(path: str, prefix: str) -> list[str]:
    """Return lines on the last decisions; none if the daemon keeps no journal yet, or cannot read it."""
    try:
        found = ask(path, f"/v1/decisions?limit={LAST}&prefix={quote(prefix, safe='')}")["decisions"]
    except AskError as error:
        return [] if error.exit_code == EX_USAGE else [f"  decisions  {error}"]
    lines = [decision_line(one).lstrip() for one in found]
    titled = [f"  {'decisions' if number == 0 else '':<10} {line}" for number, line in enumerate(lines)]
    return [part for line in titled for part in wrapped(line, EXPLAINED + 4)]


def _eip(path: str, address: str) -> dict[str, Any] | None:
    """Return the EIP of an address, None if there is none."""
    try:
        found: dict[str, Any] = ask(path, f"/v1/eips/{quote(address, safe='')}")
    except AskError as error:
        if error.exit_code == EX_USAGE:
            return None
        raise
    return found
