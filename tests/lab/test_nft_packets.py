"""What the packet filter's rules do to real packets, in every mode and both families."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_address

import pytest
import pytest_asyncio

from anycastd.actuators.dataplane.losses import unforwarded
from anycastd.actuators.nft.table import NftTable
from anycastd.model.address import Address
from anycastd.model.eip import FlushConnections
from anycastd.model.nft import BUCKETS, BY_SOURCE, Count, DropElement, NamedCounter, NftSet, NftSettings, PutElement
from tests.lab import nft_world as nw
from tests.lab.jhash import jhash, scaled
from tests.lab.kernel_world import run

pytestmark = pytest.mark.lab

SEED = NftSettings().seed
MODES = ("routed", "dnat", "masquerade")
IPPROTO_ICMPV6 = 58
CLOSED_PORT = 9
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, PMTU_DO, IP_MTU, IPV6_MTU = 10, 23, 2, 14, 24


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
    async with nw.started(world) as table:
        await nw.apply(table, nw.owned())
        yield table
        await table.purge()
    world.forget()


async def udp(world: nw.World, to: Address, port: int = nw.ECHO_PORT, from_port: int = 0, data: bytes = b"hi") -> str:
    return await asyncio.to_thread(nw.ask_udp, world, to, port, from_port, data)


async def counted(table: NftTable, name: NftSet | NamedCounter, address: Address | None = None) -> Count:
    counters = await table.counters()
    if isinstance(name, NamedCounter):
        return counters.named[name]
    assert address is not None
    return counters.elements[name][address]


def seen(mode: str, version: int) -> str:
    """Return whom a backend of region 1 sees."""
    return nw.OURS[1][version] if mode == "masquerade" else nw.CLIENT[version]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("mode", MODES)
async def test_packets_reach_the_backend_and_answers_come_back(
    world: nw.World, table: NftTable, mode: str, version: int
) -> None:
    to = world.fresh(version)
    mark = nw.mark_of(1, mode)
    await nw.apply(table, [*nw.path(1, mode), *nw.pool(3, mark), *nw.bound(to, 3)])
    at = str(to) if mode == "routed" else nw.BACKEND[1][version]
    assert (await udp(world, to)).split() == ["r1", seen(mode, version), at, "7", "hi"]
    stream = await asyncio.to_thread(nw.connect, world, to)
    assert (await asyncio.to_thread(nw.talk, stream)).split() == ["r1", seen(mode, version), at, "7"]
    before = await counted(table, NftSet(f"in{version}"), to), await counted(table, NftSet(f"out{version}"), to)
    for _ in range(20):
        assert await udp(world, to, data=b"x" * 100)
    after = await counted(table, NftSet(f"in{version}"), to), await counted(table, NftSet(f"out{version}"), to)
    size = 100 + 8 + (20 if version == 4 else 40)
    assert (after[0] - before[0], after[1] - before[1]) == (Count(20, 20 * size), Count(20, 20 * size))


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("mode", ["dnat", "masquerade"])
async def test_ports_are_mapped(world: nw.World, table: NftTable, mode: str, version: int) -> None:
    to, mark = world.fresh(version), nw.mark_of(1, mode)
    backend = ip_address(nw.BACKEND[1][version])
    ports = [
        PutElement(NftSet(f"port{version}"), (mark, transport, 80), (backend, nw.OTHER_PORT)) for transport in (6, 17)
    ]
    await nw.apply(table, [*nw.path(1, mode), *ports, *nw.pool(3, mark), *nw.bound(to, 3)])
    assert (await udp(world, to, 80)).split()[2:4] == [str(backend), str(nw.OTHER_PORT)]
    stream = await asyncio.to_thread(nw.connect, world, to, 80)
    assert (await asyncio.to_thread(nw.talk, stream)).split()[2:4] == [str(backend), str(nw.OTHER_PORT)]
    assert (await udp(world, to)).split()[3] == "7"


@pytest.mark.parametrize("version", [4, 6])
async def test_what_is_not_delivered_is_counted_exactly(world: nw.World, table: NftTable, version: int) -> None:
    idle, dark, unbound, no_pool, no_route = (world.fresh(version) for _ in range(5))
    await nw.apply(
        table,
        [
            *(nw.put(name, version, idle) for name in ("in", "idle")),
            *(nw.put(name, version, dark) for name in ("in", "dark")),
            *nw.bound(no_pool, 99),
            *nw.pool(4, 0x03000001),
            *nw.bound(no_route, 4),
        ],
    )
    sender = world.socket("cli", socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    for to, packets in ((idle, 3), (dark, 4), (unbound, 5), (no_pool, 6), (no_route, 7)):
        for _ in range(packets):
            sender.sendto(b"x" * 100, (str(to), 9))
    size = 108 + (20 if version == 4 else 40)
    assert await counted(table, NftSet(f"idle{version}"), idle) == Count(3, 3 * size)
    assert await counted(table, NftSet(f"dark{version}"), dark) == Count(4, 4 * size)
    assert await counted(table, NamedCounter(f"unbound{version}")) == Count(5, 5 * size)
    assert await counted(table, NamedCounter.NO_PATH) == Count(13, 13 * size)
    assert await counted(table, NftSet(f"in{version}"), idle) == Count()


@pytest.mark.parametrize("version", [4, 6])
async def test_a_region_whose_tunnels_are_gone_is_counted(world: nw.World, table: NftTable, version: int) -> None:
    to = world.fresh(version)
    await nw.apply(table, [*nw.pool(3, nw.PATH[1]), *nw.bound(to, 3)])
    table_1001 = ("route", "replace", "default", "table", "1001", "dev", "t1", "via", nw.OURS[1][version][:-1] + "2")
    world.ip("pop", f"-{version}", "route", "del", "default", "table", "1001", "dev", "t1")
    try:
        assert await udp(world, to) == ""
        assert (await counted(table, NamedCounter.NO_PATH)).packets == 1
    finally:
        world.ip("pop", f"-{version}", *table_1001)
    assert (await udp(world, to)).startswith("r1 ")


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("way", ["in", "out"])
async def test_a_limit_drops_and_counts_what_is_above_it(
    world: nw.World, table: NftTable, way: str, version: int
) -> None:
    to = world.fresh(version)
    # the kernel's bucket holds the burst and what a second brings
    limit = nw.limited(to, 10_000, 5_000, way)
    await nw.apply(table, [*nw.pool(3, nw.PATH[1]), *nw.bound(to, 3), limit])
    sender = world.socket("cli", socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    sent, begun_s = 60, time.monotonic()
    for _ in range(sent):
        sender.sendto(b"x" * 1000, (str(to), nw.ECHO_PORT))
    name, let = NftSet(f"lim{way}{version}"), NftSet(f"{way}{version}")
    counters = await table.counters()

    async def all_seen() -> bool:
        nonlocal counters
        counters = await table.counters()
        return counters.elements[name][to].packets + counters.elements[let][to].packets == sent

    while not await all_seen():
        assert time.monotonic() < begun_s + 15
        await asyncio.sleep(0.01)
    # and what comes while a slow machine still sends
    assert 13_000 < counters.elements[let][to].bytes < 20_000 + 10_000 * (time.monotonic() - begun_s)


def bucket(address: Address, to: Address, sport: int, dport: int, protocol: int) -> int:
    data = address.packed + to.packed + struct.pack(">HHHHB3x", sport, 0, dport, 0, protocol)
    return scaled(jhash(data, SEED), BUCKETS)


@pytest.mark.parametrize("version", [4, 6])
async def test_a_flow_lands_in_exactly_the_bucket_that_the_hash_says(
    world: nw.World, table: NftTable, version: int
) -> None:
    to, client = world.fresh(version), ip_address(nw.CLIENT[version])
    chosen = [random.Random(7).choice((1, 2)) for _ in range(BUCKETS)]
    await nw.apply(table, [*nw.pool(3, [nw.PATH[one] for one in chosen]), *nw.bound(to, 3)])
    got, wanted = [], []
    for port in range(20000, 20060):
        got.append((await udp(world, to, from_port=port))[:2])
        wanted.append(f"r{chosen[bucket(client, to, port, nw.ECHO_PORT, 17)]}")
        world.forget()
    assert got == wanted
    for port in range(20100, 20110):
        with await asyncio.to_thread(nw.connect, world, to, nw.ECHO_PORT, port) as stream:
            said = await asyncio.to_thread(nw.talk, stream)
        assert said[:2] == f"r{chosen[bucket(client, to, port, nw.ECHO_PORT, 6)]}"


@pytest.mark.parametrize("version", [4, 6])
async def test_affinity_by_source_depends_on_the_client_alone(world: nw.World, table: NftTable, version: int) -> None:
    to, client = world.fresh(version), ip_address(nw.CLIENT[version])
    mine = scaled(jhash(client.packed, SEED), BUCKETS)
    for region in (1, 2):
        marks = [nw.PATH[region if one == mine else 3 - region] for one in range(BUCKETS)]
        await nw.apply(table, [*nw.pool(BY_SOURCE | 3, marks), *nw.bound(to, BY_SOURCE | 3)])
        table.flush([FlushConnections(0, 0)])
        for port in range(21000, 21012):
            assert (await udp(world, to, from_port=port + 100 * region)).startswith(f"r{region} ")


async def test_a_connection_stays_where_it_began(world: nw.World, table: NftTable) -> None:
    to = world.fresh(4)
    await nw.apply(table, [*nw.pool(3, nw.PATH[1]), *nw.bound(to, 3)])
    stream = await asyncio.to_thread(nw.connect, world, to)
    assert (await asyncio.to_thread(nw.talk, stream)).startswith("r1")
    await nw.apply(table, nw.pool(3, nw.PATH[2]))
    assert (await asyncio.to_thread(nw.talk, stream)).startswith("r1")
    assert (await udp(world, to)).startswith("r2")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("version", [4, 6])
async def test_a_flush_by_mark_resets_its_connections_and_no_others(
    world: nw.World, table: NftTable, version: int, mode: str
) -> None:
    moved, other = world.fresh(version), world.fresh(version)
    marks = {region: nw.mark_of(region, mode) for region in (1, 2)}
    await nw.apply(
        table,
        [
            *(change for region in (1, 2) for change in nw.path(region, mode)),
            *nw.pool(3, marks[1]),
            *nw.pool(4, marks[2]),
            *nw.bound(moved, 3),
            *nw.bound(other, 4),
        ],
    )
    streams = {to: await asyncio.to_thread(nw.connect, world, to) for to in (moved, other)}
    for stream in streams.values():
        await asyncio.to_thread(nw.talk, stream)
    table.apply(nw.pool(3, marks[2]))
    table.flush([FlushConnections(marks[1])])
    await nw.until("flushed", 2, lambda: not table.is_forgetting)
    with pytest.raises(ConnectionResetError):
        await asyncio.to_thread(nw.talk, streams[moved])
    assert (await asyncio.to_thread(nw.talk, streams[other])).startswith("r2")
    again = await asyncio.to_thread(nw.connect, world, moved)
    assert (await asyncio.to_thread(nw.talk, again)).startswith("r2")


@pytest.mark.parametrize("version", [4, 6])
async def test_a_flush_by_address_leaves_other_addresses_of_the_path(
    world: nw.World, table: NftTable, version: int
) -> None:
    moved, other = world.fresh(version), world.fresh(version)
    await nw.apply(table, [*nw.pool(3, nw.PATH[1]), *nw.pool(4, nw.PATH[2])])
    await nw.apply(table, [*nw.bound(moved, 3), *nw.bound(other, 3)])
    streams = {to: await asyncio.to_thread(nw.connect, world, to) for to in (moved, other)}
    for stream in streams.values():
        await asyncio.to_thread(nw.talk, stream)
    table.apply([nw.put("eip", version, one, 4) for one in (moved, other)])
    table.flush([FlushConnections(nw.PATH[1], address=moved)])
    await nw.until("flushed", 2, lambda: not table.is_forgetting)
    with pytest.raises(ConnectionResetError):
        await asyncio.to_thread(nw.talk, streams[moved])
    assert (await asyncio.to_thread(nw.talk, streams[other])).startswith("r1")


@pytest.mark.parametrize("version", [4, 6])
async def test_a_stateless_address_is_carried_without_a_connection(
    world: nw.World, table: NftTable, version: int
) -> None:
    to, client = world.fresh(version), ip_address(nw.CLIENT[version])
    chosen = [random.Random(9).choice((1, 2)) for _ in range(BUCKETS)]
    await nw.apply(
        table, [*nw.pool(3, [nw.PATH[one] for one in chosen]), *nw.bound(to, 3), nw.put("free", version, to)]
    )
    for port in range(22000, 22012):
        said = await udp(world, to, from_port=port)
        assert said[:2] == f"r{chosen[bucket(client, to, port, nw.ECHO_PORT, 17)]}"
    stream = await asyncio.to_thread(nw.connect, world, to)
    assert await asyncio.to_thread(nw.talk, stream)
    assert str(to) not in world.connections("pop")


async def test_outer_packets_of_tunnels_are_not_tracked(world: nw.World, table: NftTable) -> None:
    to = world.fresh(4)
    await nw.apply(table, [*nw.pool(3, nw.PATH[1]), *nw.bound(to, 3)])
    assert await udp(world, to)
    assert str(to) in world.connections("pop")
    assert "dport=4789" not in world.connections("pop")


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("version", [4, 6])
async def test_the_pop_answers_pings_where_it_should(
    world: nw.World, table: NftTable, version: int, free: bool
) -> None:
    to = world.fresh(version)
    more = [nw.put("free", version, to)] if free else []
    await nw.apply(table, [*nw.pool(3, nw.PATH[1]), *nw.bound(to, 3), *more])
    ping = ("ip", "netns", "exec", world.names["cli"], "ping", "-c", "2", "-i", "0.05", "-W", "1", str(to))
    name = NftSet(f"in{version}")
    before = await counted(table, name, to)
    in_region = world.icmp_echoes("r1", version)
    await asyncio.to_thread(run, *ping)
    assert (await counted(table, name, to)) - before == Count(2, 2 * (84 if version == 4 else 104))
    assert world.icmp_echoes("r1", version) - in_region == 2
    await nw.apply(table, [nw.put("pong", version, to)])
    before, out = await counted(table, name, to), await counted(table, NftSet(f"out{version}"), to)
    await asyncio.to_thread(run, *ping)
    assert world.icmp_echoes("r1", version) - in_region == 2
    for which, earlier in ((name, before), (NftSet(f"out{version}"), out)):
        assert ((await counted(table, which, to)) - earlier).packets == 2
    assert (await udp(world, to)).startswith("r1 ")


async def test_an_address_of_the_machine_inside_of_a_prefix_is_let_through(world: nw.World, table: NftTable) -> None:
    inside = world.fresh(4)
    world.ip("pop", "addr", "add", f"{inside}/32", "dev", "lo")
    try:
        ping = ("ip", "netns", "exec", world.names["cli"], "ping", "-c", "1", "-W", "1", str(inside))
        await asyncio.to_thread(run, *ping)
    finally:
        world.ip("pop", "addr", "del", f"{inside}/32", "dev", "lo")


def icmp_error(version: int, to: Address, client: Address, sport: int, dport: int, protocol: int = 17) -> bytes:
    """Return an ICMP error about a packet that the EIP sent to the client (its checksum 0 for IPv6)."""
    ports = struct.pack(">HHHH", dport, sport, 8, 0)
    if version == 4:
        inner = struct.pack(">BBHHHBBH", 0x45, 0, 1400, 1, 0x4000, 60, protocol, 0) + to.packed + client.packed + ports
        whole = struct.pack(">BBHHH", 3, 4, 0, 0, 1300) + inner
        return whole[:2] + struct.pack(">H", nw.checksum(whole)) + whole[4:]
    inner = struct.pack(">IHBB", 6 << 28, 1400, protocol, 60) + to.packed + client.packed + ports
    return struct.pack(">BBHI", 2, 0, 0, 1300) + inner


def send_error(world: nw.World, version: int, to: Address, data: bytes) -> None:
    family, protocol = (socket.AF_INET, socket.IPPROTO_ICMP) if version == 4 else (socket.AF_INET6, IPPROTO_ICMPV6)
    with world.socket("cli", family, socket.SOCK_RAW, protocol) as raw:
        raw.sendto(data, (str(to), 0))


def error_listeners(world: nw.World, version: int) -> dict[int, socket.socket]:
    family, protocol = (socket.AF_INET, socket.IPPROTO_ICMP) if version == 4 else (socket.AF_INET6, IPPROTO_ICMPV6)
    return {region: world.socket(f"r{region}", family, socket.SOCK_RAW, protocol) for region in (1, 2)}


def heard_error(listener: socket.socket, version: int, sport: int) -> bool:
    """Return whether an ICMP error about the flow arrives within the socket's time."""
    wanted = struct.pack(">H", sport)
    try:
        while True:
            data = listener.recv(2000)
            if version == 4:
                data = data[20:]
            if data[0] == (3 if version == 4 else 2) and wanted in data:
                return True
    except TimeoutError:
        return False


