"""`anycastd version`, and the refusal to run beside the other project of that name."""

from __future__ import annotations

import sys
from importlib import metadata

import click

from anycastd import __version__
from anycastd.cli.client import EX_CONFIG

OURS, THEIRS = "anycastd-edge", "anycastd"


def rival_version() -> str | None:
    """Return the version of the other distribution that owns the import name `anycastd`, or None."""
    try:
        return metadata.version(THEIRS)
    except metadata.PackageNotFoundError:
        return None


def refuse_rival() -> None:
    """Exit 78 if the other `anycastd` is installed here: both write the same files, and one runs half of each."""
    if found := rival_version():
        click.echo(
            f"anycastd: the distribution '{THEIRS}' {found} (another project) is installed in the same environment as "
            f"'{OURS}'; both own the package 'anycastd'. Remove both and install one:\n"
            f"  pip uninstall -y {THEIRS} {OURS} && pip install {OURS}",
            err=True,
        )
        sys.exit(EX_CONFIG)


@click.command("version")
def version() -> None:
    """Print the version, and that of the ExaBGP beside it (`bgp.exabgp` may name another)."""
    refuse_rival()
    try:
        speaker = metadata.version("exabgp")
    except metadata.PackageNotFoundError:
        speaker = "not installed here"
    click.echo(f"anycastd {__version__} ({OURS}), ExaBGP {speaker}")
