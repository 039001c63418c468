"""`anycastd init`: write a first configuration from what the machine has."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import click

from anycastd.config.load import Examined, examine
from anycastd.doctor.asking import Asking
from anycastd.doctor.first_file import BLANK, first_file
from anycastd.doctor.inventory import take

MODE = 0o640


@click.command("init")
@click.option(
    "-o", "--output", "output", metavar="FILE", help="Write here instead of to standard output; never over a file."
)
@click.option("--ask", is_flag=True, help="Ask on the terminal for what cannot be found out.")
def init(output: str | None, ask: bool) -> None:
    """Write a first configuration from addresses, routes, tunnels and the files of FRR or BIRD, every line explained.

    What cannot be known is <FILL IN>, and told with its line; nothing of the machine is changed.
    """
    asking = Asking()
    text = first_file(take(asking))
    for trouble in asking.unanswered:
        click.echo(f"could not look: {trouble}", err=True)
    if ask:
        if not sys.stdin.isatty():
            message = "--ask needs a terminal"
            raise click.UsageError(message)
        text = filled(text)
    if output is None:
        click.echo(text, nl=False)
        examined = examined_as(text)
    else:
        write(Path(output), text)
        examined = examine(output)
    tell(examined, output)


def filled(text: str) -> str:
    """Ask for each blank, with the line's own explanation."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if BLANK in line and not line.lstrip().startswith("#"):
            said, _, why = line.partition("#")
            what = said.strip().removesuffix(": {}").replace(BLANK, "?").strip("'\"")
            answer = click.prompt(f"{what} ({why.strip()})", default=BLANK, err=True)
            lines[number] = line.replace(BLANK, f'"{answer}"' if ":" in answer else answer, 1)
    return "\n".join(lines)


def write(path: Path, text: str) -> None:
    """Make a new file."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    except FileExistsError:
        click.echo(f"anycastd: {path} is there already and stays as it is; -o names another", err=True)
        sys.exit(os.EX_CANTCREAT)
    except OSError as error:
        click.echo(f"anycastd: {path}: {error.strerror}", err=True)
        sys.exit(os.EX_CANTCREAT)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            # the directory is the daemon's group's (tmpfiles.d), and it must be able to read the file
            group = path.absolute().parent.stat().st_gid
            if os.geteuid() == 0:
                os.fchown(descriptor, -1, group)
            file.write(text)
    except OSError as error:
        # half a file would be in the way of the next try
        path.unlink(missing_ok=True)
        click.echo(f"anycastd: {path}: {error.strerror}", err=True)
        sys.exit(os.EX_CANTCREAT)


def examined_as(text: str) -> Examined:
    """Return what `check` says of a text that is in no file."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "anycastd.yaml"
        path.write_text(text, encoding="utf-8")
        return examine(str(path))


def tell(examined: Examined, output: str | None) -> None:
    """Say what is left to do, with lines."""
    where = output or "anycastd.yaml"
    for problem in examined.problems:
        click.echo(f"{where}:{problem.line}:{problem.column}: {problem.path}: {problem.message}", err=True)
    count = len(examined.problems)
    if count:
        click.echo(f"{count} to fill in, then: anycastd check -c {where}", err=True)
    else:
        click.echo(f"nothing is left to fill in: anycastd check -c {where}; anycastd doctor -c {where}", err=True)
