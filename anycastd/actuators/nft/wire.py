"""Elements of sets as the kernel's bytes (nfnetlink, linux/netfilter/nf_tables.h), and back.

A message holds one element, so that the kernel's answer names the one it refuses. All elements of a set have one
shape: it is learnt from the first, and the rest of a dump is cut by fixed offsets, in a tenth of the time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

from anycastd.actuators.nft.layout import LAYOUTS
from anycastd.errors import PacketError
from anycastd.model.nft import NftSet

SUBSYSTEM = 10
NEWTABLE, GETTABLE, GETCHAIN, GETRULE = 0, 1, 4, 7
NEWSETELEM, GETSETELEM, DELSETELEM, NEWGEN, GETGEN, GETOBJ = 12, 13, 14, 15, 16, 19
BATCH_BEGIN, BATCH_END = 0x10, 0x11
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_CREATE, NLM_F_DUMP_INTR = 0x001, 0x004, 0x300, 0x400, 0x010
INET = 1
LIST_TABLE, LIST_SET, LIST_ELEMENTS = 1, 2, 3
ELEM_KEY, ELEM_DATA, ELEM_FLAGS, ELEM_EXPR, ELEM_EXPRESSIONS = 1, 2, 3, 7, 11
INTERVAL_END, CATCHALL = 1, 2
NESTED = 0x8000

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_U32, _BE32, _U64 = struct.Struct("=I"), struct.Struct(">I"), struct.Struct(">Q")
HEADERS = 20
"""Bytes of nlmsghdr and nfgenmsg."""


def attribute(what: int, value: bytes) -> bytes:
    """Return an attribute, padded."""
    return _ATTRIBUTE.pack(4 + len(value), what) + value + bytes(-len(value) % 4)


def nested(what: int, *parts: bytes) -> bytes:
    """Return an attribute of attributes."""
    return attribute(what | NESTED, b"".join(parts))


def text(what: int, value: str) -> bytes:
    """Return an attribute with a terminated string."""
    return attribute(what, value.encode() + b"\0")


def attributes(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the type, start and end of each attribute; PacketError when one does not fit."""
    while at + 4 <= end:
        width, what = _ATTRIBUTE.unpack_from(data, at)
        if width < 4 or at + width > end:
            message = f"netlink attribute of {width} bytes"
            raise PacketError(message)
        yield what & 0x3FFF, at + 4, at + width
        at += (width + 3) & ~3


def values(data: bytes, at: int, end: int) -> dict[int, bytes]:
    """Return attributes by type; of several with one type the last."""
    return {what: data[start:stop] for what, start, stop in attributes(data, at, end)}


def message(verb: int, flags: int, sequence: int, body: bytes, *, family: int = INET, resource: int = 0) -> bytes:
    """Return one message; `verb` carries the subsystem in its upper byte."""
    head = _HEADER.pack(HEADERS + len(body), verb, flags, sequence, 0)
    return head + struct.pack(">BBH", family, 0, resource) + body


def request(verb: int, flags: int, sequence: int, body: bytes = b"", *, family: int = INET) -> bytes:
    """Return one message of nf_tables."""
    return message(SUBSYSTEM << 8 | verb, NLM_F_REQUEST | flags, sequence, body, family=family)


def batch(messages: Sequence[bytes], sequence: int) -> bytes:
    """Return a transaction: all or nothing. Its messages have the sequence numbers behind `sequence`."""
    begin = message(BATCH_BEGIN, NLM_F_REQUEST, sequence, b"", family=0, resource=SUBSYSTEM)
    end = message(BATCH_END, NLM_F_REQUEST, sequence + len(messages) + 1, b"", family=0, resource=SUBSYSTEM)
    return b"".join((begin, *messages, end))


