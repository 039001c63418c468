"""What the packet filter does while an EIP is under attack, and for the packets of our own, with real packets."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
import pytest_asyncio

from anycastd.actuators.nft.table import NftTable
from anycastd.model.address import Address
from anycastd.model.nft import DropElement, NftSet, NftSettings
from tests.lab import nft_world as nw

pytestmark = pytest.mark.lab

FLOOD = Path(__file__).parents[2] / "containerlab" / "nodes" / "flood.py"
SILENT = """table inet silent {
chain c { type filter hook prerouting priority -400; meta l4proto { tcp, udp } th dport 81 drop
}
}
"""
SOURCES = (ip_address(nw.OURS[1][4]), ip_address(nw.OURS[1][6]))
CS6 = 48


@pytest.fixture(scope="module")
def world() -> Iterator[nw.World]:
    with nw.built() as world:
        for where in ("r1", "r2"):
            echo = nw.Echo(world, where)
            world.stack.callback(echo.close)
            world.echoes[where] = echo
        # a reset would end what a SYN began
        words = ("ip", "netns", "exec", world.names["r1"], "nft", "-f", "-")
        subprocess.run(words, check=True, text=True, input=SILENT)
        yield world


@pytest_asyncio.fixture
async def table(world: nw.World) -> AsyncIterator[NftTable]:
    async with nw.started(world, settings=NftSettings(own_sources=SOURCES, dscp=CS6)) as table:
        await nw.apply(table, nw.owned())
        yield table
        await table.purge()
    world.forget()


def flood(world: nw.World, kind: str, to: object, packets: int = 2000) -> int:
    """Send a burst of a kind; return how many packets left."""
    words = (sys.executable, "-S", str(FLOOD), kind, str(to), "81", str(packets * 2), "0.5")
    said = subprocess.run(
        ("ip", "netns", "exec", world.names["cli"], *words), check=True, capture_output=True, text=True, timeout=60
    )
    return int(json.loads(said.stdout)["sent"])


async def opened(table: NftTable, to: Address) -> int:
    """Return how many connections were opened to an EIP."""
    return (await table.opened()).elements[NftSet(f"new{to.version}")][to].packets


def entries(world: nw.World, *what: str) -> int:
    """Return how many entries of the POP's table hold all these words."""
    return sum(all(word in line for word in what) for line in world.connections("pop").splitlines())


@pytest.mark.parametrize(("kind", "version"), [("syn", 4), ("syn", 6), ("udp", 4), ("small", 6)])
async def test_what_begins_at_an_attacked_eip_takes_no_entry(
    world: nw.World, table: NftTable, kind: str, version: int
) -> None:
    to = world.fresh(version)
    await nw.apply(table, [*nw.pool(3, nw.PATH[1]), *nw.bound(to, 3)])
    before = await asyncio.to_thread(nw.connect, world, to)
    assert (await asyncio.to_thread(nw.talk, before)).startswith("r1 ")
    assert await opened(table, to) == 1, "a connection is one, however many packets it has"
    await nw.apply(table, [nw.put("loose", version, to)])
    sent = await asyncio.to_thread(flood, world, kind, to)
    assert sent > 0
    assert entries(world, f"dst={_spelled(to)}", "dport=81") == 0
    # who was there goes on, who is real comes in, and is tracked from then on
    assert (await asyncio.to_thread(nw.talk, before)).startswith("r1 ")
    after = await asyncio.to_thread(nw.connect, world, to)
    assert (await asyncio.to_thread(nw.talk, after)).startswith("r1 ")
    assert (await asyncio.to_thread(nw.ask_udp, world, to)).startswith("r1 ")
    assert entries(world, f"dst={_spelled(to)}", "dport=7", "ESTABLISHED") == 2
    assert entries(world, f"dst={_spelled(to)}", "udp") == 0
    # and all that arrived went on, to be counted as ever
    counters = await table.counters()
    assert counters.elements[NftSet(f"in{version}")][to].packets >= sent
    # each SYN is counted though none is tracked; a real connection once more when it is
    assert await opened(table, to) >= sent + 3 if kind == "syn" else 3 <= await opened(table, to) < sent
    # without it each packet is an entry: the flood itself is one that fills tables
    await nw.apply(table, [DropElement(NftSet(f"loose{version}"), to)])
    assert (await asyncio.to_thread(nw.talk, after)).startswith("r1 ")
    assert await asyncio.to_thread(flood, world, kind, to, 400) > 0
    assert entries(world, f"dst={_spelled(to)}", "dport=81") > 0


