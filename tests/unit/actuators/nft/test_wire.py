"""Elements as the kernel's bytes: the quick way and the general way read the same."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycastd.actuators.nft import codec, events, facts, wire
from anycastd.actuators.nft.layout import LAYOUTS
from anycastd.errors import PacketError
from anycastd.model.nft import Limit, NftSet

KEYS = [IPv4Address(f"198.51.100.{number}").packed for number in range(20)]
LIMIT = codec.encode_value(NftSet.LIMIT_IN4, Limit(1000, 2000))


def counter(packets: int, octets: int) -> bytes:
    numbers = (wire.attribute(what, number.to_bytes(8, "big")) for what, number in ((1, octets), (2, packets)))
    return wire.nested(1, wire.text(1, "counter"), wire.nested(2, *numbers))


def dump(name: NftSet, *elements: bytes) -> bytes:
    """Return a datagram as the kernel sends it for a set."""
    body = wire.text(1, "anycastd") + wire.text(2, name.value) + wire.nested(3, *elements)
    return wire.message(wire.SUBSYSTEM << 8 | wire.NEWSETELEM, 2, 9, body)


def element(key: bytes, *more: bytes) -> bytes:
    return wire.nested(1, wire.nested(1, wire.attribute(1, key)), *more)


def counted(key: bytes, packets: int, octets: int) -> bytes:
    return element(key, wire.nested(11, counter(packets, octets)))


def put(key: bytes, value: bytes) -> bytes:
    return element(key, wire.nested(2, wire.attribute(1, value)))


@pytest.mark.parametrize("name", [one for one in NftSet if not LAYOUTS[one].interval])
def test_what_we_put_is_what_we_read(name: NftSet) -> None:
    layout = LAYOUTS[name]
    key = bytes(range(1, 1 + layout.key_bytes))
    value = LIMIT if layout.limit else bytes(range(100, 100 + layout.data_bytes))
    message = wire.encode_put("anycastd", name, key, value)
    assert struct.unpack_from("=I", message)[0] == len(message)
    # the kernel tells elements by the same message that adds them
    assert list(wire.ElementReader().values(message)) == [[(key, value, 0)]]
    assert wire.single_values([message, wire.sequence_at(message, 77)]) == [(key, value, 0)] * 2


def test_ends_of_intervals_are_flagged() -> None:
    start = wire.encode_put("anycastd", NftSet.OWN4, KEYS[0], b"")
    end = wire.encode_put("anycastd", NftSet.OWN4, KEYS[1], b"", end=True)
    reader = wire.ElementReader()
    rows = [row for one in (start, end) for rows in reader.values(one) for row in rows]
    assert rows == [(KEYS[0], b"", 0), (KEYS[1], b"", wire.INTERVAL_END)]


@given(st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 1 << 63), st.integers(0, 1 << 63)), min_size=1))
def test_counters_of_a_dump(numbers: list[tuple[bytes, int, int]]) -> None:
    data = dump(NftSet.IN4, *(counted(*one) for one in numbers))
    assert [row for rows in wire.ElementReader().counters(data) for row in rows] == numbers


@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_element_of_another_shape_is_read_all_the_same(at: int) -> None:
    comment = wire.attribute(6, b"\0\5mine\0")
    elements = [put(key, b"\5\0\0\0") for key in KEYS[:3]]
    elements[at] = element(KEYS[at], wire.nested(2, wire.attribute(1, b"\7\0\0\0")), comment)
    rows = [row for rows in wire.ElementReader().values(dump(NftSet.EIP4, *elements)) for row in rows]
    assert rows == [(key, b"\7\0\0\0" if index == at else b"\5\0\0\0", 0) for index, key in enumerate(KEYS[:3])]


def test_elements_of_one_size_but_another_order_are_not_mixed_up() -> None:
    data_first = wire.nested(
        1, wire.nested(2, wire.attribute(1, b"\7\0\0\0")), wire.nested(1, wire.attribute(1, KEYS[1]))
    )
    rows = list(wire.ElementReader().values(dump(NftSet.EIP4, put(KEYS[0], b"\5\0\0\0"), data_first)))
    assert rows == [[(KEYS[0], b"\5\0\0\0", 0), (KEYS[1], b"\7\0\0\0", 0)]]


def test_single_answers_of_different_shapes() -> None:
    one, two = (dump(NftSet.EIP4, put(key, b"\5\0\0\0")) for key in KEYS[:2])
    other = dump(NftSet.EIP4, element(KEYS[2]))
    assert wire.single_values([one, two, other]) == [
        (KEYS[0], b"\5\0\0\0", 0),
        (KEYS[1], b"\5\0\0\0", 0),
        (KEYS[2], b"", 0),
    ]
    assert wire.single_values([]) == []


def test_an_empty_set_has_no_elements() -> None:
    assert list(wire.ElementReader().values(dump(NftSet.EIP4))) == []


@given(st.binary(max_size=200))
def test_bytes_that_are_nothing_raise_nothing_else(data: bytes) -> None:
    try:
        list(wire.ElementReader().values(data))
        wire.single_values([data])
        events.generations(data)
    except PacketError:
        pass


def test_a_transaction_is_between_its_marks() -> None:
    message = wire.sequence_at(wire.encode_drop("anycastd", NftSet.EIP4, KEYS[0]), 8)
    found = list(wire.replies(wire.batch([message], 7)))
    assert [(one.type, one.sequence) for one in found] == [(0x10, 7), (0x0A0E, 8), (0x11, 9)]


@pytest.mark.parametrize(
    ("number", "than", "later"),
    [(2, 1, True), (1, 1, False), (1, 2, False), (3, 0xFFFFFFFE, True), (0xFFFFFFFE, 3, False)],
)
def test_generations_wrap(number: int, than: int, later: bool) -> None:
    assert events.is_later(number, than) is later


def test_who_made_a_generation() -> None:
    body = wire.attribute(1, (77).to_bytes(4, "big")) + wire.attribute(2, (9).to_bytes(4, "big"))
    data = wire.message(wire.SUBSYSTEM << 8 | wire.NEWGEN, 0, 1, body)
    data = data[:12] + struct.pack("=I", 4711) + data[16:]
    assert events.generations(data) == [events.Generation(77, 4711)]
    assert events.generations(dump(NftSet.EIP4)) == []


def chain(table: str, name: str, policy: int = 1) -> bytes:
    body = wire.text(1, table) + wire.text(3, name) + wire.attribute(5, policy.to_bytes(4, "big"))
    return wire.message(wire.SUBSYSTEM << 8 | 3, 2, 1, body)


def rule(table: str, name: str, text: bytes, handle: int) -> bytes:
    body = (
        wire.text(1, table) + wire.text(2, name) + wire.attribute(3, handle.to_bytes(8, "big")) + wire.nested(4, text)
    )
    return wire.message(wire.SUBSYSTEM << 8 | 6, 2, 1, body)


def of(*, flags: bytes = b"", chains: list[bytes], rules: list[bytes]) -> facts.TableFacts:
    return facts.facts("ours", {2: flags, 6: b"\0\x06hello\0"}, chains, rules)


def test_what_tells_rules_apart() -> None:
    chains = [chain("ours", "go"), chain("theirs", "go", 0)]
    rules = [rule("ours", "go", wire.text(1, "drop"), 7)]
    base = of(chains=chains, rules=rules)
    assert (base.comment, set(base.chains)) == ("hello", {"go"})
    same = [
        of(chains=[chain("ours", "go")], rules=rules),
        of(chains=chains, rules=[rule("ours", "go", wire.text(1, "drop"), 8)]),
        of(chains=chains, rules=[*rules, rule("theirs", "go", wire.text(1, "x"), 7)]),
    ]
    assert same == [base] * 3
    others = [
        of(flags=b"\0\0\0\1", chains=chains, rules=rules),
        of(chains=[chain("ours", "go", 0)], rules=rules),
        of(chains=[*chains, chain("ours", "more")], rules=rules),
        of(chains=chains, rules=[]),
        of(chains=chains, rules=[rule("ours", "go", wire.text(1, "pass"), 7)]),
        of(chains=chains, rules=[rule("ours", "to", wire.text(1, "drop"), 7)]),
    ]
    assert len({one.digest for one in others} | {base.digest}) == 7
    assert facts.TableFacts() != base