class Reply(NamedTuple):
    """A message from the kernel: where its body begins and ends in `data`."""

    data: bytes
    type: int
    flags: int
    sequence: int
    sender: int
    start: int
    end: int

    @property
    def error(self) -> int:
        """Return the errno of an NLMSG_ERROR; 0 is an acknowledgement."""
        return -int(struct.unpack_from("=i", self.data, self.start)[0])

    @property
    def body(self) -> int:
        """Return where its attributes begin, behind nfgenmsg."""
        return self.start + 4


def replies(data: bytes) -> Iterator[Reply]:
    """Yield the messages of one datagram."""
    at = 0
    while at + 16 <= len(data):
        size, kind, flags, sequence, sender = _HEADER.unpack_from(data, at)
        if size < 16 or at + size > len(data):
            what = f"netlink message of {size} bytes"
            raise PacketError(what)
        yield Reply(data, kind, flags, sequence, sender, at + 16, at + size)
        at += (size + 3) & ~3


_TYPE_AND_SEQUENCE = struct.Struct("=4xH2xI")


def type_and_sequence(data: bytes) -> tuple[int, int]:
    """Return both of a datagram's first message."""
    kind, sequence = _TYPE_AND_SEQUENCE.unpack_from(data)
    return kind, sequence


def sequence_at(data: bytes, sequence: int) -> bytes:
    """Return a message with its sequence number put in."""
    return data[:8] + _U32.pack(sequence) + data[12:]


@cache
def _frame(table: str, name: NftSet) -> bytes:
    return text(LIST_TABLE, table) + text(LIST_SET, name.value)


def dump_set(table: str, name: NftSet, sequence: int) -> bytes:
    """Return a request for all elements of a set."""
    return request(GETSETELEM, NLM_F_DUMP, sequence, _frame(table, name))


class _Form(NamedTuple):
    """A message of a set with holes for the key and, if the set's elements hold something, for that."""

    head: bytes
    middle: bytes
    tail: bytes


