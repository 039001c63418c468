"""EIPs as tables and pages for a terminal, from the API's JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from anycastd.cli.eip_words import rate_text
from anycastd.cli.render import Row, painted, table


def ways_of(eip: dict[str, Any]) -> list[str]:
    """Return where the packets go, a backend a line; those that are asked for while nothing goes anywhere."""
    placement, association = eip["placement"], eip["association"]
    if placement is not None and placement["shares"]:
        return [f"{share['backend']} {share['percent']:g} %" for share in placement["shares"]]
    return [f"({target['backend']})" for target in association["targets"]] if association else ["-"]


def limits_of(eip: dict[str, Any]) -> str:
    """Return the limits of both directions."""
    limits = eip["bandwidth"]
    if limits["in_bps"] is None and limits["out_bps"] is None:
        return "-"
    shaping = "" if limits["shaping"] == "police" else f" {limits['shaping']}"
    return f"{rate_text(limits['in_bps'])}/{rate_text(limits['out_bps'])}{shaping}"


def why_of(eip: dict[str, Any]) -> str:
    """Return the one thing that an operator should know first."""
    if eip["last_error"]:
        return f"refused by the kernel: {eip['last_error']}"
    if eip["notes"]:
        return str(eip["notes"][0])
    if eip["blocked"]:
        return f"blocked: {eip['blocked_reason']}"
    if eip["released_at"]:
        return f"released, restorable until {eip['restorable_until']}"
    return str(eip["detail"])


def _rows(eips: Iterable[dict[str, Any]]) -> Iterable[Row]:
    for eip in eips:
        first, *others = ways_of(eip)
        yield eip["address"], eip["status"], first, limits_of(eip), why_of(eip)
        for way in others:
            yield "", "", way, "", ""


STATUS_EIPS = 10


def status_eip_lines(page: dict[str, Any], traffic: dict[str, Any], *, colour: bool) -> list[str]:
    """Return the EIPs of the status page: the busiest first, and how many there are besides."""
    by_address = {eip["address"]: eip for eip in page["eips"]}
    rates = {busy["address"]: busy["rates"] for busy in traffic["busiest"]}
    order = [address for address in rates if address in by_address]
    order += [address for address in by_address if address not in rates]
    rows: list[Row] = []
    for address in order[:STATUS_EIPS]:
        eip, rate = by_address[address], rates.get(address)
        first, *others = ways_of(eip)
        rows.append((address, eip["status"], first, *_speeds(rate), limits_of(eip), _fullness(rate)))
        rows += [("", "", way, "", "", "", "") for way in others]
    lines = table(
        ("EIP", "STATUS", "TO", "IN", "OUT", "LIMIT (in/out)", ""), rows, colour=colour, right=frozenset({3, 4})
    )
    rest = max(traffic["eips"], len(order)) - min(len(order), STATUS_EIPS)
    return [*lines, f"and {rest} more: anycastd eip list"] if rest > 0 else lines


def _speeds(rate: dict[str, Any] | None) -> tuple[str, str]:
    if rate is None:
        return "0", "0"
    return speed_text(rate["in"]["bps"]), speed_text(rate["out"]["bps"])


def _fullness(rate: dict[str, Any] | None) -> str:
    """Return which direction is near its limit."""
    ways = ("in", "out") if rate else ()
    used = [(way, rate[way]["utilisation_percent"]) for way in ways if rate is not None]
    return ", ".join(f"{way} at {percent:.0f} %" for way, percent in used if percent is not None and percent >= NEARLY)


NEARLY = 80.0


def speed_text(bps: float) -> str:
    """Return a measured rate with two or three digits: 41 Mbit/s."""
    for unit, size in (("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3)):
        # from where three digits would round up to the next unit
        if bps >= 0.9995 * size:
            return f"{bps / size:.3g} {unit}"
    return f"{bps:.0f} bit/s" if bps else "0"


def list_lines(eips: Iterable[dict[str, Any]], *, colour: bool) -> list[str]:
    """Return the table of `anycastd eip list`."""
    return table(("EIP", "STATUS", "TO", "LIMIT (in/out)", "WHY"), _rows(eips), colour=colour)


def show_lines(eip: dict[str, Any], connections: int | None = None, *, colour: bool) -> list[str]:
    """Return the page of `anycastd eip show`; `connections` None: they were not counted."""
    association = eip["association"]
    facts: list[tuple[str, str]] = [
        ("status", f"{painted(eip['status'], colour)}  {eip['reason'].replace('_', ' ')}: {eip['detail']}"),
        (
            "id",
            f"{eip['id']}, generation {eip['generation']}, of {'the file' if eip['source'] == 'file' else 'the API'}",
        ),
        ("prefix", eip["prefix"] or "in no announced prefix"),
        ("limit", f"{limits_of(eip)} (in/out)"),
        ("ping", f"answered by the {eip['ping']}"),
        ("tracking", eip["tracking"]),
    ]
    if association is None:
        facts.append(("bound to", "-"))
    else:
        facts += [("bound to", _target(target)) for target in association["targets"]]
        how = f"{association['spread']}, affinity {association['affinity']}, {association['when_unhealthy']}"
        facts.append(("spread", how))
    if eip["placement"] is not None:
        facts += [("goes to", way) for way in ways_of(eip)]
        facts.append(("since", f"{eip['placement']['since']}: {eip['placement']['detail']}"))
    if connections is not None:
        facts.append(("carries", f"{connections} connection{'s' * (connections != 1)}"))
    facts += [("blocked", eip["blocked_reason"])] * eip["blocked"]
    if eip["released_at"]:
        facts.append(("released", f"{eip['released_at']}, restorable until {eip['restorable_until']}"))
    facts += [("error", eip["last_error"])] * bool(eip["last_error"])
    facts += [("note", note) for note in eip["notes"]]
    facts += [("about", eip["description"])] * bool(eip["description"])
    if eip["changed_at"]:
        facts.append(("changed", f"{eip['changed_at']} (allocated {eip['created_at']})"))
    return [eip["address"], *(f"  {name:<9} {text}" for name, text in facts)]


def _target(target: dict[str, Any]) -> str:
    text = f"{target['backend']}  weight {target['weight']}, priority {target['priority']}"
    if target["mode"] is not None:
        text += f", {target['mode']}"
    ports = ", ".join(f"{one['transport']}/{one['port']}:{one['to_port']}" for one in target["ports"])
    return f"{text}, ports {ports}" if ports else text


def summary_of(eip: dict[str, Any]) -> str:
    """Return one EIP in a line."""
    ways, why = ways_of(eip), why_of(eip)
    return (
        f"{eip['address']} is {eip['status']}"
        + (f", to {', '.join(ways)}" if ways != ["-"] else "")
        + f": {why}" * bool(why)
    )
