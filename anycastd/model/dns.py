"""Words of the DNS that a configuration may hold: record types, answer codes, and values in one spelling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

MAX_NAME_BYTES = 255
MAX_LABEL_BYTES = 63
MAX_NUMBERS = {16: 65535, 32: 4294967295}


class RecordType(StrEnum):
    """The record types that can be asked for."""

    A = "A"
    AAAA = "AAAA"
    CNAME = "CNAME"
    MX = "MX"
    NS = "NS"
    PTR = "PTR"
    SOA = "SOA"
    SRV = "SRV"
    TXT = "TXT"


class Rcode(StrEnum):
    """The answer codes that can be wanted (RFC 1035 section 4.1.1, RFC 2136)."""

    NOERROR = "NOERROR"
    FORMERR = "FORMERR"
    SERVFAIL = "SERVFAIL"
    NXDOMAIN = "NXDOMAIN"
    NOTIMP = "NOTIMP"
    REFUSED = "REFUSED"


class Transport(StrEnum):
    """How a question is sent."""

    UDP = "udp"
    TCP = "tcp"


class Truncated(StrEnum):
    """What becomes of an answer that did not fit into its datagram: asked again over TCP, or a failure."""

    TCP = "tcp"
    FAIL = "fail"


def canonical_name(text: str) -> str:
    """Return a name in small letters without the dot at its end; `.` is the root. Names are not checked here."""
    return text.lower().removesuffix(".") or "."


def canonical(kind: RecordType, text: str) -> str:
    """Return a record's value in the one spelling in which answers are compared; raise ValueError with a sentence.

    `A 192.0.2.1`, `MX 10 mail.example.net`, `SRV 10 5 443 www.example.net`, `SOA mname rname serial refresh retry
    expire minimum`, `TXT` the strings put together.
    """
    if kind is RecordType.TXT:
        return text
    parts = text.split()
    forms = _FORMS[kind]
    if len(parts) != len(forms):
        message = f"'{text}' is not {_WANTED[kind]}"
        raise ValueError(message)
    try:
        return " ".join(form(part) for form, part in zip(forms, parts, strict=True))
    except ValueError:
        message = f"'{text}' is not {_WANTED[kind]}"
        raise ValueError(message) from None


def _number(bits: int) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not (text.isascii() and text.isdigit() and len(text) < 11 and int(text) <= MAX_NUMBERS[bits]):
            raise ValueError(text)
        return str(int(text))

    return read


def _name(text: str) -> str:
    name = canonical_name(text)
    labels = name.split(".") if name != "." else []
    if len(name) > MAX_NAME_BYTES - 2 or not all(0 < len(label) <= MAX_LABEL_BYTES for label in labels):
        raise ValueError(text)
    return name


_16, _32 = _number(16), _number(32)
_FORMS: Mapping[RecordType, tuple[Callable[[str], str], ...]] = {
    RecordType.A: (lambda text: str(IPv4Address(text)),),
    RecordType.AAAA: (lambda text: str(IPv6Address(text)),),
    RecordType.CNAME: (_name,),
    RecordType.MX: (_16, _name),
    RecordType.NS: (_name,),
    RecordType.PTR: (_name,),
    RecordType.SOA: (_name, _name, _32, _32, _32, _32, _32),
    RecordType.SRV: (_16, _16, _16, _name),
}
_WANTED: Mapping[RecordType, str] = {
    RecordType.A: "an IPv4 address",
    RecordType.AAAA: "an IPv6 address",
    RecordType.CNAME: "a name",
    RecordType.MX: "a preference and a name such as '10 mail.example.net'",
    RecordType.NS: "a name",
    RecordType.PTR: "a name",
    RecordType.SOA: "two names and five numbers (mname rname serial refresh retry expire minimum)",
    RecordType.SRV: "three numbers and a name such as '10 5 443 www.example.net'",
}
