"""Ask before what takes a whole POP away."""

from __future__ import annotations

import sys

import click

from anycastd.cli.client import EX_USAGE, AskError

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def sure(question: str, *, yes: bool, unasked: str = "") -> None:
    """Ask on a terminal; click.Abort unless it is answered with yes. `--yes` has answered before.

    Where nobody can be asked, a script means what it says, unless `unasked` tells why it must say --yes: AskError.
    """
    if yes:
        return
    if sys.stdin.isatty():
        click.confirm(question, abort=True)
    elif unasked:
        raise AskError(unasked, EX_USAGE)
