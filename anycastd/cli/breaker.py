"""`anycastd breaker`: show and reset the circuit breaker."""

from __future__ import annotations

import json

import click

from anycastd.cli.asking import socket_of, told, where_options
from anycastd.cli.client import ask
from anycastd.cli.groups import Group


@click.group("breaker", cls=Group)
def breaker() -> None:
    """The circuit breaker: health does not withdraw many prefixes at once (`safety.breaker`)."""


@breaker.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
@where_options
def status(as_json: bool, socket_path: str | None, config_file: str | None) -> None:
    """Say whether it is tripped, and how many prefixes went of how many that may."""
    with told():
        body = ask(socket_of(socket_path, config_file), "/v1/status")["breaker"]
    if as_json:
        click.echo(json.dumps(body, indent=2, ensure_ascii=False))
        return
    counted = f"{body['withdrawals']} of {body['limit']} withdrawals within {body['window_s']:g} s"
    if not body["tripped"]:
        click.echo(f"not tripped: {counted}")
        return
    click.echo(f"tripped since {body['tripped_at']}: {counted}, {body['held']} prefixes are kept on the air")


# its name until 0.1; scripts may say it
breaker.add_command(
    click.Command("show", callback=status.callback, params=status.params, help=status.help, hidden=True)
)


@breaker.command("reset")
@where_options
def reset(socket_path: str | None, config_file: str | None) -> None:
    """Let as many prefixes be withdrawn again as `safety.breaker` allows."""
    with told():
        body = ask(socket_of(socket_path, config_file), "/v1/breaker/reset", method="POST")
    click.echo("reset" if body["was_tripped"] else "nothing changed: it was not tripped")
