"""`anycastd lab`: bring labs up and down and look into them (docs/lab.md)."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from anycastd.cli.groups import Group


@click.group("lab", cls=Group)
def lab() -> None:
    """Run networks of namespaces from containerlab files."""


@contextmanager
def _told() -> Iterator[None]:
    """Tell an error of the lab on stderr and exit with its code (sysexits.h)."""
    from anycastd.lab.errors import LabError

    try:
        yield
    except LabError as error:
        for line in str(error).splitlines():
            click.echo(f"anycastd lab: {line}", err=True)
        sys.exit(error.exit_code)


def _leave(number: int, frame: FrameType | None) -> None:
    """Leave by SystemExit, so that a lab that is half up is cleared away."""
    sys.exit(128 + number)


@lab.command()
@click.argument("file", type=click.Path())
@click.option("--timeout", "timeout_s", default=60.0, show_default=True, help="Seconds until all must be healthy.")
def up(file: str, timeout_s: float) -> None:
    """Bring the lab of FILE up; return when every node is healthy."""
    from anycastd.lab import runner

    begin_s = time.monotonic()

    def progress(node: str, what: str) -> None:
        click.echo(f"{time.monotonic() - begin_s:7.2f} s  {node}: {what}", err=True)

    signal.signal(signal.SIGTERM, _leave)
    with _told():
        name = runner.up(file, deadline_s=timeout_s, progress=progress).name
    click.echo(f"{time.monotonic() - begin_s:7.2f} s  lab {name} is up", err=True)


@lab.command()
@click.argument("lab_name", metavar="FILE|NAME")
def down(lab_name: str) -> None:
    """Take a lab down, also one that is broken; nothing to do is no error."""
    from anycastd.lab import runner

    begin_s = time.monotonic()
    with _told():
        name = runner.name_of(lab_name)
        was_there = runner.down(name)
    what = "is down" if was_there else "was not up"
    click.echo(f"{time.monotonic() - begin_s:7.2f} s  lab {name} {what}", err=True)


@lab.command(name="list")
def list_labs() -> None:
    """List the labs of this machine."""
    from anycastd.lab import runner

    with _told():
        for status in runner.list():
            state = "up" if status.is_up and status.alive == status.nodes else "broken"
            click.echo(f"{status.name}\t{state}\t{status.alive}/{status.nodes} nodes\t{status.path}")


@lab.command(name="exec", context_settings={"ignore_unknown_options": True})
@click.argument("lab_name", metavar="FILE|NAME")
@click.argument("node")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_in(lab_name: str, node: str, command: tuple[str, ...]) -> None:
    """Run COMMAND in NODE: anycastd lab exec FILE NODE -- COMMAND ARGUMENT..."""
    from anycastd.lab import runner
    from anycastd.lab.equipment import check_user

    with _told():
        check_user()
        argv, env = runner.Lab(runner.name_of(lab_name)).exec_argv(node, *command)
    # In the place of this process, so that terminal, signals and exit status are the command's own.
    os.execve(argv[0], argv, env | {key: os.environ[key] for key in ("TERM",) if key in os.environ})


@lab.command()
@click.argument("lab_name", metavar="FILE|NAME")
@click.argument("node")
def logs(lab_name: str, node: str) -> None:
    """Print what NODE's cmd said."""
    from anycastd.lab import runner

    with _told():
        click.echo(runner.logs(runner.name_of(lab_name), node), nl=False)
