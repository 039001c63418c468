"""`anycastd simulate`: what would happen, computed from a file; nothing is changed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from anycastd.attack.cascade import cascade
from anycastd.attack.forecast import forecast
from anycastd.attack.ladder import with_steps
from anycastd.attack.picture import picture
from anycastd.attack.plan import Plan
from anycastd.cli.asking import socket_of, told, where_options
from anycastd.cli.client import EX_CONFIG, EX_UNAVAILABLE, AskError, ask
from anycastd.cli.groups import Group
from anycastd.cli.render import wants_colour
from anycastd.cli.simulate_render import as_json, lines, size_text
from anycastd.cli.whole_file import put
from anycastd.config.document import parse
from anycastd.config.source import read_text
from anycastd.errors import ConfigError
from anycastd.simulation.attack_file import read
from anycastd.simulation.plan_values import BITS, SOME_PACKETS, Kind


@click.group("simulate", cls=Group)
def simulate() -> None:
    """Say what would happen; nothing is changed."""


@simulate.command("attack")
@click.argument("file", metavar="PLAN")
@click.option("--size", metavar="RATE", help="Another size of the attack, such as 1.2tbit.")
@click.option("--packets", metavar="RATE", help="Another rate of its packets, such as 90mpps.")
@click.option("--playbook", "book", metavar="FILE", help="Take the steps of this playbook instead of the plan's.")
@click.option("--at", "at", metavar="POP", multiple=True, help="Where it runs; default: where there is too much.")
@click.option("--measured", is_flag=True, help="Take usual traffic and catchments from what the POPs carry now.")
@click.option("--svg", "svg", metavar="FILE", help="Draw it as well.")
@click.option("--json", "json_wanted", is_flag=True, help="Print one JSON object.")
@where_options
def attack(
    file: str,
    size: str | None,
    packets: str | None,
    book: str | None,
    at: tuple[str, ...],
    measured: bool,
    svg: str | None,
    json_wanted: bool,
    socket_path: str | None,
    config_file: str | None,
) -> None:
    """Forecast each POP's load and loss under the attack of PLAN: as it is, step by step, and POP by POP withdrawn.

    PLAN is a YAML file of POPs, capacities, catchments and steps: docs/attack-planning.md, etc/attack-plan.yaml.
    """
    other_bps, other_pps = _rate("--size", size, BITS), _rate("--packets", packets, SOME_PACKETS)
    with told():
        usual_bps = _measured(socket_of(socket_path, config_file)) if measured else None
        plan = _read(file, usual_bps)
        if usual_bps is not None and (silent := [name for name in plan.announcing if name not in usual_bps]):
            message = f"the fleet does not say what {', '.join(silent)} carries"
            raise AskError(message, EX_UNAVAILABLE)
    if at and book is None:
        message = "--at says where a playbook runs; name it with --playbook"
        raise click.UsageError(message)
    attack = plan.attack
    pps = attack.pps if packets is None else other_pps
    plan = replace(plan, attack=replace(attack, bps=other_bps or attack.bps, pps=pps))
    plan = with_steps(plan if book is None else _played(plan, book, at))
    found, likely, worst = forecast(plan), cascade(plan), cascade(plan, worst=True)
    if svg is not None:
        with told():
            _write(svg, picture(Path(file).name, size_text(plan), found, likely, worst))
    if json_wanted:
        click.echo(json.dumps(as_json(plan, found, likely, worst), indent=2, ensure_ascii=False))
        return
    click.echo("\n".join(lines(plan, found, likely, worst, colour=wants_colour())), color=wants_colour())


def _rate(option: str, text: str | None, kind: Kind) -> float:
    if text is None:
        return 0.0
    try:
        return float(kind.read(text))
    except ValueError as error:
        message = f"{option}: {error}"
        raise click.UsageError(message) from error


def _read(file: str, usual_bps: dict[str, float] | None) -> Plan:
    with _refused():
        return read(parse(read_text(file), file), usual_bps=usual_bps)


def _played(plan: Plan, book: str, at: tuple[str, ...]) -> Plan:
    """Return the plan with the steps of a playbook."""
    # here, not above: the schema of playbooks takes long to import
    from anycastd.simulation.played import with_playbook

    if unknown := [name for name in at if name not in plan.pops or plan.pops[name].standby]:
        message = f"--at {unknown[0]}: no POP of the plan that announces has this name"
        raise click.UsageError(message)
    with _refused():
        return with_playbook(plan, read_text(book), book, at)


@contextmanager
def _refused() -> Iterator[None]:
    """Tell the mistakes of a file and exit 78."""
    try:
        yield
    except ConfigError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        count = len(error.problems)
        click.echo("1 error" if count == 1 else f"{count} errors", err=True)
        sys.exit(os.EX_CONFIG)


def _measured(where: str) -> dict[str, float]:
    """Return what each POP of the fleet says that it takes in now."""
    pops: list[dict[str, Any]] = ask(where, "/v1/fleet/pops")["pops"]
    return {str(one["pop"]): float(one["in_bps"]) for one in pops if one["present"] and one["in_bps"] is not None}


def _write(path: str, text: str) -> None:
    try:
        put(Path(path), text)
    except OSError as error:
        message = f"{path}: {error.strerror or error}"
        raise AskError(message, EX_CONFIG) from error
