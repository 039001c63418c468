"""`anycastd region`: list regions and set their traffic dials."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import click

from anycastd.cli.asking import socket_of, told, where_options
from anycastd.cli.client import ask
from anycastd.cli.groups import Group
from anycastd.cli.render import Row, span, table, wants_colour


@click.group("region", cls=Group)
def region() -> None:
    """List regions and set their traffic dials."""


def _rows(regions: Iterable[dict[str, Any]]) -> Iterable[Row]:
    for one in regions:
        dial = f"{one['traffic_dial_percentage']} %"
        if one["traffic_dial_percentage"] != one["configured_percentage"]:
            dial += f" (file: {one['configured_percentage']} %)"
        counts = [f"{one[part]['healthy']}/{one[part]['total']}" for part in ("tunnels", "backends")]
        yield one["region"], one["health"], span(one["age_s"]), dial, *counts


@region.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
@where_options
def list_(as_json: bool, socket_path: str | None, config_file: str | None) -> None:
    """List regions with their health and dials."""
    with told():
        body = ask(socket_of(socket_path, config_file), "/v1/regions")
    if as_json:
        click.echo(json.dumps(body, indent=2, ensure_ascii=False))
        return
    colour = wants_colour()
    header = ("REGION", "USABLE", "SINCE", "DIAL", "TUNNELS", "BACKENDS")
    click.echo("\n".join(table(header, _rows(body["regions"]), colour=colour)), color=colour)


@region.command("dial")
@click.argument("name", metavar="REGION")
@click.argument("percentage", type=click.IntRange(0, 100), required=False)
@click.option("--reset", is_flag=True, help="Go back to what the configuration file says.")
@click.option("--if-generation", type=click.IntRange(min=0), metavar="N", help="Only if the dial is at generation N.")
@click.option("--dry-run", is_flag=True, help="Say what would change; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
@where_options
def dial(
    name: str,
    percentage: int | None,
    reset: bool,
    if_generation: int | None,
    dry_run: bool,
    as_json: bool,
    socket_path: str | None,
    config_file: str | None,
) -> None:
    """Let only PERCENTAGE of the traffic that would go to REGION go there; it outlives the daemon.

    Returns when the dial is stored; the kernel follows at once.
    """
    if (percentage is None) is not reset:
        message = "give either a percentage from 0 to 100, or --reset"
        raise click.UsageError(message)
    target = f"/v1/regions/{quote(name, safe='')}" + ("?dry_run=true" if dry_run else "")
    headers = {} if if_generation is None else {"If-Match": f'"{if_generation}"'}
    with told():
        body = {"traffic_dial_percentage": percentage}
        answer = ask(socket_of(socket_path, config_file), target, method="PATCH", body=body, headers=headers)
    if as_json:
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    changes = [str(line) for line in answer["changes"]]
    if dry_run:
        click.echo("would change:" if changes else "nothing would change")
    for line in changes:
        click.echo(f"  {line}" if dry_run else line)
    if not changes and not dry_run:
        click.echo(f"nothing changed: the dial of {name} is at {answer['traffic_dial_percentage']} %")
