"""`anycastd decisions`: what was decided and why, also while the daemon is down; made again, and written as a test."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from anycastd.cli.asking import told
from anycastd.cli.client import EX_DATAERR, AskError
from anycastd.cli.follow import followed
from anycastd.cli.groups import Group
from anycastd.cli.journal_lines import decision_lines, gap_line, whole_lines
from anycastd.cli.journal_source import (
    Answer,
    Place,
    PrefixType,
    has_reason,
    page_options,
    reason_of,
    source_options,
    tell_source,
)
from anycastd.cli.render import wants_colour

EX_CANTCREAT = 73
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("decisions", cls=Group, invoke_without_command=True)
@click.option("--prefix", type=PrefixType(), help="Only of this prefix.")
@click.option("--reason", metavar="WORD", help="Only with this reason or hold (docs/reasons.md).")
@page_options
@click.option("--follow", is_flag=True, help="Go on with new ones as they are made; needs the daemon.")
@_json
@source_options
@click.pass_context
def decisions(
    ctx: click.Context,
    prefix: str | None,
    reason: str | None,
    since: str | None,
    limit: int,
    before: int | None,
    follow: bool,
    as_json: bool,
    socket_path: str | None,
    config_file: str | None,
    file: str | None,
) -> None:
    """Show the last decisions, the newest last: from the daemon, or if it does not answer from its journal.

    Without a verb they are listed; `show`, `replay` and `export` take one by its number.
    """
    if ctx.invoked_subcommand is not None:
        given = [name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
        if given:
            message = f"options of the list do not belong to {ctx.invoked_subcommand!r}; give its own behind it"
            raise click.UsageError(message)
        return
    if follow and (file is not None or before is not None):
        message = "--follow asks the daemon for what is new; it goes with neither --file nor --before"
        raise click.UsageError(message)
    reason = reason_of(reason, "decision")
    query = {"prefix": prefix, "reason": reason, "since": since, "limit": limit, "next_token": before}
    with told():
        place = Place.of(socket_path, config_file, file)
        answer = place.entries("decisions", query)
        tell_source(answer)
        if as_json and not follow:
            click.echo(json.dumps({"source": answer.source, **answer.body}, indent=2, ensure_ascii=False))
            return
        for one in reversed(answer.body["decisions"]):
            _print(one, as_json)
        if not answer.body["decisions"] and not follow:
            click.echo("there are none", err=True)
        if follow:
            _follow(place, answer, query, as_json)


def _print(one: dict[str, Any], as_json: bool) -> None:
    colour = wants_colour()
    lines = [json.dumps(one, ensure_ascii=False)] if as_json else decision_lines(one, colour=colour)
    click.echo("\n".join(lines), color=colour)


def _follow(place: Place, answer: Answer, query: dict[str, Any], as_json: bool) -> None:
    """Print new decisions as they are made."""
    known = answer.body["decisions"]
    for name, data in followed(place.socket, "decision", known[0]["number"] if known else None):
        if name == "gap":
            click.echo(gap_line(data), err=True)
            continue
        one = {**data, "prefix": data["subject"], "level": data["after"], "before": data["before"] or None}
        if query["prefix"] in (None, one["prefix"]) and has_reason(one, query["reason"]):
            kept = ("number", "at", "prefix", "before", "level", "reason", "hold", "detail")
            _print({key: one[key] for key in kept}, as_json)


@decisions.command("show")
@click.argument("number", type=click.IntRange(min=1))
@_json
@source_options
def show(number: int, as_json: bool, socket_path: str | None, config_file: str | None, file: str | None) -> None:
    """Show decision NUMBER with the rules that spoke, the facts and the memory."""
    with told():
        answer = Place.of(socket_path, config_file, file).decision(number)
    tell_source(answer)
    colour = wants_colour()
    lines = (
        [json.dumps(answer.body, indent=2, ensure_ascii=False)] if as_json else whole_lines(answer.body, colour=colour)
    )
    click.echo("\n".join(lines), color=colour)


@decisions.command("replay")
@click.argument("what", metavar="NUMBER|FILE")
@source_options
def replay(what: str, socket_path: str | None, config_file: str | None, file: str | None) -> None:
    """Decide NUMBER (or an exported FILE) again by the rules of this release; exit 65 if it comes out otherwise."""
    # here, not above: listing needs no policy
    from anycastd.policy.snapshot import decode, differences
    from anycastd.policy.snapshot import replay as again

    with told():
        body = (
            _case(what) if not what.isdecimal() else Place.of(socket_path, config_file, file).decision(int(what)).body
        )
        try:
            snapshot = decode(body)
        except ValueError as error:
            message = f"{what}: this release cannot read it: {error}"
            raise AskError(message, EX_DATAERR) from error
    now = again(snapshot)
    found = differences(snapshot.decision, now)
    hold = f", held by {now.hold.value}" if now.hold else ""
    click.echo(f"{now.prefix}: {now.level.name} ({now.reason.value}{hold}): {'different' if found else 'the same'}")
    for line in found:
        click.echo(f"  {line}")
    sys.exit(EX_DATAERR if found else os.EX_OK)


def _case(path: str) -> object:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"{path} is neither a number nor a file of a decision: {error}"
        raise AskError(message, EX_DATAERR) from error


@decisions.command("export")
@click.argument("number", type=click.IntRange(min=1))
@click.option("-o", "--output", metavar="FILE", help="Where to; - is stdout [decision-NUMBER.json].")
@source_options
def export(number: int, output: str | None, socket_path: str | None, config_file: str | None, file: str | None) -> None:
    """Write decision NUMBER as a test case: put it into tests/replays/, and a test decides it again."""
    with told():
        body = Place.of(socket_path, config_file, file).decision(number).body
        text = json.dumps(body, indent=2, ensure_ascii=False) + "\n"
        if output == "-":
            click.echo(text, nl=False)
            return
        path = Path(output or f"decision-{number}.json")
        try:
            with path.open("x", encoding="utf-8") as new:
                try:
                    new.write(text)
                    new.flush()
                except OSError:
                    path.unlink(missing_ok=True)
                    raise
        except OSError as error:
            message = f"{path} cannot be written: {error.strerror}"
            raise AskError(message, EX_CANTCREAT) from error
    click.echo(f"written to {path}")
