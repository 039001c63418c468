"""`anycastd attack playbook`: what spreads load, what it does now, and a step by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import click

from anycastd.cli.asking import socket_of, told, where_options
from anycastd.cli.client import EX_USAGE, AskError, ask
from anycastd.cli.groups import Group
from anycastd.cli.render import span, table, wants_colour

Json = dict[str, Any]
HEADER = ("PLAYBOOK", "PREFIX", "STEPS", "DOES", "DETAIL")


@click.group("playbook", cls=Group)
def playbook() -> None:
    """Steps that spread load: standbys that join, neighbors that get less, communities, longer paths."""


@playbook.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
@where_options
def listing(as_json: bool, socket_path: str | None, config_file: str | None) -> None:
    """List playbooks, what each does for which prefix, and how far this POP is as a standby."""
    with told():
        body = ask(socket_of(socket_path, config_file), "/v1/playbooks")
    colour = wants_colour()
    text = json.dumps(body, indent=2, ensure_ascii=False) if as_json else "\n".join(list_lines(body, colour=colour))
    click.echo(text, color=colour)


@playbook.command("show")
@click.argument("name")
@where_options
def show(name: str, socket_path: str | None, config_file: str | None) -> None:
    """Show the conditions and steps of NAME."""
    with told():
        body = ask(socket_of(socket_path, config_file), "/v1/playbooks")
        found = next((one for one in body["playbooks"] if one["name"] == name), None)
        if found is None:
            known = ", ".join(one["name"] for one in body["playbooks"]) or "none"
            message = f"no playbook is called {name!r}; known: {known}"
            raise AskError(message, EX_USAGE)
    click.echo("\n".join(show_lines(found)))


@playbook.command("run")
@click.argument("name")
@click.option("--prefix", help="Of this prefix only.")
@click.option("--dry-run", is_flag=True, help="Say what each step would send, and the forecast; change nothing.")
@where_options
def run(name: str, prefix: str | None, dry_run: bool, socket_path: str | None, config_file: str | None) -> None:
    """Take the next step of NAME: the one that it proposes, or by hand. It is undone when it is calm."""
    query = "&".join(
        [*([f"prefix={quote(prefix, safe='')}"] if prefix else []), *(["dry_run=true"] if dry_run else [])]
    )
    _order(name, query, "POST", socket_path, config_file)


@playbook.command("stop")
@click.argument("name")
@click.option("--prefix", help="Of this prefix only.")
@where_options
def stop(name: str, prefix: str | None, socket_path: str | None, config_file: str | None) -> None:
    """Undo the steps of NAME in stages."""
    _order(name, f"prefix={quote(prefix, safe='')}" if prefix else "", "DELETE", socket_path, config_file)


def _order(name: str, query: str, method: str, socket_path: str | None, config_file: str | None) -> None:
    target = f"/v1/playbooks/{quote(name, safe='')}" + (f"?{query}" if query else "")
    with told():
        body = ask(socket_of(socket_path, config_file), target, method=method)
    click.echo("\n".join(body["changes"]) or "nothing to do")


def list_lines(body: Json, *, colour: bool) -> list[str]:
    """Return what playbooks do now, as lines; also the section of `anycastd attack status`."""
    if not body["playbooks"] and not body["standbys"]:
        return ["there are none (docs/playbooks.md)"]
    lines = [_load(body)]
    rows = [
        (
            one["playbook"],
            one["prefix"],
            ", ".join(f"{step['step']} ({span(step['for_s'])})" for step in one["steps"]) or "-",
            one["doing"],
            one["detail"] or "-",
        )
        for one in body["runs"]
    ]
    lines += table(HEADER, rows, colour=colour) if rows else []
    idle = [one["name"] for one in body["playbooks"] if one["name"] not in {run["playbook"] for run in body["runs"]}]
    if idle:
        lines.append(f"nothing to do: {', '.join(idle)}")
    lines += _standby_lines(body)
    return lines


def _load(body: Json) -> str:
    load, capacity = body["load_bps"], body["capacity_bps"]
    carried = "load not measured" if load is None else f"load {load / 1e6:.1f} Mbit/s"
    of = "capacity not written" if capacity is None else f"of {capacity / 1e6:g} Mbit/s"
    return f"{carried} {of}; mode {body['mode']}"


def _standby_lines(body: Json) -> Iterator[str]:
    for one in body["standbys"]:
        by = f", called by {', '.join(one['called_by'])}" if one["called_by"] else ""
        yield f"standby for {one['prefix']}: {one['stage']} for {span(one['for_s'])}{by}"


def show_lines(one: Json) -> list[str]:
    """Return a playbook as lines."""
    lines = [f"{one['name']}: {one['about']}" if one["about"] else one["name"], f"  file   {one['file']}"]
    lines += [f"  when   {words}" for words in one["when"]]
    lines.append(f"  of     {', '.join(one['prefixes']) or 'every prefix'}")
    for step in one["steps"]:
        looks = ", ".join(span(after_s) for after_s in step["verify_after_s"])
        lines.append(
            f"  step {step['step']} {step['what']} ({step['mode']}); looked at after {looks}: "
            f"{step['falls_percent']} % less, or the next step"
        )
    lines.append(f"  back   a step at a time, the last first, each after {span(one['calm_s'])} of calm")
    return lines
