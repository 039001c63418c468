"""The codec: what it reads, and that no bytes bring it to anything but its one error."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anycastd.model.dns import RecordType, canonical
from anycastd.probes.dns.wire import (
    MAX_RECORDS,
    DnsError,
    Message,
    Question,
    answer_of,
    belongs,
    decode,
    encode_query,
)
from tests.unit.probes.name_server import NUMBERS, QUESTION, Query, data, encode_name, record, reply

WWW = Question("www.example.net", RecordType.A)
HEADER = b"\x00\x07\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00"


def asked(question: Question = WWW, id_: int = 7) -> Query:
    return Query(encode_query(id_, question), over_tcp=False)


def test_a_query_is_one_question_with_edns() -> None:
    query = asked()
    assert (query.id, query.name, query.kind, query.recursion) == (7, "www.example.net", "A", True)
    assert query.raw[12 + len(query.question) :] == bytes.fromhex("0000 2904d0 00000000 0000".replace(" ", ""))
    assert not Query(encode_query(1, WWW, recursion=False), over_tcp=False).recursion


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64 + ".net", ".".join(["y" * 60] * 5)])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(DnsError):
        encode_query(1, Question(name, RecordType.A))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("A", "192.0.2.1"),
        ("AAAA", "2001:db8::1"),
        ("CNAME", "web.example.net"),
        ("NS", "ns1.example.net"),
        ("PTR", "host.example.net"),
        ("MX", "10 mail.example.net"),
        ("SRV", "1 2 443 www.example.net"),
        ("SOA", "ns1.example.net admin.example.net 2026010101 7200 3600 1209600 300"),
        ("TXT", "v=spf1 -all"),
        ("TXT", "x" * 700),
    ],
)
def test_every_type_is_read(kind: str, value: str) -> None:
    question = Question("www.example.net", RecordType(kind))
    message = decode(reply(asked(question), record(QUESTION, kind, value, ttl_s=60)))
    assert belongs(message, 7, question)
    assert answer_of(message, question).values == (value,)
    assert answer_of(message, question).ttl_s == 60
    assert canonical(RecordType(kind), value) == value


def test_aliases_are_followed_and_the_smallest_ttl_counts() -> None:
    chain = [
        record(QUESTION, "CNAME", "A.example.net", ttl_s=40),
        record(encode_name("a.EXAMPLE.net"), "CNAME", "b.example.net", ttl_s=300),
        record(encode_name("b.example.net"), "A", "192.0.2.2", ttl_s=50),
        record(encode_name("b.example.net"), "A", "192.0.2.1", ttl_s=50),
        record(encode_name("stranger.example.net"), "A", "192.0.2.66", ttl_s=1),
    ]
    answer = answer_of(decode(reply(asked(), *chain)), WWW)
    assert (answer.values, answer.ttl_s, answer.name) == (("192.0.2.1", "192.0.2.2"), 40, "b.example.net")


def test_aliases_in_a_circle_have_no_value() -> None:
    circle = [
        record(QUESTION, "CNAME", "a.example.net"),
        record(encode_name("a.example.net"), "CNAME", "www.example.net"),
    ]
    assert answer_of(decode(reply(asked(), *circle)), WWW).values == ()


def test_what_is_not_our_answer_does_not_belong() -> None:
    query = asked()
    assert not belongs(decode(reply(query, id_=8)), 7, WWW)
    assert not belongs(decode(reply(query, question=encode_name("other.example.net") + b"\0\1\0\1")), 7, WWW)
    assert not belongs(decode(reply(query, question=b"")), 7, WWW)
    assert belongs(decode(reply(query, question=b"", rcode=1)), 7, WWW)
    assert belongs(decode(reply(query, question=query.question.replace(b"www", b"WwW"))), 7, WWW)


@pytest.mark.parametrize(
    "tail",
    [
        b"\xc0\x0c",  # to itself
        b"\xc0\x0e\xc0\x0c",  # to what leads back
        b"\xc0\xff",  # behind the end
        b"\x40aaa",  # a label of a kind that is none
        b"\x3fabc",  # longer than the message
        b"\x01a" * 200 + b"\0",  # longer than a name may be
    ],
)
def test_names_that_never_end_are_refused(tail: bytes) -> None:
    with pytest.raises(DnsError):
        decode(HEADER + tail + b"\0\1\0\1")


def test_pointers_that_lead_through_the_whole_message_are_bounded() -> None:
    """A chain of pointers, each to the one before: as cheap as any other message."""
    links = b"\0" + b"".join(struct.pack("!H", 0xC000 | (22 + 2 * n if n else 23)) for n in range(4000))
    holder = b"\0" + struct.pack("!HHIH", 99, 1, 0, len(links)) + links
    with pytest.raises(DnsError, match="leads to itself"):
        decode(HEADER[:4] + b"\0\0\0\2" + b"\0" * 4 + holder + struct.pack("!H", 0xC000 | (22 + 2 * 4000)))


def test_records_are_bounded() -> None:
    records = [record(QUESTION, "A", "192.0.2.1")] * (MAX_RECORDS + 1)
    with pytest.raises(DnsError, match=str(MAX_RECORDS)):
        decode(reply(asked(), *records))


@pytest.mark.parametrize("kind", [kind for kind in NUMBERS if kind != "TXT"])
def test_data_of_a_wrong_length_is_refused(kind: str) -> None:
    values = {"A": "192.0.2.1", "AAAA": "::1", "MX": "1 a", "SRV": "1 2 3 a", "SOA": "a b 1 2 3 4 5"}
    raw = data(kind, values.get(kind, "a.b")) + b"\0"
    odd = QUESTION + struct.pack("!HHIH", NUMBERS[kind], 1, 1, len(raw)) + raw
    with pytest.raises(DnsError):
        decode(reply(asked(), odd))


def read(raw: bytes) -> Message | None:
    """Return the message, or None where it is refused; anything else fails the test."""
    with contextlib.suppress(DnsError):
        return decode(raw)
    return None


@settings(max_examples=150)
@given(st.binary(max_size=600))
@example(HEADER + b"\xc0\x0c\0\1\0\1")
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    read(raw)
    read(HEADER + raw)


WHOLE = reply(
    asked(),
    record(QUESTION, "CNAME", "a.example.net"),
    record(b"\xc0\x2d", "A", "192.0.2.2"),
    record(QUESTION, "SOA", "ns1.example.net admin.example.net 1 2 3 4 5"),
    record(QUESTION, "TXT", "hello"),
    record(QUESTION, "MX", "10 mail.example.net"),
)


@settings(max_examples=150)
@given(st.integers(0, len(WHOLE)), st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=6))
def test_no_damaged_answer_raises_anything_else(end: int, changes: list[tuple[int, int]]) -> None:
    raw = bytearray(WHOLE)
    for at, byte in changes:
        raw[at] = byte
    message = read(bytes(raw[:end]))
    if message is not None:
        answer_of(message, WWW)


@pytest.mark.parametrize(
    ("kind", "text"),
    [("A", "::1"), ("AAAA", "1.2.3.4"), ("MX", "mail"), ("SRV", "1 2 99999 a"), ("SOA", "a b 1"), ("NS", "a..b")],
)
def test_a_value_of_another_type_is_refused_with_what_was_wanted(kind: str, text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        canonical(RecordType(kind), text)


def test_values_have_one_spelling() -> None:
    assert canonical(RecordType.MX, "010  Mail.Example.NET.") == "10 mail.example.net"
    assert canonical(RecordType.AAAA, "2001:DB8:0::1") == "2001:db8::1"
