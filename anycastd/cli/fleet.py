"""`anycastd fleet`: the fleet's store and POPs; its contents to a file and back, accepted, mended, switched."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from anycastd.cli.asking import socket_of, told, where_options
from anycastd.cli.client import EX_CONFIG, EX_UNAVAILABLE, AskError, ask
from anycastd.cli.groups import Group
from anycastd.cli.ordering import changed
from anycastd.cli.render import Row, span, table, wants_colour
from anycastd.cli.whole_file import put

LONG_S = 60.0
AT_ONCE, CHARACTERS = 100, 40_000
"""So many keys go in one request, and so many characters of theirs."""
HEADER = (
    "POP",
    "STATE",
    "SAID",
    "PREFIXES",
    "REGIONS",
    "EIPS",
    "IN",
    "OUT",
    "ROOM",
    "ATTACK",
    "SPREADS",
    "VERSION",
    "DRAINED",
)


@click.group("fleet", cls=Group)
def fleet() -> None:
    """Show the fleet's store and POPs; save, restore, accept or switch what the store holds."""


@fleet.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
@where_options
def status(as_json: bool, socket_path: str | None, config_file: str | None) -> None:
    """Show the store as this POP sees it, and every POP; exit 69 if the store cannot be used."""
    with told():
        body = ask(socket_of(socket_path, config_file), "/v1/fleet")
    if as_json:
        click.echo(json.dumps(body, indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join((*_of_store(body), *_of_pops(body["pops"]))), color=wants_colour())
    if body["store"]["trouble"]:
        sys.exit(EX_UNAVAILABLE)


def _of_store(body: dict[str, Any]) -> Iterator[str]:
    store = body["store"]
    where = store["member"] or ", ".join(store["endpoints"])
    yield f"store     {store['kind']} {where}  cluster {store['cluster'] or '-'}  prefix {store['prefix']}"
    yield f"applied   revision {store['applied_revision']}, {store['bound']} EIPs bound"
    if store["held"]:
        yield f"HELD      {store['held']}"
    elif store["trouble"]:
        yield f"TROUBLE   {store['trouble']}; what is bound and announced stays as it is"
    if not body["asked"]:
        yield "POPs as they were when the store last answered:"


def _of_pops(pops: Iterable[dict[str, Any]]) -> list[str]:
    rows: list[Row] = [_row(one) for one in pops]
    return table(HEADER, rows, colour=wants_colour()) or ["no POP is known"]


def _row(one: dict[str, Any]) -> Row:
    if not one["present"]:
        prefixes = "-" if one["prefixes"] is None else str(one["prefixes"])
        return (one["pop"], "not seen", "-", prefixes, *("-",) * 8, _drained(one))
    return (
        one["pop"],
        one["state"],
        f"{span(one['age_s'])} ago",
        _counts(one["levels"]) or "-",
        _counts(one["regions"]) or "-",
        f"{one['bound']}/{one['eips']}",
        f"{one['in_bps'] / 1e6:.1f} Mbit/s",
        f"{one['out_bps'] / 1e6:.1f} Mbit/s",
        "-" if one["room_bps"] is None else f"{one['room_bps'] / 1e6:.0f} of {one['capacity_bps'] / 1e6:.0f} Mbit/s",
        _attack(one),
        _spreads(one),
        one["version"],
        _drained(one),
    )


def _attack(one: dict[str, Any]) -> str:
    return f"{one['attack'] or '-'}" + (f", {one['attacked_eips']} EIPs" if one["attacked_eips"] else "")


def _spreads(one: dict[str, Any]) -> str:
    """Return what it does about its load: for how many prefixes."""
    words = [f"{one['steps']} steps"] if one["steps"] else []
    for key, what in (("calls", "calls for"), ("sheds", "sheds"), ("standby", "standby for")):
        words += [f"{what} {len(one[key])}"] if one[key] else []
    return ", ".join(words) or "-"


def _drained(one: dict[str, Any]) -> str:
    drained = one["drained"]
    if drained is None:
        return "-"
    forced = ", forced" if drained["forced"] else ""
    return f"since {drained['since'][:19]}Z by {drained['owner']}{forced}: {drained['reason'] or '-'}"


def _counts(counts: dict[str, int]) -> str:
    return " ".join(f"{count} {name}" for name, count in sorted(counts.items()))


@fleet.command("pops")
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
@where_options
def pops(as_json: bool, socket_path: str | None, config_file: str | None) -> None:
    """List every POP as it says it is now."""
    with told():
        body = ask(socket_of(socket_path, config_file), "/v1/fleet/pops")
    if as_json:
        click.echo(json.dumps(body, indent=2, ensure_ascii=False))
        return
    click.echo("\n".join(_of_pops(body["pops"])), color=wants_colour())


@fleet.command("snapshot")
@click.option("-o", "--output", metavar="FILE", help="Write to FILE instead of standard output.")
@click.option("--here", is_flag=True, help="What this POP has applied, whether or not the store answers.")
@where_options
def snapshot(output: str | None, here: bool, socket_path: str | None, config_file: str | None) -> None:
    """Save every EIP and dial of the store."""
    with told():
        target = f"/v1/fleet/snapshot{'?here=true' if here else ''}"
        body = ask(socket_of(socket_path, config_file), target, timeout_s=LONG_S)
        text = json.dumps(body, indent=1, ensure_ascii=False) + "\n"
        if output is None:
            click.echo(text, nl=False)
            return
        try:
            put(Path(output), text)
        except OSError as error:
            message = f"{output}: {error.strerror or error}"
            raise AskError(message, EX_CONFIG) from error
    click.echo(f"{output}: {len(body['items'])} keys of cluster {body['cluster']} at revision {body['revision']}")


@fleet.command("restore")
@click.argument("file", required=False)
@click.option("--here", is_flag=True, help="What this POP has applied, instead of a file.")
@click.option("--dry-run", is_flag=True, help="Say how much would change; change nothing.")
@where_options
def restore(file: str | None, here: bool, dry_run: bool, socket_path: str | None, config_file: str | None) -> None:
    """Have the EIPs and dials of FILE (or of this POP) in the store; what is there besides stays.

    With this a store that lost its contents is filled again, also while they are held for that.
    """
    if (file is None) is not here:
        message = "give either a file or --here"
        raise click.UsageError(message)
    with told():
        path = socket_of(socket_path, config_file)
        target = f"/v1/fleet/restore{'?dry_run=true' if dry_run else ''}"
        bodies = [{"here": True}] if file is None else list(_bodies(_items(file)))
        totals: dict[str, int] = {}
        for body in bodies:
            answer = ask(path, target, method="POST", body=body, timeout_s=LONG_S)
            for words in answer["changes"]:
                count, _, what = words.partition(" ")
                totals[what] = totals.get(what, 0) + int(count)
    changed({"dry_run": dry_run, "changes": [f"{count} {what}" for what, count in totals.items()]})
    if not totals and not dry_run:
        click.echo("nothing changed: the store has all of it")


def _items(file: str) -> dict[str, str]:
    """Return what `snapshot` wrote."""
    try:
        items = json.loads(Path(file).read_text(encoding="utf-8"))["items"]
        if not (isinstance(items, dict) and items and all(isinstance(text, str) for text in items.values())):
            message = f"{file} holds no EIPs or dials"
            raise AskError(message, EX_CONFIG)
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{file} is not what `anycastd fleet snapshot` writes: {error}"
        raise AskError(message, EX_CONFIG) from error
    return items


def _bodies(items: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yield requests that are small enough."""
    part: dict[str, str] = {}
    size = 0
    for key, text in items.items():
        if part and (len(part) >= AT_ONCE or size + len(key) + len(text) > CHARACTERS):
            yield {"items": part, "last": False}
            part, size = {}, 0
        part[key] = text
        size += len(key) + len(text)
    yield {"items": part, "last": True}


@fleet.command("accept")
@where_options
def accept(socket_path: str | None, config_file: str | None) -> None:
    """Apply what the store holds although it looks lost or foreign: EIPs that are not in it are unbound here."""
    with told():
        answer = ask(socket_of(socket_path, config_file), "/v1/fleet/accept", method="POST")
    changed(answer)
    if not answer["changes"]:
        click.echo("nothing changed: nothing is held")


@fleet.command("release")
@click.argument("pop")
@where_options
def release(pop: str, socket_path: str | None, config_file: str | None) -> None:
    """Count POP as drained no longer: one that will not do so itself."""
    _delete(f"/v1/fleet/drains/{quote(pop, safe='')}", f"{pop} is not drained", socket_path, config_file)


@fleet.command("forget")
@click.argument("pop")
@where_options
def forget(pop: str, socket_path: str | None, config_file: str | None) -> None:
    """Take POP, which is gone for good, out of the fleet: it does not count any more."""
    _delete(f"/v1/fleet/pops/{quote(pop, safe='')}", f"no POP is called {pop}", socket_path, config_file)


def _delete(target: str, nothing: str, socket_path: str | None, config_file: str | None) -> None:
    with told():
        answer = ask(socket_of(socket_path, config_file), target, method="DELETE")
    changed(answer)
    if not answer["changes"]:
        click.echo(f"nothing changed: {nothing}")


@fleet.command("switch")
@click.option(
    "-c", "--config", "config_file", metavar="FILE", required=True, help="The configuration with the new store."
)
@click.option("--theirs", is_flag=True, help="Where the fleet's store has another EIP or dial, let it stand.")
@click.option("--dry-run", is_flag=True, help="Say what would be carried; change nothing.")
def switch(config_file: str, theirs: bool, dry_run: bool) -> None:
    """Carry what is stored into the store that FILE names; then restart the daemon with that file.

    To etcd: what the embedded store has that the fleet has not; from then on the embedded store takes no change.
    To the embedded store: what this POP has applied of the fleet's.
    """
    # here, not above: it needs the configuration, SQLite and an HTTP client
    from anycastd.cli.fleet_switch import switched

    with told():
        for line in switched(config_file, theirs=theirs, dry_run=dry_run):
            click.echo(line)
