"""Many tracked connections at once, put into a namespace's table by ctnetlink."""

from __future__ import annotations

import errno
import struct
from collections import Counter
from ipaddress import ip_address, ip_network

from anycastd.actuators.nft import conntrack, wire
from anycastd.actuators.nft.channel import Channel
from anycastd.model.address import Address
from tests.lab import nft_world as nw

NEW = conntrack.SUBSYSTEM << 8
TCP, UDP = 6, 17
SEEN_AND_ASSURED = 0xE
ALIVE_S = 600
EIPS = 200
AT_ONCE = 5000


def _side(what: int, source: bytes, destination: bytes, ports: tuple[int, int], protocol: int) -> bytes:
    ends = (1, 2) if len(source) == 4 else (3, 4)
    return wire.nested(
        what,
        wire.nested(1, wire.attribute(ends[0], source), wire.attribute(ends[1], destination)),
        wire.nested(
            2,
            wire.attribute(1, bytes([protocol])),
            wire.attribute(2, struct.pack(">H", ports[0])),
            wire.attribute(3, struct.pack(">H", ports[1])),
        ),
    )


def entry(client: Address, eip: Address, port: int, protocol: int, mark: int) -> bytes:
    """Return a request for a connection from a client's port to port 443 of an EIP."""
    body = _side(1, client.packed, eip.packed, (port, 443), protocol)
    body += _side(2, eip.packed, client.packed, (443, port), protocol)
    body += wire.attribute(3, struct.pack(">I", SEEN_AND_ASSURED)) + wire.attribute(7, struct.pack(">I", ALIVE_S))
    body += wire.attribute(conntrack.CTA_MARK, struct.pack(">I", mark))
    if protocol == TCP:
        body += wire.nested(4, wire.nested(1, wire.attribute(1, b"\3")))
    flags = wire.NLM_F_REQUEST | wire.NLM_F_ACK | wire.NLM_F_CREATE
    return wire.message(NEW, flags, 0, body, family=conntrack.FAMILIES[eip.version])


def insert(world: nw.World, count: int) -> tuple[dict[Address, int], dict[int, int]]:
    """Put connections to many EIPs over several paths into the POP's table; return how many, by EIP and by mark.

    Every tenth has no path and counts nowhere.
    """
    by_eip, by_mark, requests = Counter[Address](), Counter[int](), list[bytes]()
    first = {4: ip_address("10.0.0.0"), 6: ip_address("2001:db8:c::1:0")}
    eips = {version: [ip_network(nw.OWN[version])[number] for number in range(EIPS)] for version in first}
    for number in range(count):
        version = 6 if number % 2 else 4
        client, eip = first[version] + number, eips[version][number % EIPS]
        mark = 0 if number % 10 == 9 else (1 + number % 4) << 24 | 7 + number % 5
        requests.append(entry(client, eip, 1024 + number % 60000, TCP if number % 3 else UDP, mark))
        if mark:
            by_eip[eip] += 1
            by_mark[mark] += 1

    def put() -> bool:
        channel = Channel()
        for at in range(0, count, AT_ONCE):
            channel.each(requests[at : at + AT_ONCE], errno.EEXIST)
        channel.close()
        return True

    world.inside("pop", put)
    return dict(by_eip), dict(by_mark)
