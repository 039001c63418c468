"""`anycastd drain`, `undrain` and `drains`: take a POP, neighbor, region, tunnel or backend out of use, and back."""

from __future__ import annotations

import json
import sys
import time
from typing import Any
from urllib.parse import quote

import click

from anycastd.cli.asking import socket_of, told, where_options
from anycastd.cli.client import EX_TEMPFAIL, EX_USAGE, AskError, ask
from anycastd.cli.lasting import body_of, lasting_options, target_of
from anycastd.cli.ordering import changed
from anycastd.cli.render import span, table, wants_colour
from anycastd.cli.sure import sure, yes_option

SCOPES = ("pop", "neighbor", "region", "tunnel", "backend")
LOOK_EACH_S = 0.5
HEADER = ("DRAIN", "PHASE", "SINCE", "OWNER", "ENDS", "CARRIES", "WHY")
_SCOPE = click.Choice(SCOPES)
QUESTION = "drain the whole POP? it is depreferenced now, and leaves as far as others confirm that they stay"


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
@yes_option
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
    yes: bool,
    socket_path: str | None,
    config_file: str | None,
) -> None:
    """Take NAME out of use: a POP or neighbor leaves phase by phase, elsewhere new connections go to the others.

    The POP is asked for on a terminal, unless --yes says so.
    """
    body = {"scope": scope, "name": _checked(scope, name), "after": after}
    body |= body_of(reason, for_, until, force, owner)
    with told():
        if scope == "pop" and not dry_run:
            sure(QUESTION, yes=yes)
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


def _meant(words: tuple[str, ...]) -> tuple[str | None, str]:
    """Return the scope (None: any) and the name of a drain."""
    if len(words) > 2 or (len(words) == 2 and words[0] not in SCOPES):
        message = f"give a name, with what it is before it where that is not clear: {', '.join(SCOPES)}"
        raise click.UsageError(message)
    if len(words) == 1 and words[0] not in SCOPES:
        return None, words[0]
    return words[0], _checked(words[0], words[1] if len(words) == 2 else None)


@click.command("undrain")
@click.argument("words", metavar="[pop|neighbor|region|tunnel|backend] [NAME]", nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Say what would change; change nothing.")
@where_options
def undrain(words: tuple[str, ...], dry_run: bool, socket_path: str | None, config_file: str | None) -> None:
    """Put NAME into use again; announcements come back by slow start. What it is may be left out where one is drained.

    The POP is `pop`, without a name.
    """
    scope, name = _meant(words)
    with told():
        path = socket_of(socket_path, config_file)
        drains = ask(path, "/v1/drains")["drains"]
        found = [one for one in drains if one["name"] == name and scope in (None, one["scope"])]
        if len(found) > 1:
            listed = " or ".join(f"undrain {one['scope']} {one['name']}" for one in found)
            message = f"{len(found)} drains are of {name!r}: say {listed}"
            raise AskError(message, EX_USAGE)
        if not found:
            click.echo(f"nothing changed: {' '.join(words)} is not drained")
            return
        mine = found[0]
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
