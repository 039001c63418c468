"""`anycastd override` and `overrides`: force the level of a prefix, or the state of a tunnel or backend, by hand."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import click

from anycastd.cli.asking import socket_of, told, where_options
from anycastd.cli.client import EX_USAGE, AskError, ask
from anycastd.cli.groups import Group
from anycastd.cli.lasting import body_of, lasting_options, target_of
from anycastd.cli.ordering import changed
from anycastd.cli.render import span, table, wants_colour

LEVELS = ("normal", "depref", "gshut", "withdrawn")
HEADER = ("OVERRIDE", "TO", "SINCE", "OWNER", "ENDS", "WHY")


@click.group("override", cls=Group)
def override() -> None:
    """Force a level or state by hand; health has no say until it ends, which it does by itself."""


def _order(
    kind: str,
    name: str,
    to: dict[str, str],
    *,
    reason: str,
    for_: str | None,
    until: str | None,
    force: bool,
    owner: str | None,
    dry_run: bool,
    socket_path: str | None,
    config_file: str | None,
) -> None:
    body = {"kind": kind, "name": name, **to, **body_of(reason, for_, until, force, owner)}
    with told():
        target = target_of("/v1/overrides", force=force, dry_run=dry_run)
        changed(ask(socket_of(socket_path, config_file), target, method="POST", body=body))


_dry_run = click.option("--dry-run", is_flag=True, help="Say what would change; change nothing.")
_state = click.option("--state", type=click.Choice(["up", "down"]), required=True, help="What is to be believed of it.")


@override.command("prefix")
@click.argument("name", metavar="PREFIX")
@click.option("--level", type=click.Choice(LEVELS), required=True, help="The level at which it is announced.")
@lasting_options
@_dry_run
@where_options
def prefix(name: str, level: str, **how: Any) -> None:
    """Announce PREFIX at a level, whatever health says; below depref only past the guard (--force)."""
    _order("prefix", name, {"level": level.upper()}, **how)


@override.command("tunnel")
@click.argument("name", metavar="REGION/TUNNEL")
@_state
@lasting_options
@_dry_run
@where_options
def tunnel(name: str, state: str, **how: Any) -> None:
    """Take a tunnel for healthy (up) or not (down), whatever its checks say."""
    _order("tunnel", name, {"state": state}, **how)


@override.command("backend")
@click.argument("name", metavar="REGION/BACKEND")
@_state
@lasting_options
@_dry_run
@where_options
def backend(name: str, state: str, **how: Any) -> None:
    """Take a backend for healthy (up) or not (down), whatever its checks say."""
    _order("backend", name, {"state": state}, **how)


@override.command("clear")
@click.argument("name", metavar="NAME|ID", required=False)
@click.option("--all", "every", is_flag=True, help="All of them.")
@_dry_run
@where_options
def clear(name: str | None, every: bool, dry_run: bool, socket_path: str | None, config_file: str | None) -> None:
    """End the overrides of NAME (a prefix, tunnel or backend) or the one with an id, or all."""
    if (name is None) is not every:
        message = "give either a name, or --all"
        raise click.UsageError(message)
    with told():
        path = socket_of(socket_path, config_file)
        found = ask(path, "/v1/overrides")["overrides"]
        mine = [one for one in found if every or name in (one["id"], one["name"])]
        if not mine and not every:
            message = f"nothing called {name!r} is overridden"
            raise AskError(message, EX_USAGE)
        for one in mine:
            target = f"/v1/overrides/{quote(one['id'])}" + ("?dry_run=true" if dry_run else "")
            changed(ask(path, target, method="DELETE"))
        if not mine:
            click.echo("there are none")


@click.command("overrides")
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
@where_options
def overrides(as_json: bool, socket_path: str | None, config_file: str | None) -> None:
    """List what is forced by hand, by whom, why, and until when."""
    with told():
        body = ask(socket_of(socket_path, config_file), "/v1/overrides")
    if as_json:
        click.echo(json.dumps(body, indent=2, ensure_ascii=False))
        return
    rows = [
        (
            f"{one['kind']} {one['name']}",
            (one["level"] or one["state"]) + (" (forced)" if one["forced"] else ""),
            one["began_at"][:19] + "Z",
            one["owner"],
            "-" if one["expires_in_s"] is None else f"in {span(one['expires_in_s'])}",
            one["reason"] or "-",
        )
        for one in body["overrides"]
    ]
    colour = wants_colour()
    click.echo("\n".join(table(HEADER, rows, colour=colour) or ["there are none"]), color=colour)
