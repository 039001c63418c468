"""What a machine has that a first configuration can be made from. Read only; what is not there is left out."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from anycastd.doctor.asking import Asking
from anycastd.model.address import Address, Prefix

TUNNELS = frozenset({"vxlan", "geneve", "gre", "gretap", "ip6gre", "ip6gretap", "ipip", "sit", "ip6tnl", "wireguard"})
"""Kinds of devices as `ip -d link` names them."""
ROUTERS = {
    "frr": ("etc/frr/frr.conf", "etc/frr/bgpd.conf"),
    "bird": ("etc/bird/bird.conf", "etc/bird.conf"),
}
BGP_UNIT = ("etc/systemd/system/anycastd-bgp.service", "lib/systemd/system/anycastd-bgp.service")
POINT_TO_POINT = {4: (30, 31), 6: (126, 127)}


@dataclass(frozen=True, slots=True)
class Way:
    """A default route: its gateway, device, and our address towards it."""

    gateway: Address
    device: str
    source: Address | None


@dataclass(frozen=True, slots=True)
class Line:
    """A tunnel device with an address; `far_end` None where it cannot be told."""

    device: str
    kind: str
    local: Address
    far_end: Address | None


@dataclass(frozen=True, slots=True)
class Peer:
    """A neighbor as another BGP speaker's file has it, and our address towards it."""

    address: Address
    asn: int
    source: Address | None = None


@dataclass(frozen=True, slots=True)
class Speaker:
    """What the file of FRR or BIRD says; `file` names it."""

    file: str = ""
    asn: int | None = None
    router_id: Address | None = None
    peers: tuple[Peer, ...] = ()
    prefixes: tuple[Prefix, ...] = ()


@dataclass(frozen=True, slots=True)
class Inventory:
    """All of it."""

    host: str
    ways: tuple[Way, ...]
    lines: tuple[Line, ...]
    speaker: Speaker
    has_unit: bool


def take(ask: Asking) -> Inventory:
    """Look at the machine and this network namespace."""
    addresses = {one["ifname"]: tuple(_interfaces(one)) for one in ask.answer("ip", "-j", "address", "show")}
    return Inventory(
        host=socket.gethostname(),
        ways=tuple(_ways(ask, addresses)),
        lines=tuple(_lines(ask, addresses)),
        speaker=_speaker(ask),
        has_unit=any((ask.root / name).exists() for name in BGP_UNIT),
    )


def _interfaces(link: dict[str, Any]) -> Iterator[tuple[Address, int, Address | None]]:
    """Yield address, prefix length and the far end's address of a device."""
    for one in link.get("addr_info", ()):
        if one.get("scope") == "link" or "local" not in one:
            continue
        peer = ip_address(one["address"]) if "address" in one else None
        yield ip_address(one["local"]), int(one["prefixlen"]), peer


def _ways(ask: Asking, addresses: dict[str, tuple[tuple[Address, int, Address | None], ...]]) -> Iterator[Way]:
    for version in ("-4", "-6"):
        for route in ask.answer("ip", "-j", version, "route", "show", "default"):
            if "gateway" not in route:
                continue
            gateway, device = ip_address(route["gateway"]), str(route["dev"])
            near = [a for a, length, _ in addresses.get(device, ()) if gateway in ip_interface(f"{a}/{length}").network]
            source = ip_address(route["prefsrc"]) if "prefsrc" in route else near[0] if near else None
            yield Way(gateway, device, source)


def _lines(ask: Asking, addresses: dict[str, tuple[tuple[Address, int, Address | None], ...]]) -> Iterator[Line]:
    for link in ask.answer("ip", "-j", "-d", "link", "show"):
        kind = link.get("linkinfo", {}).get("info_kind", "")
        if kind in TUNNELS:
            for local, length, peer in addresses.get(link["ifname"], ()):
                yield Line(link["ifname"], kind, local, peer or _other_of_two(local, length))


def _other_of_two(local: Address, length: int) -> Address | None:
    if length not in POINT_TO_POINT[local.version]:
        return None
    network = ip_interface(f"{local}/{length}").network
    both = [network[0], network[1]] if length in (31, 127) else [network[1], network[2]]
    others = [one for one in both if one != local]
    return others[0] if len(others) == 1 else None


def _speaker(ask: Asking) -> Speaker:
    for kind, names in ROUTERS.items():
        for name in names:
            text = ask.text(name) if (ask.root / name).exists() else None
            if text:
                found = (_frr if kind == "frr" else _bird)(text, f"/{name}")
                if found.asn is None and not found.peers:
                    continue
                peers = tuple(Peer(p.address, p.asn, _source(ask, p.address)) for p in found.peers)
                return Speaker(found.file, found.asn, found.router_id, peers, found.prefixes)
    return Speaker()


def _source(ask: Asking, target: Address) -> Address | None:
    for route in ask.answer("ip", "-j", "route", "get", str(target)):
        if "prefsrc" in route:
            return ip_address(route["prefsrc"])
    return None


def _frr(text: str, file: str) -> Speaker:
    neighbors = re.findall(r"^\s*neighbor\s+(\S+)\s+remote-as\s+(\d+)", text, re.MULTILINE)
    return Speaker(
        file,
        _number(re.search(r"^\s*router bgp\s+(\d+)", text, re.MULTILINE)),
        _address(re.search(r"^\s*bgp router-id\s+(\S+)", text, re.MULTILINE)),
        tuple(_peers(neighbors)),
        tuple(_prefixes(re.findall(r"^\s*network\s+(\S+/\d+)", text, re.MULTILINE))),
    )


def _bird(text: str, file: str) -> Speaker:
    plain = re.sub(r"#.*|/\*.*?\*/", "", text)
    neighbors = re.findall(r"\bneighbor\s+([0-9a-fA-F.:]+)\s+(?:port\s+\d+\s+)?as\s+(\d+)", plain)
    return Speaker(
        file,
        _number(re.search(r"\blocal\s+(?:[0-9a-fA-F.:]+\s+)?as\s+(\d+)", plain)),
        _address(re.search(r"\brouter\s+id\s+([0-9.]+)\s*;", plain)),
        tuple(_peers(neighbors)),
    )


def _number(found: re.Match[str] | None) -> int | None:
    return int(found[1]) if found else None


def _address(found: re.Match[str] | None) -> Address | None:
    try:
        return ip_address(found[1]) if found else None
    except ValueError:
        return None


def _peers(found: Iterable[tuple[str, str]]) -> Iterator[Peer]:
    for text, asn in found:
        try:
            yield Peer(ip_address(text), int(asn))
        except ValueError:
            # a peer group or an interface
            continue


def _prefixes(found: Iterable[str]) -> Iterator[Prefix]:
    for text in found:
        try:
            yield ip_network(text)
        except ValueError:
            continue
