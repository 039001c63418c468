"""Connections counted out of what a kernel has said, by EIP and by path."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from pathlib import Path

import pytest

from anycastd.actuators.nft import wire
from anycastd.actuators.nft.connections import ENTRY, SPARE_BYTES, Tally
from anycastd.errors import PacketError
from anycastd.model.address import Address
from anycastd.model.conntrack import ConnectionCounts

RECORDED = [
    bytes.fromhex(line)
    for line in Path(__file__).with_name("connections.hex").read_text().splitlines()
    if not line.startswith("#")
]
*ENTRIES, DONE = RECORDED
ONE, TWO, SIX, SEVEN = (ip_address(text) for text in ("198.51.100.1", "198.51.100.2", "2001:db8:e::1", "2001:db8:e::2"))
EU, US, LAST = 0x01000007, 0x02000009, 0xFF7FFFFF


def counted(*datagrams: bytes, ours: frozenset[Address] = frozenset({ONE, TWO, SIX, SEVEN})) -> ConnectionCounts:
    tally = Tally()
    ended = [tally.add(one + b"\xff" * SPARE_BYTES, len(one)) for one in datagrams]
    assert ended == [False] * (len(datagrams) - 1) + [True]
    return tally.counts(7.0, ours.__contains__)


@pytest.mark.parametrize("together", [1, 3, 9])
def test_each_connection_counts_for_its_eip_and_its_path(together: int) -> None:
    datagrams = [b"".join(RECORDED[at : at + together]) for at in range(0, len(RECORDED), together)]
    assert counted(*datagrams) == ConnectionCounts(7.0, {ONE: 2, TWO: 2, SIX: 2, SEVEN: 1}, {EU: 4, US: 2, LAST: 1})


def test_one_without_a_path_counts_nowhere() -> None:
    unmarked = [one for one in ENTRIES if b"\x08\0\x08\0\0\0\0\0" in one]
    assert len(unmarked) == 1
    assert counted(unmarked[0], DONE) == ConnectionCounts(7.0)


def test_what_others_mark_is_not_ours() -> None:
    assert counted(*RECORDED, ours=frozenset({TWO})) == ConnectionCounts(7.0, {TWO: 2}, {EU: 1, US: 1})


def test_an_entry_of_another_shape_is_read_attribute_by_attribute() -> None:
    body = ENTRIES[2][wire.HEADERS :]
    zoned = wire.message(ENTRY, 2, 1, wire.attribute(18, b"\0\1\0\0") + body, family=2)
    assert counted(zoned, DONE) == counted(ENTRIES[2], DONE) != ConnectionCounts(7.0)


def test_a_kernel_without_marks_has_no_connections_of_ours() -> None:
    have = wire.values(ENTRIES[2], wire.HEADERS, len(ENTRIES[2]))
    body = b"".join(wire.attribute(what, value) for what, value in have.items() if what != 8)
    assert counted(wire.message(ENTRY, 2, 1, body, family=2), DONE) == ConnectionCounts(7.0)


@pytest.mark.parametrize("code", [1, 16])
def test_a_refusal_is_an_error(code: int) -> None:
    refusal = struct.pack("=IHHIIi", 36, wire.NLMSG_ERROR, 0, 1, 0, -code) + ENTRIES[0][:16]
    with pytest.raises(OSError) as refused:
        Tally().add(refusal + bytes(SPARE_BYTES), len(refusal))
    assert refused.value.errno == code


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("=I", 8) + ENTRIES[0][4:],
        struct.pack("=I", len(ENTRIES[0]) + 4) + ENTRIES[0][4:],
        wire.message(10 << 8, 0, 1, b""),
        ENTRIES[0][:16] + b"\2\0\0\0" + b"\3\0\1\0" * 40,
    ],
    ids=["too-short", "longer-than-it-is", "of-another", "attributes"],
)
def test_what_makes_no_sense_is_refused(data: bytes) -> None:
    with pytest.raises(PacketError):
        Tally().add(data + bytes(SPARE_BYTES), len(data))


@pytest.mark.parametrize("cut", range(0, 192, 7))
def test_no_cut_entry_is_taken_for_a_whole_one(cut: int) -> None:
    data = ENTRIES[2][:cut] if cut else b"\0" * 4
    with pytest.raises((PacketError, OSError)):
        Tally().add(data + bytes(SPARE_BYTES), len(data))
