"""`anycastd drain`, `undrain` and `drains`: take a POP, neighbor, region, tunnel or backend out of use, and back."""

from __future__ import annotations

import json
import sys
import time
from typing import Any
from urllib.parse import quote

import click

from anycastd.cli.asking import socket_of, told, where_options
from anycastd.cli.client import EX_TEMPFAIL, ask
from anycastd.cli.lasting import body_of, lasting_options, target_of
from anycastd.cli.ordering import changed
from anycastd.cli.render import span, table, wants_colour

SCOPES = ("pop", "neighbor", "region", "tunnel", "backend")
LOOK_EACH_S = 0.5
HEADER = ("DRAIN", "PHASE", "SINCE", "OWNER", "ENDS", "CARRIES", "WHY")
_SCOPE = click.Choice(SCOPES)


def _checked(scope: str, name: str | None) -> str:
    if (name is None) is not (scope == "pop"):
        message = "the POP is drained without a name" if scope == "pop" else f"which {scope}? give its name"
        raise click.UsageError(message)
    return name or ""


@click.command("drain")
@click.argument("scope", metavar="pop|neighbor|region|tunnel|backend", type=_SCOPE)
@click.argument("name", required=False)
@lasting_options
@click.option("--after", type=click.Choice(["keep", "reset"]), default="keep", help="What becomes of connections left.")
@click.option("--dry-run", is_flag=True, help="Say what would change; change nothing.")
@click.option("--wait", is_flag=True, help="Show the phases until it is drained, or held (exit 75).")
@where_options
def drain(
    scope: str,
    name: str | None,
    reason: str,
    for_: str | None,
    until: str | None,
    force: bool,
    owner: str | None,
    after: str,
    dry_run: bool,
    wait: bool,
    socket_path: str | None,
    config_file: str | None,
) -> None:
    """Take NAME out of use: a POP or neighbor leaves phase by phase, elsewhere new connections go to the others."""
    body = {"scope": scope, "name": _checked(scope, name), "after": after}
    body |= body_of(reason, for_, until, force, owner)
    with told():
        path = socket_of(socket_path, config_file)
        target = target_of("/v1/drains", force=force, dry_run=dry_run)
        answer = ask(path, target, method="POST", body=body)
        changed(answer)
        if not dry_run:
            _tell(path, answer["id"])
    if wait and not dry_run:
        with told():
            done = _follow(path, answer["id"])
        sys.exit(0 if done else EX_TEMPFAIL)


def _found(path: str, id_: str) -> dict[str, Any] | None:
    drains: list[dict[str, Any]] = ask(path, "/v1/drains")["drains"]
    return next((one for one in drains if one["id"] == id_), None)


def _tell(path: str, id_: str) -> None:
    one = _found(path, id_)
    if one is not None:
        click.echo(one["text"])


def _follow(path: str, id_: str) -> bool:
    """Show each change until the drain is done with nothing held (True), or gets no further by itself (False)."""
    last = ""
    while True:
        one = _found(path, id_)
        if one is None:
            click.echo("the drain has ended")
            return False
        carries = _carries(one)
        # the text counts down: a phase is told once
        news = f"{one['phase']} {[held['why'] for held in one['held']]}"
        if news != last:
            click.echo(f"{time.strftime('%H:%M:%S')} {one['text']}{f'; carries {carries}' if carries != '-' else ''}")
            last = news
        if one["done"] or one["stays"]:
            return bool(one["done"] and not one["held"])
        time.sleep(LOOK_EACH_S)


def _carries(one: dict[str, Any]) -> str:
    if one["connections"] is not None:
        return f"{one['connections']} connections"
    return "-" if one["rate_bps"] is None else f"{one['rate_bps'] / 1e6:.2f} Mbit/s"


@click.command("undrain")
@click.argument("scope", metavar="pop|neighbor|region|tunnel|backend", type=_SCOPE)
@click.argument("name", required=False)
@click.option("--dry-run", is_flag=True, help="Say what would change; change nothing.")
@where_options
def undrain(scope: str, name: str | None, dry_run: bool, socket_path: str | None, config_file: str | None) -> None:
    """Put NAME into use again; announcements come back by slow start."""
    wanted = (scope, _checked(scope, name))
    with told():
        path = socket_of(socket_path, config_file)
        drains = ask(path, "/v1/drains")["drains"]
        mine = next((one for one in drains if (one["scope"], one["name"]) == wanted), None)
        if mine is None:
            click.echo(f"nothing changed: {' '.join(part for part in wanted if part)} is not drained")
            return
        target = f"/v1/drains/{quote(mine['id'])}" + ("?dry_run=true" if dry_run else "")
        changed(ask(path, target, method="DELETE"))


@click.command("drains")
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
@where_options
def drains(as_json: bool, socket_path: str | None, config_file: str | None) -> None:
    """List drains: phase, owner, when they end by themselves, and what holds them."""
    with told():
        body = ask(socket_of(socket_path, config_file), "/v1/drains")
    if as_json:
        click.echo(json.dumps(body, indent=2, ensure_ascii=False))
        return
    rows = [
        (
            f"{one['scope']} {one['name']}".strip(),
            one["phase"] + (" (forced)" if one["forced"] else ""),
            one["began_at"][:19] + "Z",
            one["owner"],
            "-" if one["expires_in_s"] is None else f"in {span(one['expires_in_s'])}",
            _carries(one),
            one["reason"] or "-",
        )
        for one in body["drains"]
    ]
    colour = wants_colour()
    lines = table(HEADER, rows, colour=colour) or ["there are none"]
    for one in body["drains"]:
        for held in one["held"]:
            where = f"{held['prefix']}{' at ' + held['neighbor'] if held['neighbor'] else ''}"
            lines.append(f"  {where} stays at {held['level']} ({held['hold']}): {held['why']}")
    click.echo("\n".join(lines), color=colour)