@cache
def _form(table: str, name: NftSet, verb: int, flags: int, *, end: bool = False) -> _Form:
    layout, value_hole, more = LAYOUTS[name], b"", b""
    key_hole = b"\xfaKEY" * (layout.key_bytes // 4)
    if verb == NEWSETELEM and layout.data:
        value_hole = b"\xfaVAL" * (layout.data_bytes // 4)
        more = nested(ELEM_DATA, attribute(1, value_hole))
    if verb == NEWSETELEM and layout.limit:
        value_hole = b"\xfaVAL" * (_LIMIT_BYTES // 4)
        more = nested(ELEM_EXPRESSIONS, value_hole, _COUNTER)
    if end:
        more += attribute(ELEM_FLAGS, _BE32.pack(INTERVAL_END))
    element = nested(LIST_ELEMENTS, nested(1, nested(ELEM_KEY, attribute(1, key_hole)), more))
    whole = request(verb, flags, 0, _frame(table, name) + element)
    head, rest = whole.split(key_hole)
    middle, tail = rest.split(value_hole) if value_hole else (rest, b"")
    return _Form(head, middle, tail)


def encode_put(table: str, name: NftSet, key: bytes, value: bytes, *, end: bool = False) -> bytes:
    """Return a message that adds an element, with sequence number 0; `end`: the end of an interval."""
    head, middle, tail = _form(table, name, NEWSETELEM, NLM_F_CREATE, end=end)
    if value and LAYOUTS[name].limit:
        value = _limit(value)
    return b"".join((head, key, middle, value, tail))


def encode_drop(table: str, name: NftSet, key: bytes, *, end: bool = False) -> bytes:
    """Return a message that deletes an element, with sequence number 0."""
    head, middle, _ = _form(table, name, DELSETELEM, 0, end=end)
    return head + key + middle


def encode_get(table: str, name: NftSet, key: bytes) -> bytes:
    """Return a request for one element, with sequence number 0."""
    head, middle, _ = _form(table, name, GETSETELEM, 0)
    return head + key + middle


def _expression(name: str, *parts: bytes) -> bytes:
    return nested(1, text(1, name), nested(2, *parts))


_COUNTER = _expression("counter", attribute(1, bytes(8)), attribute(2, bytes(8)))


@lru_cache(maxsize=4096)
def _limit(value: bytes) -> bytes:
    pieces = (value[0:8], value[8:16], value[16:20], value[20:24], value[24:28])
    return _expression("limit", *(attribute(what, piece) for what, piece in enumerate(pieces, 1)))


_LIMIT_BYTES = len(_limit(bytes(28)))


@lru_cache(maxsize=4096)
def _limit_value(data: bytes) -> bytes:
    """Return a limit's attributes in the form of `codec.LIMIT`, whatever their order."""
    have = values(data, 0, len(data))
    widths = (8, 8, 4, 4, 4)
    return b"".join(have.get(what, b"").rjust(width, b"\0") for what, width in enumerate(widths, 1))


class Element(NamedTuple):
    """One element as read; `value` as of `codec.encode_value`. `flags`: the end of an interval, or a catch-all."""

    key: bytes
    value: bytes = b""
    packets: int = 0
    bytes: int = 0
    flags: int = 0


class _Spans(NamedTuple):
    """Where the parts of an element lie in its bytes; empty ones at 0."""

    key: tuple[int, int] = (0, 0)
    data: tuple[int, int] = (0, 0)
    flags: tuple[int, int] = (0, 0)
    limit: tuple[int, int] = (0, 0)
    packets: tuple[int, int] = (0, 0)
    bytes: tuple[int, int] = (0, 0)


def _spans(data: bytes) -> _Spans:
    spans = _Spans()
    for what, start, end in attributes(data, 0, len(data)):
        if what in (ELEM_KEY, ELEM_DATA):
            for _, low, high in attributes(data, start, end):
                spans = spans._replace(**{"key" if what == ELEM_KEY else "data": (low, high)})
        elif what == ELEM_FLAGS:
            spans = spans._replace(flags=(start, end))
        elif what == ELEM_EXPR:
            spans = _expression_spans(data, start, end, spans)
        elif what == ELEM_EXPRESSIONS:
            for _, low, high in attributes(data, start, end):
                spans = _expression_spans(data, low, high, spans)
    return spans


def _expression_spans(data: bytes, start: int, end: int, spans: _Spans) -> _Spans:
    name = b""
    for what, low, high in attributes(data, start, end):
        if what == 1:
            name = data[low:high].rstrip(b"\0")
        elif name == b"limit":
            spans = spans._replace(limit=(low, high))
        elif name == b"counter":
            for which, first, last in attributes(data, low, high):
                if which == 1:
                    spans = spans._replace(bytes=(first, last))
                elif which == 2:
                    spans = spans._replace(packets=(first, last))
    return spans


def parse_element(data: bytes) -> Element:
    """Return one element of any shape."""
    spans = _spans(data)

    def number(span: tuple[int, int]) -> int:
        return int.from_bytes(data[slice(*span)], "big")

    limit = data[slice(*spans.limit)]
    value = _limit_value(limit) if limit else data[slice(*spans.data)]
    return Element(data[slice(*spans.key)], value, number(spans.packets), number(spans.bytes), number(spans.flags))


class _Shape:
    """The one shape that a set's elements have: what is constant, and where the rest lies.

    `before` bytes come before each element, of which those of `loose` may be anything.
    """

    def __init__(self, data: bytes, before: int, loose: tuple[int, int] = (0, 0)) -> None:
        spans = _Spans(*((low + before, high + before) if high else (0, 0) for low, high in _spans(data[before:])))
        self.size = len(data)
        self.limited = spans.limit != (0, 0)
        self.counted = spans.packets != (0, 0) and spans.bytes != (0, 0)
        value = spans.limit if self.limited else spans.data
        named = {"": loose, "key": spans.key, "value": value, "packets": spans.packets, "bytes": spans.bytes}
        at, form, constant = 0, "=", []
        self.at: dict[str, int] = {}
        for name, (start, end) in sorted(named.items(), key=lambda item: item[1]):
            if start == end:
                continue
            form += f"{start - at}s{end - start}s"
            constant.append(data[at:start])
            self.at[name] = 2 * len(self.at) + 1
            at = end
        constant.append(data[at:])
        self.struct = struct.Struct(f"{form}{self.size - at}s")
        self.constant = tuple(constant)
        self.usable = spans.flags == (0, 0) and spans.key != (0, 0) and not self.size % 4

    def cut(self, data: bytes | memoryview) -> list[tuple[bytes, ...]] | None:
        """Return each element's pieces, or None when one has another shape."""
        if not self.usable or len(data) % self.size:
            return None
        rows = list(self.struct.iter_unpack(data))
        if {row[::2] for row in rows} != {self.constant}:
            return None
        return rows

    def values(self, rows: list[tuple[bytes, ...]]) -> list[tuple[bytes, bytes, int]]:
        """Return (key, value, flags) of each."""
        key, value = self.at["key"], self.at.get("value")
        if value is None:
            return [(row[key], b"", 0) for row in rows]
        if self.limited:
            return [(row[key], _limit_value(row[value]), 0) for row in rows]
        return [(row[key], row[value], 0) for row in rows]


def _lists(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each message of a datagram has its list of elements."""
    for reply in replies(data):
        if reply.type == SUBSYSTEM << 8 | NEWSETELEM:
            for what, start, end in attributes(data, reply.body, reply.end):
                if what == LIST_ELEMENTS and start < end:
                    yield start, end


class ElementReader:
    """Reads the elements out of one set's datagrams."""

    def __init__(self) -> None:
        self._shape: _Shape | None = None

    def values(self, data: bytes) -> Iterator[list[tuple[bytes, bytes, int]]]:
        """Yield lists of (key, value, flags), one for each message of a datagram."""
        for start, end in _lists(data):
            shape, rows = self._rows(data, start, end)
            if rows is None:
                yield [(one.key, one.value, one.flags) for one in _each(data, start, end)]
            else:
                yield shape.values(rows)

    def counters(self, data: bytes) -> Iterator[list[tuple[bytes, int, int]]]:
        """Yield lists of (key, packets, bytes), one for each message of a datagram."""
        number = int.from_bytes
        for start, end in _lists(data):
            shape, rows = self._rows(data, start, end)
            if rows is None or not shape.counted:
                yield [(one.key, one.packets, one.bytes) for one in _each(data, start, end)]
                continue
            key, packets, octets = shape.at["key"], shape.at["packets"], shape.at["bytes"]
            yield [(row[key], number(row[packets], "big"), number(row[octets], "big")) for row in rows]

    def _rows(self, data: bytes, start: int, end: int) -> tuple[_Shape, list[tuple[bytes, ...]] | None]:
        if self._shape is None:
            _, low, high = next(attributes(data, start, end))
            self._shape = _Shape(data[low - 4 : high], 4)
        return self._shape, self._shape.cut(memoryview(data)[start:end])


def single_values(datagrams: Sequence[bytes]) -> list[tuple[bytes, bytes, int]]:
    """Return (key, value, flags) of elements that were asked for one by one, each a datagram of its own."""
    for start, end in _lists(datagrams[0]) if datagrams else ():
        _, low, _ = next(attributes(datagrams[0], start, end))
        shape = _Shape(datagrams[0], low, (8, 12))
        if all(len(one) == shape.size for one in datagrams):
            rows = shape.cut(b"".join(datagrams))
            if rows is not None:
                return shape.values(rows)
    reader = ElementReader()
    return [row for one in datagrams for rows in reader.values(one) for row in rows]


def _each(data: bytes, start: int, end: int) -> Iterator[Element]:
    for _, low, high in attributes(data, start, end):
        yield parse_element(data[low:high])
