"""DNS messages to and from bytes (RFC 1035, RFC 3596, RFC 2782, RFC 6891). Pure; reads answers only.

`decode` takes any bytes and raises nothing but DnsError. All of it is bounded: a name has 255 bytes and follows at most
127 pointers, each of which must lead backwards, and at most MAX_RECORDS answers are read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from anycastd.errors import PacketError
from anycastd.model.dns import MAX_LABEL_BYTES, MAX_NAME_BYTES, RecordType, canonical_name

TYPE_NUMBERS: Mapping[RecordType, int] = {
    RecordType.A: 1,
    RecordType.NS: 2,
    RecordType.CNAME: 5,
    RecordType.SOA: 6,
    RecordType.PTR: 12,
    RecordType.MX: 15,
    RecordType.TXT: 16,
    RecordType.AAAA: 28,
    RecordType.SRV: 33,
}
TYPES_BY_NUMBER: Mapping[int, RecordType] = {number: kind for kind, number in TYPE_NUMBERS.items()}
RCODE_NAMES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")
IN = 1
OPT = 41
UDP_BYTES = 1232
"""What we say we take in one datagram (RFC 6891): no fragments at an MTU of 1280."""
MAX_RECORDS = 256
MAX_POINTERS = 127
MAX_CHAIN = 16
_HEADER = struct.Struct("!6H")
_FIXED = struct.Struct("!HHIH")
_RESPONSE, _OPCODE, _TRUNCATED, _RECURSION = 0x8000, 0x7800, 0x0200, 0x0100


class DnsError(PacketError):
    """These bytes are not a DNS message, or this name cannot be in one."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked; `name` is canonical (`model.dns.canonical_name`)."""

    name: str
    kind: RecordType


@dataclass(frozen=True, slots=True)
class Record:
    """One answer record; `value` is canonical text, empty for a type that we do not read."""

    name: str
    kind: RecordType | None
    ttl_s: int
    value: str


@dataclass(frozen=True, slots=True)
class Message:
    """One answer. `question` is None where the server sent none back (some do with an error)."""

    id: int
    rcode: str
    truncated: bool
    question: tuple[str, int, int] | None
    answers: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """The values at the end of the aliases, how long they hold, and the name that has them."""

    values: tuple[str, ...]
    ttl_s: int
    name: str


def encode_query(id_: int, question: Question, *, recursion: bool = True) -> bytes:
    """Return a query with an EDNS record. Raise DnsError for a name that is none."""
    flags = _RECURSION if recursion else 0
    head = _HEADER.pack(id_, flags, 1, 0, 0, 1)
    asked = _encode_name(question.name) + struct.pack("!HH", TYPE_NUMBERS[question.kind], IN)
    return head + asked + b"\0" + _FIXED.pack(OPT, UDP_BYTES, 0, 0)


def _encode_name(name: str) -> bytes:
    labels = [] if name == "." else name.split(".")
    parts = []
    for label in labels:
        raw = label.encode("ascii", "replace")
        if not 0 < len(raw) <= MAX_LABEL_BYTES:
            message = f"'{name}' is not a name"
            raise DnsError(message)
        parts.append(bytes((len(raw),)) + raw)
    encoded = b"".join(parts) + b"\0"
    if len(encoded) > MAX_NAME_BYTES:
        message = f"'{name}' is longer than {MAX_NAME_BYTES} bytes"
        raise DnsError(message)
    return encoded


def decode(data: bytes) -> Message:
    """Return the answer in these bytes. Raise DnsError, and nothing else, for bytes that hold none."""
    if len(data) < _HEADER.size:
        message = f"{len(data)} bytes are no DNS message"
        raise DnsError(message)
    id_, flags, questions, answers, _, _ = _HEADER.unpack_from(data)
    if not flags & _RESPONSE or flags & _OPCODE:
        message = "not an answer to a query"
        raise DnsError(message)
    if questions > 1:
        message = f"{questions} questions in an answer"
        raise DnsError(message)
    number = flags & 0xF
    rcode = RCODE_NAMES[number] if number < len(RCODE_NAMES) else f"RCODE{number}"
    truncated = bool(flags & _TRUNCATED)
    at, question = _HEADER.size, None
    if questions:
        name, at = _name(data, at)
        kind, class_ = _unpack("!HH", data, at)
        at, question = at + 4, (name, kind, class_)
    # a truncated message may end anywhere (RFC 2181 section 9): its records are not looked at
    records = () if truncated else _records(data, at, answers)
    return Message(id_, rcode, truncated, question, records)


