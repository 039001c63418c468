"""`anycastd attack mitigate`, `release` and `filters`: blackholes and flow rules, by hand."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import click

from anycastd.cli.asking import socket_of, told, where_options
from anycastd.cli.client import EX_USAGE, AskError, ask
from anycastd.cli.lasting import duration_s, owner
from anycastd.cli.ordering import changed
from anycastd.cli.render import span, table, wants_colour

HEADER = ("ID", "WHAT", "AT", "ENDS", "DROPPED", "OWNER", "WHY")
LISTS = (("/v1/blackholes", "blackholes"), ("/v1/flowspec", "rules"))
_UNITS = {"kbit": 10**3, "mbit": 10**6, "gbit": 10**9}


def rate_bps(text: str) -> int:
    """Return the bits a second of `500kbit`, `10mbit` or `1gbit`; UsageError says what is expected."""
    number, unit = text[:-4], text[-4:]
    if unit not in _UNITS or not (number.isascii() and number.isdigit()):
        message = f"{text!r} is not a rate; write 500kbit, 10mbit or 1gbit"
        raise click.UsageError(message)
    return int(number) * _UNITS[unit]


def _ttl(text: str | None) -> dict[str, float]:
    if text is None:
        return {}
    try:
        return {"ttl_s": duration_s(text)}
    except ValueError as error:
        message = str(error).replace(" or never", "")
        raise click.UsageError(message) from error


def _flags(names: tuple[str, ...]) -> dict[str, list[str]]:
    return {
        "tcp_flags_set": [name for name in names if not name.startswith("!")],
        "tcp_flags_unset": [name[1:] for name in names if name.startswith("!")],
    }


@click.command("mitigate")
@click.argument("eip", metavar="EIP|PREFIX")
@click.option("--apply", "number", type=int, metavar="N", help="Set the proposed rule N.")
@click.option("--drop", is_flag=True, help="Drop the packets that are described.")
@click.option("--limit", metavar="RATE", help="Limit them: 500kbit, 10mbit, 1gbit.")
@click.option("--blackhole", is_flag=True, help="Drop every packet to EIP: it is sacrificed.")
@click.option("--protocol", "protocols", multiple=True, metavar="NAME", help="udp, tcp, icmp, ... or a number.")
@click.option("--port", "ports", multiple=True, metavar="N[-M]", help="Destination ports.")
@click.option("--source-port", "source_ports", multiple=True, metavar="N[-M]", help="Source ports: 53, 123, ...")
@click.option("--source", metavar="PREFIX", help="Where the packets come from.")
@click.option("--length", "lengths", multiple=True, metavar="N[-M]", help="Their length with the IP header.")
@click.option("--flag", "flags", multiple=True, metavar="[!]NAME", help="TCP flags that are on, or (!) off.")
@click.option("--neighbor", "neighbors", multiple=True, metavar="NAME", help="To these only [all that take it].")
@click.option("--ttl", metavar="TIME", help="When it ends by itself: 90s, 30m [as configured].")
@click.option("--reason", metavar="TEXT", default="", help="Why; shown wherever it is.")
@click.option("--owner", "owner_", metavar="NAME", help="Who orders it, where the socket does not tell [the user].")
@click.option("--dry-run", is_flag=True, help="Say what would change; change nothing.")
@where_options
def mitigate(
    eip: str,
    number: int | None,
    drop: bool,
    limit: str | None,
    blackhole: bool,
    dry_run: bool,
    socket_path: str | None,
    config_file: str | None,
    **how: Any,
) -> None:
    """Show the flow rules that would fit the attack on EIP; or drop, limit or blackhole by one of the options."""
    given = [one for one in (number is not None, drop, limit is not None, blackhole) if one]
    if len(given) > 1:
        message = "--apply, --drop, --limit and --blackhole exclude each other"
        raise click.UsageError(message)
    lasting = {"reason": how["reason"], "owner": how["owner_"] or owner(), **_ttl(how["ttl"])}
    lasting["neighbors"] = list(how["neighbors"])
    with told():
        path = socket_of(socket_path, config_file)
        if not given:
            _propose(path, eip)
            return
        if eip.startswith("eip-"):
            eip = ask(path, f"/v1/eips/{quote(eip, safe='')}")["address"]
        body: dict[str, Any]
        if blackhole:
            target, body = "/v1/blackholes", {"address": eip}
        elif number is not None:
            target, body = "/v1/flowspec", _proposed(path, eip, number)
            lasting["reason"] = lasting["reason"] or "proposed for the attack"
        else:
            target, body = "/v1/flowspec", {"match": _match(eip, how), "rate_bps": rate_bps(limit) if limit else 0}
        query = "?dry_run=true" if dry_run else ""
        answer = ask(path, target + query, method="POST", body={**body, **lasting})
        changed(answer)
        if not dry_run:
            click.echo(f"end it with: anycastd attack release {answer['id']}")


def _match(eip: str, how: dict[str, Any]) -> dict[str, Any]:
    return {
        "destination": eip,
        "source": how["source"],
        "protocols": list(how["protocols"]),
        "destination_ports": list(how["ports"]),
        "source_ports": list(how["source_ports"]),
        "lengths": list(how["lengths"]),
        **_flags(how["flags"]),
    }


def _proposals(path: str, eip: str) -> list[dict[str, Any]]:
    """Return the rules that are proposed; AskError if there is no such EIP, which an empty list would not tell."""
    address = ask(path, f"/v1/eips/{quote(eip, safe='')}")["address"]
    found: list[dict[str, Any]] = ask(path, f"/v1/flowspec/proposals?eip={quote(address)}")["proposals"]
    return found


def _propose(path: str, eip: str) -> None:
    found = _proposals(path, eip)
    if not found:
        click.echo(f"nothing is proposed for {eip}: no attack on it is seen, or no rule fits it well enough")
    for number, one in enumerate(found, start=1):
        click.echo(f"{number}. {one['text']}  (about {one['covers_percent']:.0f} % of the packets; {one['why']})")
    if found:
        click.echo(f"set one: anycastd attack mitigate {eip} --apply 1 --ttl 30m --reason ...")


def _proposed(path: str, eip: str, number: int) -> dict[str, Any]:
    found = _proposals(path, eip)
    if not 1 <= number <= len(found):
        message = f"there is no proposal {number} for {eip}; there are {len(found)}"
        raise AskError(message, EX_USAGE)
    return {"match": found[number - 1]["match"], "rate_bps": found[number - 1]["rate_bps"]}


def _all(path: str) -> list[tuple[str, dict[str, Any]]]:
    return [(list_, one) for list_, key in LISTS for one in ask(path, list_)[key]]


def _of(one: dict[str, Any]) -> str:
    return str(one["address"] if "address" in one else one["match"]["destination"])


@click.command("release")
@click.argument("name", metavar="ID|EIP", required=False)
@click.option("--all", "every", is_flag=True, help="All of them.")
@click.option("--dry-run", is_flag=True, help="Say what would change; change nothing.")
@where_options
def release(name: str | None, every: bool, dry_run: bool, socket_path: str | None, config_file: str | None) -> None:
    """End the blackhole or flow rule with an ID, or all of EIP, or all."""
    if (name is None) is not every:
        message = "give either an id or an EIP, or --all"
        raise click.UsageError(message)
    with told():
        path = socket_of(socket_path, config_file)
        mine = [(list_, one) for list_, one in _all(path) if every or name in (one["id"], _of(one))]
        if not mine and not every:
            message = f"no blackhole or flow rule has the id or address {name!r}; anycastd attack filters lists them"
            raise AskError(message, EX_USAGE)
        for list_, one in mine:
            target = f"{list_}/{quote(one['id'])}" + ("?dry_run=true" if dry_run else "")
            changed(ask(path, target, method="DELETE"))
        if not mine:
            click.echo("there are none")


@click.command("filters")
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
@where_options
def filters(as_json: bool, socket_path: str | None, config_file: str | None) -> None:
    """List blackholes and flow rules: where they act, when they end, what they dropped here."""
    with told():
        bodies = standing(socket_of(socket_path, config_file))
    if as_json:
        click.echo(json.dumps(bodies, indent=2, ensure_ascii=False))
        return
    colour = wants_colour()
    click.echo("\n".join(filter_lines(bodies, colour=colour) or ["there are none"]), color=colour)


def standing(path: str) -> dict[str, dict[str, Any]]:
    """Ask for the blackholes and flow rules that stand."""
    return {key: ask(path, list_) for list_, key in LISTS}


def filter_lines(bodies: dict[str, dict[str, Any]], *, colour: bool) -> list[str]:
    """Return the table of them; nothing when there are none."""
    rows = [
        (
            one["id"],
            one["text"],
            ", ".join(["here", *one["sent"], *(f"{name} (not yet)" for name in one["unsent"])]),
            f"in {span(one['expires_in_s'])}",
            f"{one['dropped_packets']} packets",
            one["owner"],
            one["reason"],
        )
        for key, body in bodies.items()
        for one in body[key]
    ]
    return table(HEADER, rows, colour=colour, wide=frozenset({1, 2})) if rows else []
