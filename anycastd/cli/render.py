"""Tables and colours for a terminal, from the API's JSON. Own and small: importing rich costs more than a whole verb.

Colours are added after the widths are known, so text in a pipe and on a terminal is the same but for them, and for
lines that a terminal is too narrow for: those are wrapped there.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

import click

Row = Sequence[str]

INDENT = 4
EXPLAINED = 13
"""Where what is explained begins, behind its title."""
LEAST = 12
"""What each of several wrapped columns gets at least."""
NARROWEST = 24
"""A column with less room than this is not wrapped."""

_GOOD, _WARN, _BAD = "green", "yellow", "red"
_COLOUR = {
    "ANNOUNCED": _GOOD,
    "HEALTHY": _GOOD,
    "NORMAL": _GOOD,
    "BIND": _GOOD,
    "established": _GOOD,
    "serving": _GOOD,
    "PENDING": _WARN,
    "WITHDRAWING": _WARN,
    "CREATING": _WARN,
    "BINDING": _WARN,
    "UNBINDING": _WARN,
    "OFFLINING": _WARN,
    "INITIAL": _WARN,
    "DEGRADED": _WARN,
    "ELEVATED": _WARN,
    "UNKNOWN": _WARN,
    "GSHUT": _WARN,
    "partly": _WARN,
    "stopping": _WARN,
    "connected": _WARN,
    "unknown": _WARN,
    "WITHDRAWN": _BAD,
    "FAILED": _BAD,
    "UNHEALTHY": _BAD,
    "ATTACK": _BAD,
    "down": _BAD,
    "silent": _BAD,
}


def wants_colour() -> bool:
    """Return whether stdout is a terminal that should get colours (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and sys.stdout.isatty()


def painted(word: str, colour: bool, *, as_: str | None = None) -> str:
    """Return a word in the colour of its meaning (or of `as_`'s)."""
    found = _COLOUR.get((as_ or word).strip())
    if (as_ or word).startswith("DEPREF"):
        found = _WARN
    return click.style(word, fg=found) if colour and found else word


def wrapped(line: str, indent: int) -> list[str]:
    """Return a line as lines that fit the terminal, the others indented; in a pipe as it is, to be searched."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    if len(line) <= width or width - indent < NARROWEST:
        return [line]
    return textwrap.wrap(line, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def table(
    header: Row,
    rows: Iterable[Row],
    *,
    colour: bool,
    right: frozenset[int] = frozenset(),
    wide: frozenset[int] = frozenset(),
) -> list[str]:
    """Return aligned lines; a terminal gets the last column wrapped, and those that are `wide` before it.

    `right` are columns of numbers.
    """
    rows = list(rows)
    if not rows:
        return []
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    if wide and (narrow := _narrowed(widths, wide)):
        widths, rows = narrow, [part for row in rows for part in _folded(row, narrow, wide)]

    def line(row: Row, paint: bool) -> str:
        cells = []
        for column, cell in enumerate(row):
            padded = cell.rjust(widths[column]) if column in right else cell.ljust(widths[column])
            padded = padded if column < len(row) - 1 else cell
            cells.append(painted(padded, paint, as_=cell) if cell else padded)
        return "  ".join(cells).rstrip()

    def lines(row: Row) -> Iterable[str]:
        before = sum(widths[:-1]) + 2 * (len(widths) - 1)
        first, *others = wrapped(" " * before + row[-1], before) if row[-1] else [""]
        yield line((*row[:-1], first[before:]), colour)
        yield from others

    head = line(header, False)
    return [click.style(head, bold=True) if colour else head, *(told for row in rows for told in lines(row))]


def _narrowed(widths: list[int], wide: frozenset[int]) -> list[int]:
    """Return widths with which a table fits the terminal, by its wide columns and the last; none if it cannot, or does.

    Each of them keeps what it needs, where that is less than its share of the room.
    """
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    folding = sorted(wide | {len(widths) - 1}, key=lambda column: widths[column])
    gaps = 2 * (len(widths) - 1)
    room = columns - gaps - sum(width for column, width in enumerate(widths) if column not in folding)
    if sum(widths) + gaps <= columns or room < LEAST * len(folding):
        return []
    narrow = list(widths)
    for left, column in zip(range(len(folding), 0, -1), folding, strict=True):
        narrow[column] = min(widths[column], room // left)
        room -= narrow[column]
    return narrow


def _folded(row: Row, widths: Sequence[int], wide: frozenset[int]) -> Iterable[Row]:
    """Yield a row as rows of which each cell fits its column."""
    last = len(row) - 1
    parts = [
        textwrap.wrap(cell, widths[column], break_on_hyphens=False) if column in wide or column == last else [cell]
        for column, cell in enumerate(row)
    ]
    yield from zip_longest(*parts, fillvalue="")


def span(seconds: float) -> str:
    """Return a length of time by its two largest units."""
    whole = int(seconds)
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h" if hours and days < 100 else f"{days} d"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    if minutes:
        return f"{minutes} min {left} s" if left and minutes < 10 else f"{minutes} min"
    return f"{whole} s"


def _head(status: dict[str, Any], colour: bool) -> str:
    config = status["config"]
    fault = "refused: see alarms" if config["error"] else "0 errors"
    state = painted(status["state"], colour)
    parts = [
        status["pop"]["name"],
        f"AS{status['pop']['asn']}",
        state,
        f"up {span(status['uptime_s'])}",
        f"config {config['digest'][:8] or '-'} ({span(config['age_s'])} ago, {fault})",
    ]
    parts += [click.style(part, fg="yellow", bold=True) if colour else part for part in _orders(status)]
    if status["speaker"] != "ready":
        parts.append(f"ExaBGP {status['speaker']}")
    return " · ".join(parts)


def _orders(status: dict[str, Any]) -> list[str]:
    """Return the freeze, the drains and the overrides in few words; a daemon may be older than this command."""
    orders = status.get("orders")
    if orders is None:
        return []
    parts = ["FROZEN"] if orders["freeze"]["frozen"] else ["freeze off"]
    parts += [f"draining {one['scope']} {one['name']}".rstrip() + f" ({one['phase']})" for one in orders["drains"]]
    count = len(orders["overrides"])
    return parts + ([f"{count} override{'s' if count > 1 else ''}"] if count else [])


def _order_lines(status: dict[str, Any], colour: bool) -> list[str]:
    orders = status.get("orders")
    if orders is None:
        return []
    texts = [orders["freeze"]["text"]] if orders["freeze"]["frozen"] else []
    texts += [f"drain: {one['text']}" for one in orders["drains"]]
    texts += [f"override: {one['text']}" for one in orders["overrides"]]
    told = [line for text in texts for line in wrapped(text, INDENT)]
    return [click.style(text, fg="yellow") if colour else text for text in told]


def _alarms(status: dict[str, Any], colour: bool) -> list[str]:
    lines = []
    for entry in status["alarms"]:
        detail = str(entry["detail"])
        # what is wrong in a file begins with the file
        of = "" if detail.startswith(f"{entry['subject']}:") else f"{entry['subject']}: "
        text = f"ALARM {entry['alarm']}  {of}{detail}  (for {span(entry['age_s'])})"
        lines += [click.style(line, fg="red", bold=True) if colour else line for line in wrapped(text, INDENT)]
    return lines


def _prefix_rows(status: dict[str, Any]) -> Iterable[Row]:
    for entry in status["prefixes"]:
        level = "-" if entry["level"] == "WITHDRAWN" else entry["preference"]
        neighbors = f"{len(entry['neighbors']['confirmed'])}/{len(entry['neighbors']['wanted'])}"
        yield entry["prefix"], entry["state"], level, neighbors, span(entry["age_s"]), entry["why"]


def _tunnel_rows(status: dict[str, Any]) -> Iterable[Row]:
    for region in status["regions"]:
        mine = [entry for entry in status["tunnels"] if entry["region"] == region["region"]]
        for number, entry in enumerate(mine):
            name = entry["tunnel"].rpartition("/")[2]
            # what was measured before it went bad says nothing of now
            answers = entry["health"] in ("HEALTHY", "DEGRADED")
            latency = f"{entry['latency_ms']:.1f} ms" if answers and entry["latency_ms"] is not None else "-"
            # a daemon may be older than this command, and count neither
            loss, jitter = entry.get("loss_percent"), entry.get("jitter_ms")
            lost = "-" if loss is None else f"{loss:.3g} %"
            varied = f"{jitter:.1f} ms" if answers and jitter is not None else "-"
            backends = f"{entry['backends']['healthy']}/{entry['backends']['total']} healthy"
            if entry["health"] != "HEALTHY":
                by_window = entry["reason"] in ("check_degraded", "too_many_failures")
                backends = f"({entry['why']}{' for' if by_window else ','} {span(entry['age_s'])})"
            shown = ("", "") if number else (region["region"], region["health"])
            yield *shown, name, entry["health"], latency, lost, varied, backends


def _neighbor_rows(status: dict[str, Any]) -> Iterable[Row]:
    for entry in status["neighbors"]:
        count = entry["routes"]
        routes = f"{count['as_wanted']}/{count['desired']} as wanted"
        if count["observed"] is None:
            routes = "not known"
        elif (extra := count["observed"] - count["as_wanted"]) > 0:
            routes += f", {extra} other"
        told = f"{routes}  ({entry['why']})" if entry["why"] and entry["state"] != "established" else routes
        yield entry["neighbor"], str(entry["asn"]), entry["state"], span(entry["age_s"]), told


def _fleet_lines(status: dict[str, Any], colour: bool) -> list[str]:
    """Return the other POPs in a line; nothing for a POP that is alone, or a daemon older than this command."""
    fleet = status.get("fleet")
    if not fleet or fleet["guard"] == "static":
        return []
    up = sum(one["established"] for one in fleet["observers"])
    pops = [
        f"{one['pop']} heard {one['beacon_age_s']:.1f} s ago"
        if one["heard"]
        else f"{one['pop']} not heard ({one['why']})"
        for one in fleet["pops"]
    ]
    stored = {True: ", store", False: ", store lost"}.get(fleet.get("store"), "")
    line = f"fleet: guard {fleet['guard']}, {up}/{len(fleet['observers'])} observers{stored}; {', '.join(pops)}"
    bad = fleet["guard"] != "echo" or not all(one["heard"] for one in fleet["pops"])
    return [click.style(line, fg="yellow") if colour and bad else line]


def _attack_lines(status: dict[str, Any], colour: bool) -> list[str]:
    """Return attacks in a line; nothing when traffic is as usual, or from a daemon older than this command."""
    attack = status.get("attack")
    if not attack or attack["state"] == "NORMAL":
        return []
    line = f"attack: {attack['text']}  (anycastd attack status)"
    return [click.style(line, fg="red" if attack["state"] == "ATTACK" else "yellow", bold=True) if colour else line]


def status_lines(status: dict[str, Any], *, colour: bool, eips: Sequence[str] = ()) -> list[str]:
    """Return the page that `anycastd status` shows; `eips` are the lines of its EIPs."""
    tables = (
        table(("PREFIX", "STATE", "PREFERENCE", "NEIGHBORS", "SINCE", "WHY"), _prefix_rows(status), colour=colour),
        table(
            ("REGION", "USABLE", "TUNNEL", "STATE", "LATENCY", "LOSS", "JITTER", "BACKENDS"),
            _tunnel_rows(status),
            colour=colour,
            right=frozenset({4, 5, 6}),
        ),
        eips,
        table(("NEIGHBOR", "AS", "STATE", "SINCE", "ROUTES"), _neighbor_rows(status), colour=colour),
    )
    lines = [_head(status, colour), *_alarms(status, colour), *_order_lines(status, colour)]
    lines += [*_fleet_lines(status, colour), *_attack_lines(status, colour)]
    for part in tables:
        lines += part if part is tables[0] else ["", *part] if part else []
    return lines


def explain_lines(explained: dict[str, Any], *, colour: bool) -> list[str]:
    """Return the lines of `anycastd explain`, as the API made them."""
    lines = [line for said in explained["text"] for line in wrapped(str(said), EXPLAINED)]
    if not colour or not lines:
        return lines
    words = {word: painted(word, colour) for word in ("UNHEALTHY", "DEGRADED", "HEALTHY", "MISSING", "HOLD")}
    words |= {"HOLD": click.style("HOLD", fg="yellow"), "MISSING": click.style("MISSING", fg="red")}
    return [click.style(lines[0], bold=True), *(_replaced(line, words) for line in lines[1:])]


def _replaced(line: str, words: dict[str, str]) -> str:
    return " ".join(words.get(word, word) for word in line.split(" "))
