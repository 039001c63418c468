"""Value types of a check's own target: an address or a DNS name."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from anycastd.config.shown import shown
from anycastd.config.values.fields import ValueType, read_dns_name, text_of
from anycastd.config.values.net import read_host_address
from anycastd.model.address import Address


class TargetFamily(StrEnum):
    """Which addresses of a name are meant."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"

    @property
    def version(self) -> int:
        """Return the IP version."""
        return 4 if self is TargetFamily.IPV4 else 6


def read_target(value: object) -> Address | str:
    """Return an address, or a canonical name; raise ValueError with a sentence."""
    text = text_of(value, "an address or a DNS name")
    # a last label of digits alone is no name of the Internet (RFC 3696 section 2): it is an address with a mistake
    if ":" in text or text.rpartition(".")[2].isdigit():
        return read_host_address(text)
    try:
        return read_dns_name(text)
    except ValueError:
        message = f"{shown(text)} is not an address or a DNS name"
        raise ValueError(message) from None


TargetField = Annotated[Address | str, ValueType("address or DNS name", read_target)]
