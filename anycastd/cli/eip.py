"""`anycastd eip`: allocate, bind, limit, list, show, release and watch accelerated EIPs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import click

from anycastd.cli.asking import socket_of, told, where_options
from anycastd.cli.client import EX_TEMPFAIL, EX_USAGE, TIMEOUT_S, AskError, ask
from anycastd.cli.eip_render import list_lines, show_lines, summary_of
from anycastd.cli.eip_words import port_of, rate_of, target_of
from anycastd.cli.groups import Group
from anycastd.cli.render import wants_colour

WAIT_S = 30
PAGE = 1000
WATCH_EACH_S = 1.0
WATCH_SHARE = 20
F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_SHAPING = click.Choice(["police", "htb"])
_PING = click.Choice(["backend", "pop"])
_TRACKING = click.Choice(["conntrack", "stateless"])


class Words(click.ParamType[Any]):
    """A parameter that a function reads; its ValueError is a usage error."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name, self._read = name, read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return what `read` makes of the text."""
        if not isinstance(value, str):
            return value
        try:
            return {"read": self._read(value)}
        except ValueError as error:
            self.fail(str(error), param, ctx)


RATE, TARGET, PORT = Words("rate", rate_of), Words("target", target_of), Words("port map", port_of)


def options(*added: Callable[[F], F]) -> Callable[[F], F]:
    """Add options to a verb in the order in which they are given."""

    def add(verb: F) -> F:
        for option in reversed(added):
            verb = option(verb)
        return verb

    return add


json_option = click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
made_options = options(
    click.option("--dry-run", is_flag=True, help="Say what would change; change nothing."),
    click.option("--no-wait", is_flag=True, help="Do not wait until the kernel has it."),
    json_option,
    where_options,
)
change_options = options(
    click.option("--if-generation", type=click.IntRange(min=1), metavar="N", help="Only if it is at generation N."),
    made_options,
)
limit_options = options(
    click.option("--in", "in_rate", type=RATE, metavar="RATE", help="Limit from clients: 200mbit, or none."),
    click.option("--out", "out_rate", type=RATE, metavar="RATE", help="Limit to clients: 200mbit, or none."),
    click.option("--shaping", type=_SHAPING, help="How the limit is kept."),
    click.option("--ping", type=_PING, help="Who answers an echo request."),
    click.option("--tracking", type=_TRACKING, help="Whether connections are tracked."),
    click.option("--description", metavar="TEXT", help="What it is for."),
)


@click.group("eip", cls=Group)
def eip() -> None:
    """Allocate, bind, limit, show and watch accelerated EIPs. EIP is an address or an id."""


def change(
    method: str,
    target: str,
    body: dict[str, Any] | None,
    *,
    dry_run: bool,
    no_wait: bool,
    as_json: bool,
    socket_path: str | None,
    config_file: str | None,
    if_generation: int | None = None,
    replace: bool = False,
) -> None:
    """Ask for a change, wait until the kernel has it, and tell what became of it."""
    query = {"replace": "true"} if replace else {}
    if dry_run:
        query["dry_run"] = "true"
    elif not no_wait:
        query["wait"] = f"{WAIT_S}s"
    headers = {} if if_generation is None else {"If-Match": f'"{if_generation}"'}
    with told():
        path = socket_of(socket_path, config_file)
        asked = f"{target}?{urlencode(query)}" if query else target
        answer = ask(path, asked, method=method, body=body, headers=headers, timeout_s=TIMEOUT_S + WAIT_S)
        if as_json:
            click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        else:
            _tell(answer)
        _judge(answer["task"], no_wait)


def _tell(answer: dict[str, Any]) -> None:
    changes = [str(line) for line in answer["changes"]]
    if answer["dry_run"]:
        click.echo("would change:" if changes else "nothing would change")
    for line in changes:
        click.echo(f"  {line}" if answer["dry_run"] else line)
    if not answer["dry_run"]:
        click.echo(("" if changes else "nothing changed: ") + summary_of(answer["eip"]))


def _judge(task: dict[str, Any] | None, no_wait: bool) -> None:
    """Raise AskError unless the change has come to a good end, or nobody wanted to wait for it."""
    if task is None or task["state"] == "SUCCESS":
        return
    if task["state"] == "FAILED":
        message = f"the change is stored, but {task['id']} failed: {task['detail']}"
        raise AskError(message, EX_TEMPFAIL)
    if not no_wait:
        message = f"the change is stored, but the kernel does not have it after {WAIT_S} s: see task {task['id']}"
        raise AskError(message, EX_TEMPFAIL)