def _records(data: bytes, at: int, count: int) -> tuple[Record, ...]:
    if count > MAX_RECORDS:
        message = f"more than {MAX_RECORDS} records"
        raise DnsError(message)
    records = []
    for _ in range(count):
        name, at = _name(data, at)
        number, class_, ttl_s, length = _unpack("!HHIH", data, at)
        at += _FIXED.size
        end = at + length
        if end > len(data):
            message = "a record ends behind the message"
            raise DnsError(message)
        kind = TYPES_BY_NUMBER.get(number) if class_ == IN else None
        value = _READERS[kind](data, at, end) if kind is not None else ""
        # RFC 2181 section 8: a TTL with the highest bit set counts as 0
        records.append(Record(name, kind, ttl_s if ttl_s < 1 << 31 else 0, value))
        at = end
    return tuple(records)


def _unpack(form: str, data: bytes, at: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(form, data, at)
    except struct.error:
        message = "the message ends too early"
        raise DnsError(message) from None


def _name(data: bytes, at: int) -> tuple[str, int]:
    """Return the canonical name that begins at a place, and where what follows it begins."""
    labels: list[bytes] = []
    size, pointers, lowest, after = 1, 0, at, -1
    while True:
        (length,) = _unpack("!B", data, at)
        if length >= 0xC0:
            (word,) = _unpack("!H", data, at)
            after = at + 2 if after < 0 else after
            at = word & 0x3FFF
            pointers += 1
            # only backwards: it ends, whatever the bytes are
            if at >= lowest or pointers > MAX_POINTERS:
                message = "a name leads to itself"
                raise DnsError(message)
            lowest = at
            continue
        if length > MAX_LABEL_BYTES or at + 1 + length > len(data):
            message = "a label that is none"
            raise DnsError(message)
        if not length:
            return _text(labels), (at + 1 if after < 0 else after)
        size += 1 + length
        if size > MAX_NAME_BYTES:
            message = f"a name of more than {MAX_NAME_BYTES} bytes"
            raise DnsError(message)
        labels.append(data[at + 1 : at + 1 + length])
        at += 1 + length


def _text(labels: list[bytes]) -> str:
    """Return labels as text; what is no plain character, and a dot or a backslash in a label, is written `\\DDD`."""
    if not labels:
        return "."
    return ".".join(
        "".join(chr(byte) if 33 <= byte <= 126 and byte not in b".\\" else f"\\{byte:03d}" for byte in label)
        for label in labels
    ).lower()


def _address(form: type[IPv4Address | IPv6Address], size: int) -> Callable[[bytes, int, int], str]:
    def read(data: bytes, at: int, end: int) -> str:
        if end - at != size:
            message = f"an address of {end - at} bytes"
            raise DnsError(message)
        return str(form(data[at:end]))

    return read


def _with_numbers(form: str, names: int = 1, after: str = "") -> Callable[[bytes, int, int], str]:
    """Return the reader of data that is numbers, names, numbers."""

    def read(data: bytes, at: int, end: int) -> str:
        words = [str(number) for number in _unpack(form, data, at)]
        at += struct.calcsize(form)
        for _ in range(names):
            name, at = _name(data, at)
            words.append(name)
        words += [str(number) for number in _unpack(after, data, at)]
        if at + struct.calcsize(after) != end:
            message = "a record of another length than it says"
            raise DnsError(message)
        return " ".join(words)

    return read


def _strings(data: bytes, at: int, end: int) -> str:
    parts = []
    while at < end:
        length = data[at]
        if at + 1 + length > end:
            message = "a text that ends behind its record"
            raise DnsError(message)
        parts.append(data[at + 1 : at + 1 + length])
        at += 1 + length
    return b"".join(parts).decode("utf-8", "backslashreplace")


_READERS: Mapping[RecordType, Callable[[bytes, int, int], str]] = {
    RecordType.A: _address(IPv4Address, 4),
    RecordType.AAAA: _address(IPv6Address, 16),
    RecordType.CNAME: _with_numbers("!"),
    RecordType.NS: _with_numbers("!"),
    RecordType.PTR: _with_numbers("!"),
    RecordType.MX: _with_numbers("!H"),
    RecordType.SRV: _with_numbers("!HHH"),
    RecordType.SOA: _with_numbers("!", 2, "!5I"),
    RecordType.TXT: _strings,
}


def belongs(message: Message, id_: int, question: Question) -> bool:
    """Return whether a message answers this question; one with an error code may leave the question out."""
    if message.id != id_:
        return False
    if message.question is None:
        return message.rcode != "NOERROR"
    return message.question == (question.name, TYPE_NUMBERS[question.kind], IN)


def answer_of(message: Message, question: Question) -> Answer:
    """Return the values asked for, behind up to MAX_CHAIN aliases; none of them is no error."""
    name, ttls = question.name, [1 << 31]
    for _ in range(MAX_CHAIN):
        found = [record for record in message.answers if record.name == name and record.kind is question.kind]
        if found:
            ttls += [record.ttl_s for record in found]
            return Answer(tuple(sorted({record.value for record in found})), min(ttls), name)
        alias = next((r for r in message.answers if r.name == name and r.kind is RecordType.CNAME), None)
        if alias is None:
            break
        ttls.append(alias.ttl_s)
        name = canonical_name(alias.value)
    return Answer((), 0, name)
