"""`anycastd status`: what is going on, on one page."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import click

from anycastd.cli.asking import socket_of, told, where_options
from anycastd.cli.client import EX_USAGE, AskError, ask
from anycastd.cli.eip_render import status_eip_lines
from anycastd.cli.render import status_lines, wants_colour

WATCH_EACH_S = 1.0
LOOKED_AT = 200
"""EIPs from which the busiest are shown; a busy one beyond is in `anycastd eip list`."""
CLEAR = "\033[H\033[2J"


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
@click.option("--watch", is_flag=True, help="Show again each second until interrupted.")
@where_options
def status(as_json: bool, watch: bool, socket_path: str | None, config_file: str | None) -> None:
    """Show prefixes, tunnels, EIPs, neighbors and alarms; exits 0 when the daemon answers, 69 when it does not."""
    if as_json and watch:
        message = "--watch is for people; ask --json again as often as wanted"
        raise click.UsageError(message)
    with told():
        path = socket_of(socket_path, config_file)
        if watch:
            _watch(path)
            return
        if as_json:
            click.echo(json.dumps(ask(path, "/v1/status"), indent=2, ensure_ascii=False))
            return
        colour = wants_colour()
        click.echo(_page(path, colour=colour), color=colour)


def _page(path: str, *, colour: bool) -> str:
    status = ask(path, "/v1/status")
    return "\n".join(status_lines(status, colour=colour, eips=_eips(path, colour=colour)))


def _eips(path: str, *, colour: bool) -> list[str]:
    try:
        page, traffic = ask(path, f"/v1/eips?limit={LOOKED_AT}"), ask(path, "/v1/traffic")
    except AskError as error:
        # a running daemon may be older than this command, and know of no EIPs
        if error.exit_code == EX_USAGE:
            return []
        raise
    return status_eip_lines(page, traffic, colour=colour)


def _watch(path: str) -> None:
    """Show the page each second; a daemon that is away is told and waited for."""
    colour = wants_colour()
    while True:
        try:
            page = _page(path, colour=colour)
        except AskError as error:
            page = f"anycastd: {error}"
        moment = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        click.echo(f"{CLEAR if colour else ''}{moment}\n{page}", color=colour)
        time.sleep(WATCH_EACH_S)
