"""Value types of networks: addresses, prefixes, AS numbers, communities, ports, rates.

Addresses come only from text, numbers are refused: `ipaddress` would read `0` as 0.0.0.0 and False as a prefix.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Annotated

from anycastd.config.shown import shown
from anycastd.config.values.eip import port_map_text, rate_text, read_backend, read_port_map, read_rate
from anycastd.config.values.fields import ValueType, choice, text_of, whole
from anycastd.model.address import Address, BackendId, Family, Prefix, known, known_address
from anycastd.model.eip import PortMap

_ASDOT = re.compile(r"([0-9]{1,5})\.([0-9]{1,5})\Z")
_COMMUNITY = re.compile(r"([0-9]{1,5}):([0-9]{1,5})\Z")
_LARGE = re.compile(r"([0-9]{1,10}):([0-9]{1,10}):([0-9]{1,10})\Z")
_WORDS = {"no-export": "65535:65281", "no-advertise": "65535:65282", "blackhole": "65535:666", "no-peer": "65535:65284"}
# RFC 7607 (0), RFC 6793 (23456), RFC 7300 (last of each size)
_RESERVED_ASN = {0: "RFC 7607", 23456: "AS_TRANS, RFC 6793", 65535: "RFC 7300", 4294967295: "RFC 7300"}


def _read_address(value: object) -> Address:
    text = text_of(value, "an address")
    if "/" in text:
        message = f"{shown(text)} is a prefix; an address is wanted, without /length"
        raise ValueError(message)
    if "%" in text:
        message = f"{shown(text)}: addresses with a zone (%device) are not supported"
        raise ValueError(message)
    try:
        address = known_address(text)
    except ValueError:
        message = f"{shown(text)} is not an address"
        raise ValueError(message) from None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        message = f"{shown(text)} is an IPv4 address in IPv6 form; write {address.ipv4_mapped}"
        raise ValueError(message)
    return address


def read_host_address(value: object) -> Address:
    """Return an address that one machine can have; raise ValueError with a sentence."""
    address = _read_address(value)
    if address.is_multicast or address.is_unspecified or address == IPv4Address("255.255.255.255"):
        message = f"{address} is not the address of one machine"
        raise ValueError(message)
    return address


def read_ipv4(value: object) -> IPv4Address:
    """Return an IPv4 address that one machine can have; raise ValueError with a sentence."""
    address = read_host_address(value)
    if isinstance(address, IPv4Address):
        return address
    message = f"{address} is an IPv6 address; an IPv4 address is wanted here"
    raise ValueError(message)


def read_ipv6(value: object) -> IPv6Address:
    """Return an IPv6 address that one machine can have; raise ValueError with a sentence."""
    address = read_host_address(value)
    if isinstance(address, IPv6Address):
        return address
    message = f"{address} is an IPv4 address; an IPv6 address is wanted here"
    raise ValueError(message)


def read_network(value: object) -> Prefix:
    """Return any prefix without host bits; raise ValueError with a sentence."""
    text = text_of(value, "a prefix")
    address, slash, length = text.partition("/")
    if not slash or "%" in address or not (length.isascii() and length.isdigit()):
        message = f"{shown(text)} is not a prefix; write it as 203.0.113.0/24"
        raise ValueError(message)
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        message = f"{shown(text)} is not a prefix"
        raise ValueError(message) from None
    if ip_address(address) != network.network_address:
        message = f"host bits are set; {network} is the prefix of that address"
        raise ValueError(message)
    return network


def read_prefix(value: object) -> Prefix:
    """Return a prefix that may be announced; raise ValueError with a sentence."""
    network = read_network(value)
    if network.prefixlen == 0:
        message = "a default route is not something a POP announces here"
        raise ValueError(message)
    if network.is_multicast or network.is_loopback or network.is_link_local:
        message = f"{network} is not unicast address space that can be announced"
        raise ValueError(message)
    return known(network)


def _read_asn(value: object) -> int:
    if isinstance(value, str) and value[:2].lower() == "as" and value[2:].isascii() and value[2:].isdigit():
        message = f"{shown(value)} is not a number; write {value[2:]}"
        raise ValueError(message)
    if isinstance(value, (float, str)) and not isinstance(value, bool) and (found := _ASDOT.match(str(value))):
        plain = int(found[1]) * 65536 + int(found[2])
        # 1.10 is already 1.1 when typed as a number, so the sum is only sure for quoted text
        hint = f"; write {plain}" if isinstance(value, str) else "; write it as one number (high x 65536 + low)"
        message = f"{shown(value)} is in asdot notation, which is not supported{hint}"
        raise ValueError(message)
    number = whole(0, 4294967295).read(value)
    if isinstance(number, int) and number not in _RESERVED_ASN:
        return number
    message = f"AS {number} is reserved" + (f" ({_RESERVED_ASN[number]})" if isinstance(number, int) else "")
    raise ValueError(message)


def _read_community(value: object) -> str:
    text = text_of(value, "a community")
    if text in _WORDS:
        # words are refused: some make ExaBGP 5.0.x run a command of that name
        message = f"{shown(text)}: write it in numbers, {_WORDS[text]!r}"
        raise ValueError(message)
    found = _COMMUNITY.match(text)
    if not found or max(int(found[1]), int(found[2])) > 65535:
        hint = "; this is a large community" if _LARGE.match(text) else ""
        message = f"{shown(text)} is not a community such as 64496:100{hint}"
        raise ValueError(message)
    return f"{int(found[1])}:{int(found[2])}"


def _read_large_community(value: object) -> str:
    text = text_of(value, "a large community")
    found = _LARGE.match(text)
    if not found or max(int(part) for part in found.groups()) > 4294967295:
        message = f"{shown(text)} is not a large community such as 64496:1:2"
        raise ValueError(message)
    return ":".join(str(int(part)) for part in found.groups())


def _read_listen_host(value: object) -> str:
    return str(_read_address(value))


AddressField = Annotated[Address, ValueType("address", read_host_address)]
Ipv4Field = Annotated[IPv4Address, ValueType("IPv4 address", read_ipv4)]
Ipv6Field = Annotated[IPv6Address, ValueType("IPv6 address", read_ipv6)]
ListenHost = Annotated[str, ValueType("address", _read_listen_host)]
PrefixField = Annotated[Prefix, ValueType("prefix", read_prefix)]
Asn = Annotated[int, ValueType("AS number", _read_asn)]
Community = Annotated[str, ValueType("community", _read_community)]
LargeCommunity = Annotated[str, ValueType("large community", _read_large_community)]
Port = Annotated[int, whole(1, 65535, "port")]
RateField = Annotated[int, ValueType("rate, 64kbit to 400gbit", read_rate, rate_text)]
PortMapField = Annotated[PortMap, ValueType("port map", read_port_map, port_map_text)]
BackendField = Annotated[BackendId, ValueType("region/backend", read_backend)]
FamilyField = Annotated[Family, choice(Family)]
