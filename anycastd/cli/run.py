"""`anycastd run`: the daemon, in the foreground."""

from __future__ import annotations

import sys

import click

from anycastd.runtime.main import main


@click.command("run")
@click.option(
    "-c",
    "--config",
    "path",
    metavar="FILE",
    default="/etc/anycastd/anycastd.yaml",
    show_default=True,
    help="Configuration file.",
)
def run(path: str) -> None:
    """Run the daemon in the foreground until SIGTERM (leave), SIGUSR2 (hand over) or SIGINT (leave)."""
    sys.exit(main(path))
