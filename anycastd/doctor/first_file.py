"""A first configuration file from what a machine has: every line explained, what cannot be known left open. Pure.

What is left open is written as `<FILL IN>`, which is no value of anything: `anycastd check` refuses it with its line,
and no half-made file is ever run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from anycastd.doctor.inventory import Inventory, Line, Peer
from anycastd.model.address import Address

BLANK = "<FILL IN>"
WIDTH = 58
"""Where the explanations begin."""


def first_file(seen: Inventory) -> str:
    """Return the text of the file."""
    parts = (_head(seen), _pop(seen), _neighbors(seen), _checks(), _regions(seen), _prefixes(seen), _rest(seen))
    return "\n".join(line for part in parts for line in part) + "\n"


def _says(text: str, why: str) -> str:
    return f"{text:<{WIDTH}} # {why}"


def _value(value: object) -> str:
    """Return a value as YAML holds it: an IPv6 address ends in what a flow mapping would take for a key."""
    text = BLANK if value is None else str(value)
    return f'"{text}"' if ":" in text else text


def _head(seen: Inventory) -> Iterator[str]:
    yield "# A first configuration, made by `anycastd init` from what this machine has."
    yield "# Every key there is: docs/configuration.md. Next: anycastd check, anycastd doctor."
    if seen.speaker.file:
        yield f"# AS number, neighbors, prefixes: those of {seen.speaker.file}. Two speakers cannot both have them."
        yield "# Where it goes on, it is our only neighbor: docs/operations.md, Beside FRR or BIRD."


def _pop(seen: Inventory) -> Iterator[str]:
    name = re.sub(r"[^A-Za-z0-9_-]", "-", seen.host.partition(".")[0]).lstrip("-_0123456789")[:32] or "pop1"
    ours = [way.source for way in seen.ways if way.source is not None and way.source.version == 4]
    router_id = seen.speaker.router_id or (ours[0] if ours else None)
    yield ""
    yield "pop:"
    yield _says(f"  name: {name}", "of this POP, unique in the fleet: in logs, metrics and messages")
    yield _says(f"  asn: {_value(seen.speaker.asn)}", "your AS number")
    yield _says(f"  router_id: {_value(router_id)}", "an IPv4 address of this machine, unique in the fleet")


def _neighbors(seen: Inventory) -> Iterator[str]:
    peers = list(seen.speaker.peers)
    if not peers:
        ways = [way for way in seen.ways if way.source is not None and not way.gateway.is_link_local]
        peers = [Peer(way.gateway, 0, way.source) for way in ways[:1]]
    yield ""
    yield _says("neighbors:", "who is told of the prefixes, by BGP")
    if not peers:
        yield "  upstream-1:"
        yield _says(f"    address: {BLANK}", "its address")
        yield _says(f"    asn: {BLANK}", "its AS number")
        yield _says(f"    local_address: {BLANK}", "ours towards it; it must be on this machine")
    for number, peer in enumerate(peers, 1):
        guess = "" if peer.asn else "; taken from the default route, a guess"
        yield f"  upstream-{number}:"
        yield _says(f"    address: {_value(peer.address)}", f"its address{guess}")
        yield _says(f"    asn: {_value(peer.asn or None)}", "its AS number")
        yield _says(f"    local_address: {_value(peer.source)}", "ours towards it; it must be on this machine")
    yield _says(
        "    # password_file: secrets/upstream", "TCP MD5, mode 0640, group of the daemon; secrets never stand here"
    )


def _checks() -> Iterator[str]:
    yield ""
    yield _says("checks:", "named once, used below")
    yield _says("  path: {icmp: {interval: 500ms}}", "whether a tunnel carries packets")
    yield _says("  alive: {icmp: {interval: 1s}}", "whether a backend answers; better: tcp, http, https")


def _regions(seen: Inventory) -> Iterator[str]:
    yield ""
    yield _says("regions:", "where the backends are")
    yield _says("  region-1:", "its name, the same at every POP; one mapping for each region")
    yield _says("    tunnels:", "the ways there, best first")
    by_device: dict[str, list[Line]] = {}
    for line in seen.lines:
        by_device.setdefault(line.device, []).append(line)
    if not by_device:
        yield "      tunnel-1:"
        yield _says(f"        device: {BLANK}", "no tunnel was found here; `create` makes one: docs/tunnels.md")
        yield _says(f"        local: {BLANK}", "our address inside the tunnel")
        yield _says(f"        far_end: {BLANK}", "the gateway's inside it")
        yield "        checks: [path]"
    for number, (device, lines) in enumerate(by_device.items(), 1):
        yield f"      tunnel-{number}:"
        yield _says(f"        device: {device}", f"{lines[0].kind}, found here")
        yield from _ends(lines)
        yield "        checks: [path]"
    yield _says("    backends:", "who serves there")
    yield "      backend-1:"
    yield _says(f"        address: {BLANK}", "inside the region, reached through its tunnels")
    yield "        checks: [alive]"


def _ends(lines: list[Line]) -> Iterator[str]:
    told: set[int] = set()
    for line in lines:
        version = line.local.version
        if version in told:
            continue
        told.add(version)
        suffix = "6" if version == 6 else ""
        yield _says(f"        local{suffix}: {_value(line.local)}", "our address inside the tunnel")
        why = "the gateway's inside it" if line.far_end else "the gateway's inside it; it cannot be told from here"
        yield _says(f"        far_end{suffix}: {_value(line.far_end)}", why)


def _prefixes(seen: Inventory) -> Iterator[str]:
    yield ""
    yield _says("prefixes:", "what this POP announces while a region is usable; EIPs lie inside")
    carried = {peer.address.version for peer in seen.speaker.peers}
    found = [prefix for prefix in seen.speaker.prefixes if prefix.version in carried]
    for prefix in found:
        yield _says(f"  {_value(prefix)}: {{}}", f"announced by {seen.speaker.file}")
    for prefix in seen.speaker.prefixes:
        if prefix not in found:
            yield f"  # {_value(prefix)}: {{}}: no neighbor of its family was found (families, export.next_hop6)"
    if not found:
        yield _says(f"  {BLANK}: {{}}", "such as 203.0.113.0/24; /24 and /48 are the longest that the Internet takes")


def _rest(seen: Inventory) -> Iterator[str]:
    gateways: list[Address] = [way.gateway for way in seen.ways if not way.gateway.is_link_local]
    if gateways:
        yield ""
        yield _says("self_test:", "these near targets fail too: then the fault is this machine")
        yield "  targets:"
        for number, gateway in enumerate(dict.fromkeys(gateways), 1):
            address = f"{{address: {_value(gateway)}, checks: [path]}}"
            yield _says(f"    gateway-{number}: {address}", "the default gateway")
    if seen.has_unit:
        yield ""
        yield "bgp:"
        yield _says("  launch: service", "anycastd-bgp.service, which is installed here, starts ExaBGP")