def _limits(in_rate: Any, out_rate: Any, shaping: str | None) -> dict[str, Any]:
    rates = {name: rate["read"] for name, rate in (("in_bps", in_rate), ("out_bps", out_rate)) if rate is not None}
    return rates | ({} if shaping is None else {"shaping": shaping})


def _fields(in_rate: Any, out_rate: Any, shaping: str | None, **fields: Any) -> dict[str, Any]:
    """Return the fields of a body that were given."""
    body = {name: value for name, value in fields.items() if value is not None}
    limits = _limits(in_rate, out_rate, shaping)
    return body | ({"bandwidth": limits} if limits else {})


def _path(name: str, rest: str = "") -> str:
    return f"/v1/eips/{quote(name, safe='')}{rest}"


@eip.command("allocate")
@click.argument("address", required=False)
@click.option("--prefix", metavar="PREFIX", help="Take the next free address of PREFIX.")
@limit_options
@made_options
def allocate(
    address: str | None,
    prefix: str | None,
    in_rate: Any,
    out_rate: Any,
    shaping: str | None,
    ping: str | None,
    tracking: str | None,
    description: str | None,
    **how: Any,
) -> None:
    """Allocate ADDRESS, or the next free address of a prefix."""
    if (address is None) == (prefix is None):
        message = "give either an address, or --prefix to take the next free one of"
        raise click.UsageError(message)
    given = {"address": address, "prefix": prefix, "ping": ping, "tracking": tracking, "description": description}
    change("POST", "/v1/eips", _fields(in_rate, out_rate, shaping, **given), **how)


@eip.command("associate")
@click.argument("name", metavar="EIP")
@click.argument("targets", metavar="REGION/BACKEND[:WEIGHT][@PRIORITY]...", nargs=-1, required=True, type=TARGET)
@click.option("--spread", type=click.Choice(["nearest", "ordered", "weighted"]), help="How regions share.")
@click.option("--affinity", type=click.Choice(["none", "source"]), help="What chooses among backends.")
@click.option("--when-unhealthy", type=click.Choice(["fail_open", "drop"]), help="With no usable backend.")
@click.option("--mode", type=click.Choice(["routed", "dnat", "masquerade"]), help="For every target, not the region's.")
@click.option("--port", "ports", multiple=True, type=PORT, metavar="tcp/80:8080", help="Map a port of every target.")
@click.option("--replace", is_flag=True, help="Also if it is bound: make before break.")
@change_options
def associate(
    name: str,
    targets: tuple[dict[str, Any], ...],
    spread: str | None,
    affinity: str | None,
    when_unhealthy: str | None,
    mode: str | None,
    ports: tuple[dict[str, Any], ...],
    replace: bool,
    **how: Any,
) -> None:
    """Bind EIP to backends: `eip associate 203.0.113.10 eu/web-1:100 eu/web-2:50 us/web-1@2`."""
    of_all: dict[str, Any] = {} if mode is None else {"mode": mode}
    if ports:
        of_all["ports"] = [port["read"] for port in ports]
    given = {"spread": spread, "affinity": affinity, "when_unhealthy": when_unhealthy}
    body: dict[str, Any] = {word: value for word, value in given.items() if value is not None}
    body["targets"] = [target["read"] | of_all for target in targets]
    change("PUT", _path(name, "/association"), body, replace=replace, **how)


@eip.command("disassociate")
@click.argument("name", metavar="EIP")
@change_options
def disassociate(name: str, **how: Any) -> None:
    """Unbind EIP: its packets are dropped and counted."""
    change("DELETE", _path(name, "/association"), None, **how)


@eip.command("modify")
@click.argument("name", metavar="EIP")
@limit_options
@click.option("--block", metavar="REASON", help="Carry nothing for it, and say why.")
@click.option("--unblock", is_flag=True, help="Carry its packets again.")
@change_options
def modify(
    name: str,
    in_rate: Any,
    out_rate: Any,
    shaping: str | None,
    ping: str | None,
    tracking: str | None,
    description: str | None,
    block: str | None,
    unblock: bool,
    **how: Any,
) -> None:
    """Change limits, ping, tracking or description of EIP, or block it."""
    if block is not None and unblock:
        message = "--block and --unblock contradict each other"
        raise click.UsageError(message)
    body = _fields(in_rate, out_rate, shaping, ping=ping, tracking=tracking, description=description)
    if block is not None:
        body |= {"blocked": True, "blocked_reason": block}
    if unblock:
        body["blocked"] = False
    if not body:
        message = "say what to change; anycastd eip modify --help lists it"
        raise click.UsageError(message)
    change("PATCH", _path(name), body, **how)


