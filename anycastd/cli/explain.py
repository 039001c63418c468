"""`anycastd explain`: why a prefix is announced as it is."""

from __future__ import annotations

import json
from urllib.parse import quote

import click

from anycastd.cli.asking import socket_of, told, where_options
from anycastd.cli.client import ask
from anycastd.cli.render import explain_lines, wants_colour


@click.command("explain")
@click.argument("prefix")
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
@where_options
def explain(prefix: str, as_json: bool, socket_path: str | None, config_file: str | None) -> None:
    """Say why PREFIX (or the prefix of an address) is announced as it is, and what would change it."""
    with told():
        body = ask(socket_of(socket_path, config_file), f"/v1/explain?prefix={quote(prefix, safe='')}")
    if as_json:
        click.echo(json.dumps(body, indent=2, ensure_ascii=False))
        return
    colour = wants_colour()
    click.echo("\n".join(explain_lines(body, colour=colour)), color=colour)
