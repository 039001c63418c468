"""Value types of tunnels: our address with its network, 32-byte keys, endpoints."""

from __future__ import annotations

import base64
import binascii
import re
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any

from anycastd.config.shown import shown
from anycastd.config.values.fields import ValueType, text_of
from anycastd.config.values.net import read_host_address, read_ipv4, read_ipv6, read_network
from anycastd.model.address import Prefix, TunnelId
from anycastd.model.tunnel_device import Endpoint

KEY_BYTES = 32
"""Of a Curve25519 key."""


class OwnIpv4(IPv4Address):
    """Our IPv4 address on a device; `length` is of its network, None where none was written."""

    __slots__ = ("length",)

    def __init__(self, address: object, length: int | None = None) -> None:
        super().__init__(address)
        self.length = length

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.length)


class OwnIpv6(IPv6Address):
    """Our IPv6 address on a device; `length` is of its network, None where none was written."""

    __slots__ = ("length",)

    def __init__(self, address: object, length: int | None = None) -> None:
        super().__init__(address)
        self.length = length

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.length)


def _parts(value: object, bits: int) -> tuple[str, int | None]:
    text, slash, length = text_of(value, "an address").partition("/")
    if not slash:
        return text, None
    if not (length.isascii() and length.isdigit() and len(length) < 4 and 1 <= int(length) <= bits):
        message = f"{shown(value)}: the length of the network is not a number from 1 to {bits}"
        raise ValueError(message)
    return text, int(length)


def _read_own4(value: object) -> OwnIpv4:
    text, length = _parts(value, 32)
    return OwnIpv4(str(read_ipv4(text)), length)


def _read_own6(value: object) -> OwnIpv6:
    text, length = _parts(value, 128)
    return OwnIpv6(str(read_ipv6(text)), length)


def show_own(address: OwnIpv4 | OwnIpv6) -> str:
    """Return an own address as in the file."""
    return str(address) if address.length is None else f"{address}/{address.length}"


def _read_key(value: object) -> str:
    text = text_of(value, "a key; put it in quotes")
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != KEY_BYTES or base64.b64encode(raw).decode() != text:
        message = f"{shown(text)} is not a public key: 44 characters, as `wg pubkey` prints them"
        raise ValueError(message)
    return text


def _read_endpoint(value: object) -> Endpoint:
    text = text_of(value, "an endpoint")
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else 0
    if not colon or not 1 <= number <= 65535 or (":" in host) is not bracketed:
        message = f"{shown(text)} is not an endpoint; write 198.51.100.7:51820 or [2001:db8::7]:51820"
        raise ValueError(message)
    return Endpoint(read_host_address(host), number)


def _show_endpoint(endpoint: Endpoint) -> str:
    address, port = endpoint
    return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"


OwnIpv4Field = Annotated[OwnIpv4, ValueType("IPv4 address[/length]", _read_own4, show_own)]
OwnIpv6Field = Annotated[OwnIpv6, ValueType("IPv6 address[/length]", _read_own6, show_own)]
PublicKey = Annotated[str, ValueType("key", _read_key)]
EndpointField = Annotated[Endpoint, ValueType("address:port", _read_endpoint, _show_endpoint)]
NetworkField = Annotated[Prefix, ValueType("prefix", read_network)]

_TUNNEL = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}/[A-Za-z][A-Za-z0-9_-]{0,31}\Z")


def read_tunnel(value: object) -> TunnelId:
    """Return the id of a tunnel, `REGION/TUNNEL`; whether there is one is another question."""
    if not isinstance(value, str) or not _TUNNEL.match(value):
        message = f"{shown(value)} does not name a tunnel; write REGION/TUNNEL, such as eu-central/euc-1"
        raise ValueError(message)
    return TunnelId(value)


TunnelField = Annotated[TunnelId, ValueType("region/tunnel", read_tunnel)]
