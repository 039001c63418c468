"""How the answer to an order is told."""

from __future__ import annotations

from typing import Any

import click


def changed(answer: dict[str, Any]) -> None:
    """Tell what changed, or would."""
    changes = [str(line) for line in answer["changes"]]
    if answer["dry_run"]:
        click.echo("would change:" if changes else "nothing would change")
    for line in changes:
        click.echo(f"  {line}" if answer["dry_run"] else line)
