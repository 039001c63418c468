"""Rules, devices and addresses: decoded netlink messages as values of the model, and back.

Knows the library's names for fields, but does not import it. Routes, which may be many, have `wire`.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any

from anycastd.model.address import Address
from anycastd.model.kernel import KernelRule, LinkView, MarkRule, SourceRule

Message = Any
IFF_UP = 1


def attributes(message: Message) -> dict[str, Any]:
    """Return a message's attributes by name."""
    return dict(message["attrs"])


def rule_of(message: Message, protocol: int) -> KernelRule | None:
    """Return a rule of our protocol from one source address or for a mark, or None."""
    have = attributes(message)
    if have.get("FRA_PROTOCOL") != protocol:
        return None
    table, preference = int(have.get("FRA_TABLE", message["table"])), int(have.get("FRA_PRIORITY", 0))
    source, mark = have.get("FRA_SRC"), have.get("FRA_FWMARK")
    if source is None and mark is not None:
        version = 4 if message["family"] == socket.AF_INET else 6
        return MarkRule(int(mark), int(have.get("FRA_FWMASK", 0xFFFFFFFF)), version, table, preference)
    if source is None or mark is not None or message["src_len"] not in (32, 128):
        return None
    return SourceRule(source=ip_address(source), table=table, preference=preference)


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
    """Return the device's index and our address: IFA_LOCAL, as IFA_ADDRESS is the peer's on point-to-point links."""
    have = attributes(message)
    text = have.get("IFA_LOCAL") or have.get("IFA_ADDRESS")
    return (int(message["index"]), ip_address(text)) if text else None


def rule_request(rule: KernelRule, protocol: int) -> dict[str, Any]:
    """Return the fields of a rule request."""
    what = (
        {"src": str(rule.source), "src_len": rule.source.max_prefixlen}
        if isinstance(rule, SourceRule)
        else {"fwmark": rule.mark, "fwmask": rule.mask}
    )
    return what | {
        "family": socket.AF_INET if rule.version == 4 else socket.AF_INET6,
        "table": rule.table,
        "priority": rule.preference,
        "protocol": protocol,
    }
