"""`anycastd reload`: read the configuration again."""

from __future__ import annotations

import click

from anycastd.cli.asking import socket_of, told, where_options
from anycastd.cli.client import ask
from anycastd.cli.lasting import duration_s

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
@click.option(
    "--bake", metavar="TIME", help="On trial for so long (60s): taken back by itself if less is announced with it."
)
@click.option("--confirm", is_flag=True, help="Keep the file that is on trial; read nothing.")
@where_options
def reload(
    dry_run: bool,
    expect_removals: int | None,
    bake: str | None,
    confirm: bool,
    socket_path: str | None,
    config_file: str | None,
) -> None:
    """Read the configuration again and apply the difference; refused whole (exit 78), the old one stays in force."""
    if confirm and (dry_run or bake is not None or expect_removals is not None):
        message = "--confirm reads nothing: it goes alone"
        raise click.UsageError(message)
    target = "/v1/reload?confirm=true" if confirm else f"/v1/reload?dry_run={'true' if dry_run else 'false'}"
    if bake is not None:
        target += f"&bake_s={_whole_s(bake)}"
    if expect_removals is not None:
        target += f"&expect_removals={expect_removals}"
    with told():
        body = ask(socket_of(socket_path, config_file), target, method="POST", timeout_s=RELOAD_WITHIN_S)
    if confirm:
        click.echo("confirmed: it stays")
        return
    changes = [str(change) for change in body["changes"]]
    if not changes:
        click.echo("nothing would change" if dry_run else "nothing changed")
        return
    click.echo("would change:" if dry_run else "changed:")
    for change in changes:
        click.echo(f"  {change}")
    if bake is not None and not dry_run:
        click.echo(f"on trial for {bake}; anycastd reload --confirm keeps it")


def _whole_s(text: str) -> int:
    try:
        return max(round(duration_s(text)), 1)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
