"""Neighbors into ExaBGP's configuration file: no routes in it, End-of-RIB only when we say so. Pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from ipaddress import ip_address

from anycastd.errors import ActuatorRejected
from anycastd.model.address import Address, FlowFamily, NeighborName
from anycastd.model.bgp import NOT_IN_WORDS
from anycastd.model.topology import Neighbor, Pop

PROCESS = "anycastd"
LARGEST_TTL = 255
RECEIVE = "receive { parsed; update; } "
"""Of an observer: each of its UPDATEs becomes a line."""


def render(
    pop: Pop, neighbors: Iterable[Neighbor], passwords: Mapping[NeighborName, bytes], bridge: tuple[str, ...]
) -> bytes:
    """Return the file. It holds the MD5 passwords: to be written readable by ExaBGP's user only.

    `bridge` is the command of the helper; ActuatorRejected if one of its words cannot be told to ExaBGP.
    """
    for word in bridge:
        if NOT_IN_WORDS.search(word):
            message = f"bgp.directory, bgp.socket: ExaBGP cannot be told of {word!r}: plain characters, without a space"
            raise ActuatorRejected(message)
    lines = [
        f"process {PROCESS} {{",
        f"  run {' '.join(bridge)};",
        "  encoder json;",
        "  respawn true;",
        "}",
    ]
    for neighbor in sorted(neighbors, key=lambda one: one.name):
        lines += _neighbor(pop, neighbor, passwords.get(neighbor.name))
    return "\n".join([*lines, ""]).encode("ascii")


def _neighbor(pop: Pop, neighbor: Neighbor, password: bytes | None) -> list[str]:
    restart = str(neighbor.graceful_restart_s) if neighbor.graceful_restart_s else "disable"
    families = " ".join(
        f"ipv{family.version} {'flow' if isinstance(family, FlowFamily) else 'unicast'};" for family in neighbor.carried
    )
    lines = [
        f"neighbor {neighbor.address} {{",
        f"  router-id {pop.router_id};",
        f"  local-address {neighbor.local_address};",
        f"  local-as {neighbor.local_asn};",
        f"  peer-as {neighbor.asn};",
        f"  hold-time {neighbor.hold_time_s};",
        "  group-updates true;",
        "  adj-rib-out true;",
        "  adj-rib-in false;",
        # without it ExaBGP says End-of-RIB before we have said a route, and the peer drops what it kept (RFC 4724)
        "  manual-eor true;",
    ]
    if password is not None:
        # base64: ExaBGP's own quoting has no way to write every character
        lines += [f'  md5-password "{base64.b64encode(password).decode()}";', "  md5-base64 true;"]
    if neighbor.ttl_security is not None:
        lines += [f"  incoming-ttl {LARGEST_TTL + 1 - neighbor.ttl_security};", f"  outgoing-ttl {LARGEST_TTL};"]
    elif neighbor.multihop is not None:
        lines.append(f"  outgoing-ttl {neighbor.multihop};")
    return [
        *lines,
        f"  capability {{ asn4 enable; route-refresh enable; graceful-restart {restart}; }}",
        f"  family {{ {families} }}",
        f"  api {{ processes [ {PROCESS} ]; neighbor-changes; {RECEIVE if neighbor.is_observer else ''}}}",
        "}",
    ]


def blocks(rendered: bytes) -> tuple[str, dict[Address, str]]:
    """Return a file of ours in parts: what stands before the neighbors, and what is said of each of them."""
    head, *parts = rendered.decode("ascii", "replace").split("\nneighbor ")
    told = {}
    for part in parts:
        address, _, body = part.partition(" {\n")
        told[ip_address(address)] = body.rstrip()
    return head.rstrip(), told


def digest(rendered: bytes, environment: Mapping[str, str]) -> str:
    """Return what tells two ways of running ExaBGP apart: `CONF-ENVIRONMENT`, 16 hexadecimal digits each."""
    settings = "\n".join(f"{name}={value}" for name, value in sorted(environment.items())).encode()
    return "-".join(hashlib.sha256(part).hexdigest()[:16] for part in (rendered, settings))
