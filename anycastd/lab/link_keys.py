"""Check the links of a topology: brief and extended veth."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Container

from anycastd.lab.refusals import Refusals, inside
from anycastd.lab.shape import Endpoint, Link

_EXTENDED_KEYS = ("endpoints", "ipv4", "ipv6", "labels", "mtu", "type")
_ENDPOINT_KEYS = ("interface", "ipv4", "ipv6", "mac", "node")
_INTERFACE = re.compile(r"[^\s/:]{1,15}\Z")
_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}\Z")
# Below 68 bytes IPv4 cannot work (RFC 791); veth takes no more than 65535 bytes.
MTU_MIN_BYTES, MTU_MAX_BYTES = 68, 65535


def build_links(raw: object, nodes: Container[str], refusals: Refusals) -> tuple[Link, ...]:
    """Check all links and build them; what is wrong goes to `refusals`."""
    links: list[Link] = []
    used: dict[tuple[str, str], str] = {}
    for at, item in enumerate(refusals.sequence(raw, "topology.links")):
        where = f"topology.links[{at}]"
        link = _link(item, where, refusals)
        if link is None:
            continue
        links.append(link)
        for number, end in enumerate(link.ends()):
            spot = f"{where}.endpoints[{number}]"
            if end.node not in nodes:
                refusals.add(spot, f"no such node: {end.node}")
            first = used.setdefault((end.node, end.interface), spot)
            if first != spot:
                refusals.add(spot, f"interface {end.node}:{end.interface} is used already by {first}")
    return tuple(links)


def _link(raw: object, where: str, refusals: Refusals) -> Link | None:
    fields = refusals.mapping(raw, where)
    refusals.only(fields, _EXTENDED_KEYS, where)
    kind = fields.get("type", "veth")
    if kind != "veth":
        refusals.add(inside(where, "type"), f"not supported: {kind}; supported here: veth")
        return None
    spot = inside(where, "endpoints")
    ends = refusals.sequence(fields.get("endpoints"), spot)
    if len(ends) != 2:
        refusals.add(spot, f"must be two endpoints, are {len(ends)}")
        return None
    per_end = {key: _per_end(fields.get(key), inside(where, key), refusals) for key in ("ipv4", "ipv6")}
    built = []
    for number, end in enumerate(ends):
        extra = {key: values[number] for key, values in per_end.items() if values[number]}
        built.append(_endpoint(end, extra, f"{spot}[{number}]", refusals))
    mtu_bytes = fields.get("mtu")
    if mtu_bytes is not None:
        mtu_bytes = refusals.integer(mtu_bytes, inside(where, "mtu"), MTU_MIN_BYTES, MTU_MAX_BYTES)
    a, b = built
    return Link(a, b, mtu_bytes) if a and b else None


def _per_end(raw: object, where: str, refusals: Refusals) -> list[object]:
    """Read the link's own list of addresses, one for each end in order; an empty text means none."""
    values = refusals.sequence(raw, where)
    if len(values) > 2:
        refusals.add(where, f"must be at most two addresses, are {len(values)}")
    return [*values, None, None][:2]


def _endpoint(raw: object, extra: dict[str, object], where: str, refusals: Refusals) -> Endpoint | None:
    if isinstance(raw, str):
        node, colon, interface = raw.partition(":")
        if not (node and colon and interface):
            refusals.add(where, f"must be node:interface, is {raw}")
            return None
        fields: dict[str, object] = {"node": node, "interface": interface}
    else:
        fields = refusals.mapping(raw, where)
        refusals.only(fields, _ENDPOINT_KEYS, where)
    both = extra | {key: value for key, value in fields.items() if value is not None}
    node_name = refusals.text(both.get("node"), inside(where, "node"))
    name = refusals.text(both.get("interface"), inside(where, "interface"))
    if name is not None and (not _INTERFACE.match(name) or name in (".", "..", "lo")):
        refusals.add(where, f"not a possible interface name (1 to 15 characters, not lo): {name}")
    if node_name is None or name is None:
        return None
    ipv4, ipv6 = (_address(both, key, version, where, refusals) for key, version in (("ipv4", 4), ("ipv6", 6)))
    return Endpoint(node_name, name, _mac(both, where, refusals), ipv4, ipv6)


def _address(fields: dict[str, object], key: str, version: int, where: str, refusals: Refusals) -> str | None:
    if key not in fields:
        return None
    text = refusals.text(fields[key], inside(where, key))
    if text is None:
        return None
    try:
        interface = ipaddress.ip_interface(text)
    except ValueError:
        interface = None
    if interface is None or interface.version != version or "/" not in text:
        refusals.add(inside(where, key), f"must be an IPv{version} address with prefix length, is {text}")
        return None
    return interface.with_prefixlen


def _mac(fields: dict[str, object], where: str, refusals: Refusals) -> str | None:
    if "mac" not in fields:
        return None
    text = refusals.text(fields["mac"], inside(where, "mac"))
    if text is None:
        return None
    if not _MAC.match(text) or int(text[:2], 16) & 1:
        refusals.add(inside(where, "mac"), f"must be a unicast address such as 02:00:00:00:00:01, is {text}")
        return None
    return text.replace("-", ":").lower()