@pytest.mark.parametrize("by_source", [False, True])
@pytest.mark.parametrize("version", [4, 6])
async def test_an_icmp_error_without_a_connection_reaches_its_flow_s_backend(
    world: nw.World, table: NftTable, version: int, by_source: bool
) -> None:
    to, client = world.fresh(version), ip_address(nw.CLIENT[version])
    number = 3 | (BY_SOURCE if by_source else 0)
    chosen = [random.Random(11).choice((1, 2)) for _ in range(BUCKETS)]
    await nw.apply(table, [*nw.pool(number, [nw.PATH[one] for one in chosen]), *nw.bound(to, number)])
    listeners = error_listeners(world, version)
    world.forget()
    for port in range(23000, 23008):
        flow = bucket(client, to, port, nw.ECHO_PORT, 17)
        region = chosen[scaled(jhash(client.packed, SEED), BUCKETS) if by_source else flow]
        send_error(world, version, to, icmp_error(version, to, client, port, nw.ECHO_PORT))
        assert await asyncio.to_thread(heard_error, listeners[region], version, port)
        listeners[3 - region].settimeout(0.05)
        assert not await asyncio.to_thread(heard_error, listeners[3 - region], version, port)
        listeners[3 - region].settimeout(1)


@pytest.mark.parametrize("version", [4, 6])
async def test_an_icmp_error_of_a_translated_flow_without_a_connection_is_counted(
    world: nw.World, table: NftTable, version: int
) -> None:
    to, client = world.fresh(version), ip_address(nw.CLIENT[version])
    await nw.apply(table, [*nw.path(1, "dnat"), *nw.pool(3, nw.mark_of(1, "dnat")), *nw.bound(to, 3)])
    send_error(world, version, to, icmp_error(version, to, client, 24000, nw.ECHO_PORT))
    for _ in range(2000):
        if (await counted(table, NamedCounter.UNTRACKED)).packets:
            break
    assert (await counted(table, NamedCounter.UNTRACKED)).packets == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("version", [4, 6])
