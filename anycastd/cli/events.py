"""`anycastd events`: decisions and changes of state, as they were and as they happen."""

from __future__ import annotations

import json
from typing import Any

import click

from anycastd.cli.asking import told
from anycastd.cli.follow import followed
from anycastd.cli.journal_lines import entry_lines, gap_line
from anycastd.cli.journal_source import Place, has_reason, page_options, reason_of, source_options, tell_source
from anycastd.cli.render import wants_colour
from anycastd.model.journal import EntryKind


class Kinds(click.ParamType[str]):
    """Kinds of entries with commas between them."""

    name = "kinds"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the words, or say which is none."""
        known = [kind.value for kind in EntryKind]
        for word in value.split(","):
            if word not in known:
                self.fail(f"{word!r} is not one of {', '.join(known)}", param, ctx)
        return value


@click.command("events")
@click.option("--types", type=Kinds(), metavar="KIND,...", help="Only these kinds (docs/reasons.md).")
@click.option("--subject", metavar="NAME", help="Only of this prefix, check, tunnel, neighbor, EIP ...")
@click.option("--reason", metavar="WORD", help="Only with this reason or hold (docs/reasons.md).")
@page_options
@click.option("--follow", is_flag=True, help="Go on with new ones as they happen; needs the daemon.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --follow one object a line.")
@source_options
def events(
    types: str | None,
    subject: str | None,
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
    """Show what happened, the newest last: from the daemon, or if it does not answer from its journal."""
    if follow and (file is not None or before is not None):
        message = "--follow asks the daemon for what is new; it goes with neither --file nor --before"
        raise click.UsageError(message)
    query = {
        "types": types, "subject": subject, "reason": reason_of(reason, types), "since": since, "limit": limit,
        "next_token": before,
    }  # fmt: skip
    with told():
        place = Place.of(socket_path, config_file, file)
        answer = place.entries("journal", query)
        tell_source(answer)
        if as_json and not follow:
            click.echo(json.dumps({"source": answer.source, **answer.body}, indent=2, ensure_ascii=False))
            return
        known = answer.body["entries"]
        for one in reversed(known):
            _print(one, as_json)
        if not known and not follow:
            click.echo("there are none", err=True)
        if follow:
            _follow(place, known[0]["number"] if known else None, query, as_json)


def _follow(place: Place, after: int | None, query: dict[str, Any], as_json: bool) -> None:
    for name, one in followed(place.socket, query["types"], after):
        if name == "gap" and "kind" not in one:
            click.echo(gap_line(one), err=True)
        elif query["subject"] in (None, one["subject"]) and has_reason(one, query["reason"]):
            _print(one, as_json)


def _print(one: dict[str, Any], as_json: bool) -> None:
    colour = wants_colour()
    lines = [json.dumps(one, ensure_ascii=False)] if as_json else entry_lines(one, colour=colour)
    click.echo("\n".join(lines), color=colour)
