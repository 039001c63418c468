"""`anycastd status`: what is going on, on one page."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import click

from anycastd.cli.asking import socket_of, told, where_options
from anycastd.cli.client import AskError, ask
from anycastd.cli.render import status_lines, wants_colour

WATCH_EACH_S = 1.0
CLEAR = "\033[H\033[2J"


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
@click.option("--watch", is_flag=True, help="Show again each second until interrupted.")
@where_options
def status(as_json: bool, watch: bool, socket_path: str | None, config_file: str | None) -> None:
    """Show prefixes, tunnels, neighbors and alarms; exits 0 when the daemon answers, 69 when it does not."""
    if as_json and watch:
        message = "--watch is for people; ask --json again as often as wanted"
        raise click.UsageError(message)
    with told():
        path = socket_of(socket_path, config_file)
        if watch:
            _watch(path)
            return
        body = ask(path, "/v1/status")
    if as_json:
        click.echo(json.dumps(body, indent=2, ensure_ascii=False))
        return
    colour = wants_colour()
    click.echo("\n".join(status_lines(body, colour=colour)), color=colour)


def _watch(path: str) -> None:
    """Show the page each second; a daemon that is away is told and waited for."""
    colour = wants_colour()
    while True:
        try:
            page = "\n".join(status_lines(ask(path, "/v1/status"), colour=colour))
        except AskError as error:
            page = f"anycastd: {error}"
        moment = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        click.echo(f"{CLEAR if colour else ''}{moment}\n{page}", color=colour)
        time.sleep(WATCH_EACH_S)