async def test_an_icmp_error_of_a_known_connection_reaches_its_backend(
    world: nw.World, table: NftTable, version: int, mode: str
) -> None:
    to, client = world.fresh(version), ip_address(nw.CLIENT[version])
    await nw.apply(table, [*nw.path(1, mode), *nw.pool(3, nw.mark_of(1, mode)), *nw.bound(to, 3)])
    assert await udp(world, to, from_port=24500)
    listener = error_listeners(world, version)[1]
    send_error(world, version, to, icmp_error(version, to, client, 24500, nw.ECHO_PORT))
    assert await asyncio.to_thread(heard_error, listener, version, nw.ECHO_PORT)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("mode", [*MODES, "stateless"])
async def test_an_icmp_error_of_the_backend_reaches_the_client(
    world: nw.World, table: NftTable, version: int, mode: str
) -> None:
    to, real = world.fresh(version), mode if mode != "stateless" else "routed"
    more = [nw.put("free", version, to)] if mode == "stateless" else []
    await nw.apply(table, [*nw.path(1, real), *nw.pool(3, nw.mark_of(1, real)), *nw.bound(to, 3), *more])
    sender = world.socket("cli", socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    # a socket is told only of errors about what it sent to where it is connected
    sender.connect((str(to), CLOSED_PORT))
    sender.send(b"x")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.to_thread(sender.recv, 100)
    # there the address is a route only, and such a host sends errors of IPv6 from an address of its own
    by_itself = version == 6 and real == "routed"
    assert (await counted(table, NftSet(f"out{version}"), to)).packets == (0 if by_itself else 1)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("mode", ["routed", "dnat", "stateless"])
async def test_large_segments_are_clamped_in_both_directions(world: nw.World, version: int, mode: str) -> None:
    settings = NftSettings(mss4=1000, mss6=1100)
    async with nw.started(world, settings=settings) as table:
        to = world.fresh(version)
        real = mode if mode != "stateless" else "routed"
        more = [nw.put("free", version, to)] if mode == "stateless" else []
        await nw.apply(
            table, [*nw.owned(), *nw.path(1, real), *nw.pool(3, nw.mark_of(1, real)), *nw.bound(to, 3), *more]
        )
        world.echoes["r1"].mss.clear()
        stream = await asyncio.to_thread(nw.connect, world, to)
        await asyncio.to_thread(nw.talk, stream)
        most = 1000 if version == 4 else 1100
        here = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        # timestamps take 12 bytes of each segment
        assert (here, world.echoes["r1"].mss) == (most - 12, [most - 12])
        await table.purge()
    world.forget()


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("mode", MODES)
async def test_a_packet_too_large_for_the_tunnel_is_answered_with_its_size(
    world: nw.World, table: NftTable, version: int, mode: str
) -> None:
    to = world.fresh(version)
    await nw.apply(table, [*nw.path(1, mode), *nw.pool(3, nw.mark_of(1, mode)), *nw.bound(to, 3)])
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    sender = world.socket("cli", family, socket.SOCK_DGRAM)
    level, which, mtu = (
        (socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_MTU)
        if version == 4
        else (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_MTU)
    )
    sender.setsockopt(level, which, PMTU_DO)
    sender.connect((str(to), nw.ECHO_PORT))
    before = world.inside("pop", unforwarded)[version]
    sender.send(b"x" * (1500 - 8 - (20 if version == 4 else 40)))
    await nw.until("learnt", 2, lambda: sender.getsockopt(level, mtu) == nw.TUNNEL_MTU)
    assert world.inside("pop", unforwarded)[version] == before._replace(too_big=before.too_big + 1)


@pytest.mark.parametrize("version", [4, 6])
async def test_a_packet_at_the_end_of_its_way_is_told_by_routing(
    world: nw.World, table: NftTable, version: int
) -> None:
    to = world.fresh(version)
    await nw.apply(table, [*nw.path(1, "dnat"), *nw.pool(3, nw.mark_of(1, "dnat")), *nw.bound(to, 3)])
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    sender = world.socket("cli", family, socket.SOCK_DGRAM)
    which = (socket.IPPROTO_IP, socket.IP_TTL) if version == 4 else (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)
    sender.setsockopt(*which, 1)
    sender.connect((str(to), nw.ECHO_PORT))
    before = world.inside("pop", unforwarded)[version]
    sender.send(b"x")
    wanted = before._replace(expired=before.expired + 1)
    await nw.until("counted", 2, lambda: world.inside("pop", unforwarded)[version] == wanted)


@pytest.mark.parametrize("version", [4, 6])
async def test_a_packet_to_nowhere_is_told_by_routing(world: nw.World, version: int) -> None:
    nowhere = "192.88.98.9" if version == 4 else "2001:db8:ffff::9"
    sender = world.socket("cli", socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    before = world.inside("pop", unforwarded)[version]
    sender.sendto(b"x", (nowhere, nw.ECHO_PORT))
    wanted = before._replace(no_route=before.no_route + 1)
    await nw.until("counted", 2, lambda: world.inside("pop", unforwarded)[version] == wanted)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("mode", [*MODES, "stateless"])
async def test_fragments_reach_the_backend(world: nw.World, table: NftTable, version: int, mode: str) -> None:
    to = world.fresh(version)
    real = mode if mode != "stateless" else "routed"
    more = [nw.put("free", version, to)] if mode == "stateless" else []
    await nw.apply(table, [*nw.path(1, real), *nw.pool(3, nw.mark_of(1, real)), *nw.bound(to, 3), *more])
    # no router fragments IPv6: the first is answered with the tunnel's size
    said = await udp(world, to, data=b"y" * 4000) or await udp(world, to, data=b"y" * 4000)
    assert len(said) == 4000
    assert said.startswith("r1 ")


async def test_unbinding_one_address_drops_its_packets_at_once_and_no_others(world: nw.World, table: NftTable) -> None:
    one, other = world.fresh(4), world.fresh(4)
    await nw.apply(table, [*nw.pool(3, nw.PATH[1]), *nw.bound(one, 3), *nw.bound(other, 3)])
    stream = await asyncio.to_thread(nw.connect, world, one)
    await asyncio.to_thread(nw.talk, stream)
    await nw.apply(table, [nw.put("idle", 4, one), DropElement(NftSet.EIP4, one)])
    stream.settimeout(0.3)
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(nw.talk, stream)
    assert (await counted(table, NftSet.IDLE4, one)).packets >= 1
    assert (await udp(world, other)).startswith("r1 ")


async def test_the_class_of_an_address_is_set_behind_forwarding(world: nw.World, table: NftTable) -> None:
    to = world.fresh(4)
    await nw.apply(table, [*nw.pool(3, nw.PATH[1]), *nw.bound(to, 3), PutElement(NftSet.CLASS4, to, 0x12)])
    world.nft("add table inet seen; add chain inet seen c { type filter hook postrouting priority 200; }")
    try:
        world.nft("add rule inet seen c meta priority a001:12 counter")
        assert await udp(world, to)
        assert "packets 1 " in world.nft("list", "table", "inet", "seen")
    finally:
        world.nft("delete table inet seen")
