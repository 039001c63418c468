"""Connections counted out of the kernel, exactly, and what is set of connection tracking in a namespace."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import pytest_asyncio

from anycastd.actuators.dataplane.conntrack_sysctls import LIBERAL, MAX, SYSCTLS, settle
from anycastd.actuators.nft.connections import ConnectionReader
from anycastd.actuators.nft.table import NftTable
from anycastd.model.address import Address
from anycastd.model.conntrack import ConnectionCounts, ConntrackWanted
from anycastd.model.nft import NamedCounter
from tests.lab import nft_world as nw
from tests.lab.connections import insert

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def world() -> Iterator[nw.World]:
    with nw.built() as world:
        for where in ("r1", "r2"):
            echo = nw.Echo(world, where)
            world.stack.callback(echo.close)
            world.echoes[where] = echo
        yield world


@pytest_asyncio.fixture
async def table(world: nw.World) -> AsyncIterator[NftTable]:
    world.forget()
    async with nw.started(world) as table:
        await nw.apply(table, nw.owned())
        yield table
        await table.purge()
    world.forget()


@pytest.fixture
def reader(world: nw.World) -> Iterator[ConnectionReader]:
    reader = ConnectionReader(world.names["pop"])
    yield reader
    reader.close()


def everything(address: Address) -> bool:
    return any(address in one for one in map(ip_network, nw.OWN.values()) if one.version == address.version)


async def bind(world: nw.World, table: NftTable, version: int, pool: int, number: int, mode: str) -> Address:
    address = world.fresh(version)
    await nw.apply(table, [*nw.path(number, mode), *nw.pool(pool, nw.mark_of(number, mode)), *nw.bound(address, pool)])
    return address


@pytest.mark.parametrize("version", [4, 6])
async def test_real_connections_are_counted_by_eip_and_path(
    world: nw.World, table: NftTable, reader: ConnectionReader, version: int
) -> None:
    routed, dnat, hidden, idle = [
        await bind(world, table, version, pool, number, mode)
        for pool, number, mode in ((3, 1, "routed"), (4, 2, "dnat"), (5, 2, "masquerade"), (3, 1, "routed"))
    ]
    for address, streams, datagrams in ((routed, 3, 4), (dnat, 2, 0), (hidden, 5, 1)):
        for _ in range(streams):
            one = await asyncio.to_thread(nw.connect, world, address)
            assert await asyncio.to_thread(nw.talk, one)
        for port in range(41_000, 41_000 + datagrams):
            assert await asyncio.to_thread(nw.ask_udp, world, address, nw.ECHO_PORT, port)
    for to in (str(routed), "192.0.2.1" if version == 4 else "2001:db8:c::1"):
        assert nw._answers(world.names["cli"], to), "one more to the EIP, and one to the POP itself"
    found = await reader.count(everything)
    assert found == ConnectionCounts(
        found.at_s,
        {routed: 8, dnat: 2, hidden: 6},
        {nw.mark_of(1, "routed"): 8, nw.mark_of(2, "dnat"): 2, nw.mark_of(2, "masquerade"): 6},
    )
    assert (await reader.count(lambda address: address in (dnat, idle))).by_eip == {dnat: 2}
    world.forget()
    empty = await reader.count(everything)
    assert empty == ConnectionCounts(empty.at_s)


async def test_many_are_counted_exactly_and_nobody_waits(
    world: nw.World, table: NftTable, reader: ConnectionReader
) -> None:
    count = 100_000
    wanted = await asyncio.to_thread(insert, world, count)
    address = world.fresh(4)
    async with nw.loop_never_held(f"{count} connections counted", 5.0):
        counting = asyncio.create_task(reader.count(everything))
        changed_s: list[float] = []
        while not counting.done():
            changes = nw.pool(7, nw.PATH[1 + len(changed_s) % 2]) + nw.bound(address, 7)
            table.apply(changes)
            changed_s.append(await nw.until("changed", 5, partial(nw.holds, table, changes)))
        found = await counting
    print(f"{count}: {reader.cost_s:.3f} s of processor time; EIPs changed meanwhile in {max(changed_s) * 1e3:.0f} ms")
    assert (found.by_eip, found.by_mark) == wanted
    assert len(changed_s) > 1, "changes of EIPs do not wait for the count"


def out_of_window(world: nw.World, to: Address, from_port: int) -> None:
    """Send segments of a connection as they are after it went through another POP for a while."""
    ours, theirs = ip_address(nw.CLIENT[to.version]), to
    family = socket.AF_INET if to.version == 4 else socket.AF_INET6
    one = world.socket("cli", family, socket.SOCK_RAW, socket.IPPROTO_TCP)
    for number in range(8):
        sequence = number << 29 | 12345
        head = struct.pack(">HHIIBBHHH", from_port, nw.ECHO_PORT, sequence, sequence, 5 << 4, 0x10, 4096, 0, 0)
        pseudo = ours.packed + theirs.packed + struct.pack(">IHH", len(head), 0, socket.IPPROTO_TCP)
        head = head[:16] + struct.pack(">H", nw.checksum(pseudo + head)) + head[18:]
        one.sendto(head, (str(to), 0))


@pytest.mark.parametrize("version", [4, 6])
async def test_a_translated_connection_goes_on_after_it_was_elsewhere_only_with_liberal_windows(
    world: nw.World, table: NftTable, version: int
) -> None:
    address = await bind(world, table, version, 4, 2, "dnat")
    connection = await asyncio.to_thread(nw.connect, world, address)
    assert await asyncio.to_thread(nw.talk, connection)
    port = connection.getsockname()[1]

    async def refused() -> int:
        before = (await table.counters()).named[NamedCounter.UNTRACKED].packets
        await asyncio.to_thread(out_of_window, world, address, port)
        # behind them on the same way
        assert await asyncio.to_thread(nw.talk, connection)
        return (await table.counters()).named[NamedCounter.UNTRACKED].packets - before

    world.inside("pop", lambda: (SYSCTLS / LIBERAL).write_text("0"))
    assert await refused() >= 4
    assert world.inside("pop", lambda: (settle(ConntrackWanted()), True)) == ({}, True)
    assert await refused() == 0


def test_a_namespace_can_be_liberal_and_not_sized(world: nw.World) -> None:
    before = (SYSCTLS / MAX).read_text()
    more = int(before) + 4096

    def inside() -> tuple[dict[str, str], str]:
        (SYSCTLS / LIBERAL).write_text("0")
        return settle(ConntrackWanted(more, True)), Path(SYSCTLS / LIBERAL).read_text().strip()

    problems, liberal = world.inside("pop", inside)
    assert liberal == "1"
    assert problems.keys() == {MAX}
    assert f"is {int(before)}, and cannot be set to {more} from here (Permission denied)" in problems[MAX]
    assert (SYSCTLS / MAX).read_text() == before
