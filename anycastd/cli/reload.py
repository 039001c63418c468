"""`anycastd reload`: read the configuration again."""

from __future__ import annotations

import click

from anycastd.cli.asking import socket_of, told, where_options
from anycastd.cli.client import ask

RELOAD_WITHIN_S = 60.0


@click.command("reload")
@click.option("--dry-run", is_flag=True, help="Say what would change; change nothing.")
@click.option(
    "--expect-removals",
    type=click.IntRange(min=0),
    metavar="N",
    help="How many prefixes, neighbors, regions, tunnels, backends and EIPs may go (EIPs also: be unbound, blocked; "
    "prefixes also: leave all their neighbors).",
)
@where_options
def reload(dry_run: bool, expect_removals: int | None, socket_path: str | None, config_file: str | None) -> None:
    """Read the configuration again and apply the difference; refused whole (exit 78), the old one stays in force."""
    target = f"/v1/reload?dry_run={'true' if dry_run else 'false'}"
    if expect_removals is not None:
        target += f"&expect_removals={expect_removals}"
    with told():
        body = ask(socket_of(socket_path, config_file), target, method="POST", timeout_s=RELOAD_WITHIN_S)
    changes = [str(change) for change in body["changes"]]
    if not changes:
        click.echo("nothing would change" if dry_run else "nothing changed")
        return
    click.echo("would change:" if dry_run else "changed:")
    for change in changes:
        click.echo(f"  {change}")
