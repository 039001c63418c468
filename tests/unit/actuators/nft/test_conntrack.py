"""Which tracked connections go when those of one address are forgotten."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import cast

import pytest

from anycastd.actuators.nft import conntrack, wire
from anycastd.actuators.nft.channel import Channel
from anycastd.model.eip import FlushConnections

EIP = {4: "198.51.100.5", 6: "2001:db8::5"}
CLIENT = {4: "192.0.2.9", 6: "2001:db8:c::9"}
BACKEND = {4: "10.0.0.1", 6: "fd00::1"}


def side(what: int, version: int, source: str, destination: str) -> bytes:
    numbers = (1, 2) if version == 4 else (3, 4)
    ends = (
        wire.attribute(number, ip_address(one).packed)
        for number, one in zip(numbers, (source, destination), strict=True)
    )
    return wire.nested(what, wire.nested(1, *ends), wire.nested(2, wire.attribute(1, b"\6")))


def connection(version: int, opened: tuple[str, str], answered: tuple[str, str]) -> bytes:
    body = side(1, version, *opened) + side(2, version, *answered) + wire.attribute(8, bytes(4))
    return wire.message(conntrack.SUBSYSTEM << 8, 2, 1, body, family=2 if version == 4 else 10)


class Table:
    """Answers a dump with some connections, and keeps what is to be deleted."""

    def __init__(self, connections: Sequence[bytes]) -> None:
        self.connections = list(connections)
        self.deleted: list[bytes] = []
        self.asked = b""

    def dump(self, request: Callable[[int], bytes]) -> list[bytes]:
        self.asked = request(1)
        return [b"".join(self.connections)]

    def each(self, messages: Sequence[bytes], accepted: int) -> list[bytes]:
        del accepted
        self.deleted += messages
        return []


@pytest.mark.parametrize("version", [4, 6])
def test_those_to_it_and_those_that_it_opened_go_and_no_others(version: int) -> None:
    eip, client, backend = EIP[version], CLIENT[version], BACKEND[version]
    gone = [
        connection(version, (client, eip), (eip, client)),
        connection(version, (client, eip), (backend, client)),
        connection(version, (eip, client), (client, eip)),
    ]
    stays = [
        connection(version, (client, backend), (backend, client)),
        connection(version, (eip, client), (client, backend)),
    ]
    table = Table([stays[0], *gone, stays[1]])
    conntrack.flush(cast("Channel", table), FlushConnections(0x01000007, 0xFFFFFFFF, ip_address(eip)))
    have = wire.values(table.asked, wire.HEADERS, len(table.asked))
    assert (have[8], have[21]) == (b"\x01\0\0\7", b"\xff" * 4)
    opened = [wire.values(one, wire.HEADERS, len(one))[1] for one in table.deleted]
    assert opened == [wire.values(one, wire.HEADERS, len(one))[1] for one in gone]
    assert {one[16] for one in (table.asked, *table.deleted)} == {2 if version == 4 else 10}
