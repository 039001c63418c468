"""`anycastd attack`: whether traffic is unusual, whose, and what it looks like."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from anycastd.cli.asking import socket_of, told, where_options
from anycastd.cli.client import ask
from anycastd.cli.filters import filter_lines, filters, mitigate, release, standing
from anycastd.cli.groups import Group
from anycastd.cli.playbook import list_lines, playbook
from anycastd.cli.render import Row, span, table, wants_colour

Json = dict[str, Any]
HEADER = ("WHO", "STATE", "SINCE", "IN", "USUAL", "IN", "USUAL", "OPENED", "DROPPED", "WHY")
_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


@click.group("attack", cls=Group)
def attack() -> None:
    """Attacks: what is seen of them, and what is done about them."""


attack.add_command(playbook)
for _verb in (mitigate, release, filters):
    attack.add_command(_verb)


@attack.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
@where_options
def status(as_json: bool, socket_path: str | None, config_file: str | None) -> None:
    """Show the POP and every EIP whose traffic is not NORMAL: how much, how much is usual, what it looks like."""
    with told():
        path = socket_of(socket_path, config_file)
        body = ask(path, "/v1/attacks")
        spread = {} if as_json else ask(path, "/v1/playbooks")
        filtered = {} if as_json else standing(path)
    if as_json:
        click.echo(json.dumps(body, indent=2, ensure_ascii=False))
        return
    colour = wants_colour()
    lines = status_lines(body, colour=colour)
    if listed := filter_lines(filtered, colour=colour):
        lines += ["", *listed]
    if spread["playbooks"] or spread["standbys"]:
        lines += ["", *list_lines(spread, colour=colour)]
    click.echo("\n".join(lines), color=colour)


def status_lines(body: Json, *, colour: bool) -> list[str]:
    """Return the table, and below it the shape of what is not NORMAL."""
    everyone = [body["pop"], *body["eips"]]
    lines = table(HEADER, [_row(one) for one in everyone], colour=colour, right=frozenset({3, 4, 5, 6, 7, 8}))
    for one in everyone:
        if one["shape"] is not None:
            lines += ["", *_shape_lines(one)]
    if not body.get("detect", True):
        lines += ["nobody looks: attack.detect.enabled is false in the configuration"]
    return lines


def _row(one: Json) -> Row:
    rate, usual = one["rate"], one["usual"]
    lost = 100.0 * rate["dropped_packets"] / rate["packets"] if rate["packets"] else 0.0
    return (
        "POP" if one["subject"] == "pop" else one["subject"],
        one["state"],
        span(one["age_s"]),
        short(rate["packets"], "pps"),
        short(usual["packets"], "pps"),
        short(rate["bits"], "bit/s"),
        short(usual["bits"], "bit/s"),
        "-" if rate["new_connections"] is None else short(rate["new_connections"], "/s"),
        f"{min(lost, 100.0):.0f} %",
        ", ".join(one["reasons"]) or "-",
    )


def short(value: float, unit: str) -> str:
    """Return a rate with three digits."""
    for size, letter in _UNITS:
        if value >= size:
            return f"{value / size:.3g} {letter}{unit}"
    return f"{value:.0f} {unit}"


def _shape_lines(one: Json) -> Iterator[str]:
    shape, who = one["shape"], "the POP" if one["subject"] == "pop" else one["subject"]
    yield f"to {who}, of {shape['sampled']} sampled packets of {shape['mean_bytes']:.0f} bytes on average:"
    for key, title in (
        ("protocols", "protocol"),
        ("ports", "to port"),
        ("source_ports", "from port"),
        ("sources", "from"),
    ):
        if shape[key]:
            listed = ", ".join(f"{share['value']} {share['percent']:.0f} %" for share in shape[key])
            yield f"  {title:<10} {listed}"
    if shape["spoofed"]:
        yield "  sources look random: nearly every packet has another"