def _spelled(address: object) -> str:
    found = ip_address(str(address))
    return str(found) if found.version == 4 else found.exploded


@pytest.mark.parametrize("version", [4, 6])
async def test_a_connection_stays_where_it_began_though_new_ones_go_elsewhere(
    world: nw.World, table: NftTable, version: int
) -> None:
    to = world.fresh(version)
    await nw.apply(table, [*nw.pool(3, nw.PATH[1]), *nw.bound(to, 3)])
    old = await asyncio.to_thread(nw.connect, world, to)
    assert (await asyncio.to_thread(nw.talk, old)).startswith("r1 ")
    await nw.apply(table, [*nw.pool(4, nw.PATH[2]), nw.put("eip", version, to, 4), nw.put("loose", version, to)])
    assert (await asyncio.to_thread(nw.talk, old)).startswith("r1 ")
    new = await asyncio.to_thread(nw.connect, world, to)
    assert (await asyncio.to_thread(nw.talk, new)).startswith("r2 ")
    await nw.apply(table, [DropElement(NftSet(f"loose{version}"), to)])
    assert [(await asyncio.to_thread(nw.talk, one))[:2] for one in (old, new)] == ["r1", "r2"]


@pytest.mark.parametrize("version", [4, 6])
async def test_packets_of_our_own_checks_are_marked_and_others_are_not(
    world: nw.World, table: NftTable, version: int
) -> None:
    far = nw.OURS[1][version][:-1] + "2"
    family, level = (socket.AF_INET, socket.IPPROTO_IP) if version == 4 else (socket.AF_INET6, socket.IPPROTO_IPV6)
    listener = world.socket("r1", family, socket.SOCK_DGRAM)
    listener.setsockopt(level, socket.IP_RECVTOS if version == 4 else socket.IPV6_RECVTCLASS, 1)
    listener.bind((far, 9))
    found = []
    for here in (nw.OURS[1][version], "10.1.0.1" if version == 4 else "2001:db8:c::1"):
        sender = world.socket("pop", family, socket.SOCK_DGRAM)
        sender.bind((here, 0))
        sender.sendto(b"x", (far, 9))
        control = (await asyncio.to_thread(listener.recvmsg, 10, 100))[1]
        found.append(int.from_bytes(control[0][2][:1], "little") >> 2 if control else 0)
    assert found == [CS6, 0]
    await table.set_settings(NftSettings(own_first=False))
    sender = world.socket("pop", family, socket.SOCK_DGRAM)
    sender.bind((nw.OURS[1][version], 0))
    sender.sendto(b"x", (far, 9))
    control = (await asyncio.to_thread(listener.recvmsg, 10, 100))[1]
    assert int.from_bytes(control[0][2][:1], "little") == 0


@pytest.mark.parametrize("version", [4, 6])
async def test_bfd_takes_no_entry_of_the_table(world: nw.World, table: NftTable, version: int) -> None:
    here, far = nw.OURS[1][version], nw.OURS[1][version][:-1] + "2"
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    ends = {}
    for where, address in (("pop", here), ("r1", far)):
        ends[where] = world.socket(where, family, socket.SOCK_DGRAM)
        ends[where].bind((address, 3784))
        ends[f"{where} from"] = world.socket(where, family, socket.SOCK_DGRAM)
        ends[f"{where} from"].bind((address, 50_000))
    for sender, listener, to in (("pop from", "r1", far), ("r1 from", "pop", here)):
        ends[sender].sendto(b"bfd", (to, 3784))
        assert await asyncio.to_thread(ends[listener].recv, 10) == b"bfd"
    assert entries(world, "dport=3784") == 0
