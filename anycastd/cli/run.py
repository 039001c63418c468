"""`anycastd run`: the daemon, in the foreground."""

from __future__ import annotations

import sys

import click

from anycastd.cli.config_option import config_option
from anycastd.runtime.main import main


@click.command("run")
@config_option
def run(path: str) -> None:
    """Run the daemon in the foreground until SIGTERM (leave), SIGUSR2 (hand over) or SIGINT (leave)."""
    sys.exit(main(path))
