"""Netlink messages as values of the model, and back. Knows pyroute2's names for fields, but does not import it.

Normalised so that what is wanted compares equal to what is read: devices by name, the on-link flag left out (every
next hop of ours is on-link), the `lo` that the kernel puts on IPv6 blackholes left out.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from anycastd.model.address import Address
from anycastd.model.kernel import KernelRoute, KernelRule, LinkView, RouteKind

Message = Any
RTN_UNICAST, RTN_BLACKHOLE = 1, 6
KINDS = {RTN_UNICAST: RouteKind.UNICAST, RTN_BLACKHOLE: RouteKind.BLACKHOLE}
IFF_UP = 1


def attributes(message: Message) -> dict[str, Any]:
    """Return a message's attributes by name."""
    return dict(message["attrs"])


def route_of(message: Message, names: Mapping[int, str]) -> KernelRoute | None:
    """Return a route, or None for a kind that we never make (multipath, local, ...)."""
    have = attributes(message)
    kind = KINDS.get(message["type"])
    if kind is None:
        return None
    everything = "0.0.0.0" if message["family"] == socket.AF_INET else "::"
    prefix = ip_network(f"{have.get('RTA_DST', everything)}/{message['dst_len']}")
    unicast = kind is RouteKind.UNICAST
    gateway = have.get("RTA_GATEWAY")
    return KernelRoute(
        prefix=prefix,
        kind=kind,
        metric=int(have.get("RTA_PRIORITY", 0)),
        table=int(have.get("RTA_TABLE", message["table"])),
        via=ip_address(gateway) if unicast and gateway else None,
        device=names.get(have.get("RTA_OIF", 0)) if unicast else None,
    )


def rule_of(message: Message) -> KernelRule | None:
    """Return a rule from one source address, or None for one that we never make."""
    have = attributes(message)
    source = have.get("FRA_SRC")
    if source is None or message["src_len"] not in (32, 128):
        return None
    table = int(have.get("FRA_TABLE", message["table"]))
    return KernelRule(source=ip_address(source), table=table, preference=int(have.get("FRA_PRIORITY", 0)))


def link_of(message: Message, addresses: frozenset[Address]) -> LinkView:
    """Return a device with the addresses it carries."""
    have = attributes(message)
    return LinkView(
        name=str(have["IFLA_IFNAME"]),
        index=int(message["index"]),
        admin_up=bool(message["flags"] & IFF_UP),
        carrier=bool(have.get("IFLA_CARRIER", 0)),
        operstate=str(have.get("IFLA_OPERSTATE", "UNKNOWN")).lower(),
        addresses=addresses,
    )


def address_of(message: Message) -> tuple[int, Address] | None:
    """Return the device's index and its own address (IFA_LOCAL on a point-to-point link, RFC-less kernel custom)."""
    have = attributes(message)
    text = have.get("IFA_LOCAL") or have.get("IFA_ADDRESS")
    return (int(message["index"]), ip_address(text)) if text else None


def route_request(route: KernelRoute, indexes: Mapping[str, int], protocol: int) -> dict[str, Any]:
    """Return the fields of a route request; KeyError when its device does not exist."""
    fields: dict[str, Any] = {
        "dst": str(route.prefix),
        "family": socket.AF_INET if route.prefix.version == 4 else socket.AF_INET6,
        "priority": route.metric,
        "table": route.table,
        "proto": protocol,
    }
    if route.kind is RouteKind.BLACKHOLE:
        return fields | {"type": "blackhole"}
    if route.via is not None:
        fields |= {"gateway": str(route.via), "flags": ["onlink"]}
    return fields | {"oif": indexes[str(route.device)]}


def rule_request(rule: KernelRule, protocol: int) -> dict[str, Any]:
    """Return the fields of a rule request."""
    return {
        "src": str(rule.source),
        "src_len": rule.source.max_prefixlen,
        "family": socket.AF_INET if rule.source.version == 4 else socket.AF_INET6,
        "table": rule.table,
        "priority": rule.preference,
        "protocol": protocol,
    }
