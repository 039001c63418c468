"""`anycastd gateway`: what a region's gateway needs for the way back (docs/gateway.md)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from anycastd.cli.groups import Group
from anycastd.errors import ActuatorTransient, ConfigError
from anycastd.gateway.apply import Applier, Outcome, remove
from anycastd.gateway.load import load
from anycastd.gateway.render import ip_lines, nft_script, page
from anycastd.gateway.spec import Gateway
from anycastd.gateway.watch import Watch

CONFIG = click.option(
    "-c",
    "--config",
    "path",
    metavar="FILE",
    default="/etc/anycastd/gateway.yaml",
    show_default=True,
    help="Configuration file.",
)


@click.group("gateway", cls=Group)
def gateway() -> None:
    """What a region's gateway needs, so that answers find their way back."""


@gateway.command("render")
@CONFIG
@click.option("--part", type=click.Choice(("all", "nft", "ip4", "ip6")), default="all", show_default=True,
              help="For `nft -f -`, `ip -4 -batch -` or `ip -6 -batch -`.")  # fmt: skip
def render(path: str, part: str) -> None:
    """Print what `apply` does, commented; nothing is changed."""
    found = _loaded(path)
    if part == "all":
        click.echo(page(found))
    elif part == "nft":
        click.echo(nft_script(found), nl=False)
    else:
        click.echo("\n".join(ip_lines(found, int(part[2:]))))


@gateway.command("apply")
@CONFIG
@click.option("--watch", is_flag=True, help="Stay, and keep it so; SIGHUP reads the file again, SIGTERM ends.")
@click.option("--ready", "ready", type=click.Path(), help="With --watch: make this file when all is first in place.")
def apply(path: str, watch: bool, ready: str | None) -> None:
    """Make the kernel as the file says; what is not ours is not touched. Exit 75 if something is not in place."""
    found = _loaded(path)
    said = _Said(ready)
    if watch:
        Watch(found, reload=lambda: _reloaded(path), told=said.tell).run()
        sys.exit(os.EX_OK)
    outcome = _tried(Applier(found))
    said.tell(outcome)
    sys.exit(os.EX_TEMPFAIL if outcome.problems else os.EX_OK)


@gateway.command("remove")
@CONFIG
def remove_all(path: str) -> None:
    """Remove everything of ours from the kernel, and nothing else."""
    protocol = _loaded(path).protocol if Path(path).exists() else Gateway(tunnels=()).protocol
    try:
        outcome = remove(protocol)
    except ActuatorTransient as error:
        outcome = Outcome(problems=(str(error),))
    _Said(None).tell(outcome)
    sys.exit(os.EX_TEMPFAIL if outcome.problems else os.EX_OK)


def _tried(applier: Applier) -> Outcome:
    try:
        return applier.apply()
    except ActuatorTransient as error:
        return Outcome(problems=(str(error),))


def _loaded(path: str) -> Gateway:
    try:
        return load(path)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        sys.exit(os.EX_CONFIG)


def _reloaded(path: str) -> Gateway | None:
    """Return the file as it is now; with a mistake in it the one before stays."""
    try:
        return load(path)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(f"refused, the former file stays: {problem}", err=True)
        return None


class _Said:
    """Tells what changed since the last time, so that a watch does not repeat itself."""

    def __init__(self, ready: str | None) -> None:
        self._before: tuple[str, ...] = ()
        self._ready = ready
        self._first = True

    def tell(self, outcome: Outcome) -> None:
        lines = (*outcome.problems, *(f"warning: {one}" for one in outcome.warnings))
        for line in lines:
            if line not in self._before:
                click.echo(line, err=True)
        if outcome.changed or self._first or (self._before and not lines):
            left = f", {len(outcome.problems)} not in place" if outcome.problems else ", all in place"
            click.echo(f"{outcome.changed} changed{left}")
        self._before, self._first = lines, False
        if self._ready is not None and not outcome.problems:
            Path(self._ready).touch()
            self._ready = None