@eip.command("release")
@click.argument("name", metavar="EIP")
@change_options
def release(name: str, **how: Any) -> None:
    """Give an unbound EIP back; for a day it can be restored."""
    change("DELETE", _path(name), None, **how)


@eip.command("restore")
@click.argument("name", metavar="EIP")
@change_options
def restore(name: str, **how: Any) -> None:
    """Take a released EIP back as it was."""
    change("POST", _path(name, "/restore"), None, **how)


filter_options = options(
    click.option("--status", metavar="STATUS", help="Only with this status: BIND, UNBIND, ..."),
    click.option("--prefix", metavar="PREFIX", help="Only inside PREFIX."),
    click.option("--region", metavar="REGION", help="Only bound to a backend of REGION."),
    click.option("--backend", metavar="BACKEND", help="Only bound to BACKEND."),
)


def _all(path: str, filters: dict[str, str | None]) -> Iterator[dict[str, Any]]:
    """Yield every EIP that fits, page by page."""
    query = {name: value for name, value in filters.items() if value is not None} | {"limit": str(PAGE)}
    while True:
        page = ask(path, f"/v1/eips?{urlencode(query)}")
        yield from page["eips"]
        if page["next_token"] is None:
            return
        query["next_token"] = page["next_token"]


@eip.command("list")
@filter_options
@json_option
@where_options
def list_(as_json: bool, socket_path: str | None, config_file: str | None, **filters: str | None) -> None:
    """List EIPs: status, where their packets go, limits."""
    with told():
        found = list(_all(socket_of(socket_path, config_file), filters))
    if as_json:
        click.echo(json.dumps({"eips": found}, indent=2, ensure_ascii=False))
        return
    colour = wants_colour()
    click.echo("\n".join(list_lines(found, colour=colour) or ["there are none"]), color=colour)


@eip.command("show")
@click.argument("name", metavar="EIP")
@json_option
@where_options
def show(name: str, as_json: bool, socket_path: str | None, config_file: str | None) -> None:
    """Show everything about EIP."""
    with told():
        path = socket_of(socket_path, config_file)
        body = ask(path, _path(name))
        connections = None if as_json else _connections(path, name)
    if as_json:
        click.echo(json.dumps(body, indent=2, ensure_ascii=False))
        return
    colour = wants_colour()
    click.echo("\n".join(show_lines(body, connections, colour=colour)), color=colour)


def _connections(path: str, name: str) -> int | None:
    try:
        found: int | None = ask(path, f"{_path(name)}/traffic?span=1m").get("connections")
    except AskError as error:
        # it is gone by now, or the daemon knows of no traffic
        if error.exit_code == EX_USAGE:
            return None
        raise
    return found


@eip.command("watch")
@filter_options
@json_option
@where_options
def watch(as_json: bool, socket_path: str | None, config_file: str | None, **filters: str | None) -> None:
    """Print a line for each EIP that changes, until interrupted; a daemon that is away is waited for."""
    with told():
        path = socket_of(socket_path, config_file)
        known = {one["address"]: one for one in _all(path, filters)}
    for one in known.values():
        _print_change(one, as_json)
    away = ""
    took_s = 0.0
    while True:
        sys.stdout.flush()
        # a list of thousands costs the daemon tenths of a second: it is asked for the less often
        time.sleep(max(WATCH_EACH_S, took_s * WATCH_SHARE))
        begun_s = time.monotonic()
        try:
            now = {one["address"]: one for one in _all(path, filters)}
        except AskError as error:
            if away != str(error):
                click.echo(f"anycastd: {error}", err=True)
            away = str(error)
            continue
        away, took_s = "", time.monotonic() - begun_s
        for address, one in now.items():
            if known.get(address) != one:
                _print_change(one, as_json)
        for address in known.keys() - now.keys():
            _print_gone(address, as_json)
        known = now


def _moment() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _print_change(one: dict[str, Any], as_json: bool) -> None:
    click.echo(json.dumps(one, ensure_ascii=False) if as_json else f"{_moment()}  {summary_of(one)}")


def _print_gone(address: str, as_json: bool) -> None:
    gone = {"address": address, "gone": True}
    click.echo(json.dumps(gone) if as_json else f"{_moment()}  {address} is gone (or fits no more)")
