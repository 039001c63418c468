"""Where a verb that reads the configuration itself finds it."""

from __future__ import annotations

import click

config_option = click.option(
    "-c",
    "--config",
    "path",
    metavar="FILE",
    default="/etc/anycastd/anycastd.yaml",
    show_default=True,
    help="Configuration file.",
)
