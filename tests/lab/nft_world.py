"""Four namespaces for the packet filter's tests: a client, the POP, and two regions behind tunnels.

Each region is its own gateway and backend: every address of the anycast prefixes is local to it (routed mode), and so
are the addresses of a backend (the translating modes). It answers with its name and with whom it saw.
"""

from __future__ import annotations

import asyncio
import gc
import os
import selectors
import socket
import struct
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any, TypeVar

from anycastd.actuators.nft import conntrack
from anycastd.actuators.nft.channel import SO_RCVBUFFORCE, Channel, enter
from anycastd.actuators.nft.table import NftTable
from anycastd.model.address import Address
from anycastd.model.eip import FlushConnections
from anycastd.model.nft import BUCKETS, DropElement, Limit, NftChange, NftSet, NftSettings, PutElement, Value
from tests.lab.kernel_world import run
from tests.wait import AT_LEAST_S, wait_until

T = TypeVar("T")

NAME = "anynft"
OWN = {4: "198.51.100.0/24", 6: "2001:db8:e::/48"}
CLIENT = {4: "192.0.2.2", 6: "2001:db8:c::2"}
BACKEND = {1: {4: "10.11.0.2", 6: "fd00:b1::2"}, 2: {4: "10.12.0.2", 6: "fd00:b2::2"}}
OURS = {1: {4: "172.16.1.1", 6: "fd00:1::1"}, 2: {4: "172.16.2.1", 6: "fd00:2::1"}}
PATH = {1: 0x01000007, 2: 0x02000009}
TUNNEL_MTU = 1450
ECHO_PORT, OTHER_PORT = 7, 8080
SWITCHES = (
    "net.ipv4.ip_forward=1",
    "net.ipv6.conf.all.forwarding=1",
    "net.ipv4.conf.all.rp_filter=0",
    "net.ipv4.conf.default.rp_filter=0",
    "net.ipv4.icmp_ratelimit=0",
    "net.ipv6.icmp.ratelimit=0",
    "net.ipv6.ip_nonlocal_bind=1",
    "net.ipv6.conf.all.accept_dad=0",
    "net.ipv6.conf.default.accept_dad=0",
)
IP_PKTINFO, IPV6_PKTINFO, IPV6_RECVPKTINFO = 8, 50, 49


def eip(version: int, number: int) -> Address:
    """Return an address of the anycast prefix."""
    return ip_network(OWN[version])[number]


@dataclass
class World:
    """The namespaces, and what was started in them."""

    names: dict[str, str]
    stack: ExitStack = field(default_factory=ExitStack)
    echoes: dict[str, Echo] = field(default_factory=dict)
    used: int = 9

    def ip(self, where: str, *words: str) -> str:
        return run("ip", "-n", self.names[where], *words)

    def nft(self, *words: str) -> str:
        return run("ip", "netns", "exec", self.names["pop"], "nft", *words)

    def fresh(self, version: int) -> Address:
        """Return an address that no test has used: sockets of an earlier one may still send."""
        self.used += 1
        return eip(version, self.used)

    def connections(self, where: str) -> str:
        """Return the tracked connections of a namespace."""
        return self.inside(where, lambda: Path("/proc/thread-self/net/nf_conntrack").read_text())

    def forget(self) -> None:
        """Forget every connection of the POP."""

        def flush() -> bool:
            channel = Channel()
            conntrack.flush(channel, FlushConnections(0, 0))
            channel.close()
            return True

        self.inside("pop", flush)

    def icmp_echoes(self, where: str, version: int) -> int:
        """Return how many echo requests a namespace has answered."""
        if version == 6:
            lines = self.inside(where, lambda: Path("/proc/thread-self/net/snmp6").read_text()).splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("Icmp6InEchos "))
        text = self.inside(where, lambda: Path("/proc/thread-self/net/snmp").read_text())
        names, numbers = (line.split() for line in text.splitlines() if line.startswith("Icmp: "))
        return int(numbers[names.index("InEchos")])

    def inside(self, where: str, do: Callable[[], T]) -> T:
        """Run something in a namespace; sockets that it makes stay there."""
        result: list[T] = []

        def thread() -> None:
            enter(self.names[where])
            result.append(do())

        one = threading.Thread(target=thread)
        one.start()
        one.join(10)
        assert result, f"failed inside {where}"
        return result[0]

    def socket(self, where: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """Return a socket in a namespace that is closed at the end and waits at most a second."""
        made = self.inside(where, lambda: socket.socket(family, kind, protocol))
        self.stack.callback(made.close)
        made.settimeout(1)
        return made


def _setup(world: World) -> None:
    names = world.names
    for name in names.values():
        run("ip", "netns", "add", name)
        run("ip", "netns", "exec", name, "sysctl", "-qw", *SWITCHES)
        run("ip", "-n", name, "link", "set", "lo", "up")
    _link(world, "cli", "c0", ("192.0.2.2/24", "2001:db8:c::2/64"), "pop", "up0", ("192.0.2.1/24", "2001:db8:c::1/64"))
    for version, gateway in ((4, "192.0.2.1"), (6, "2001:db8:c::1")):
        world.ip("cli", f"-{version}", "route", "add", "default", "via", gateway)
    for number in (1, 2):
        under = (f"10.{number}.0.1/30",), (f"10.{number}.0.2/30",)
        _link(world, "pop", f"u{number}", under[0], f"r{number}", "u0", under[1])
        _tunnel(world, number)
    for version in (4, 6):
        world.ip("pop", f"-{version}", "route", "add", "blackhole", OWN[version])
    _introduce(world)


def _introduce(world: World) -> None:
    """Let neighbors find each other, which may lose the first packets."""
    for where, others in (("pop", [CLIENT, *OURS.values()]), ("cli", [{4: "192.0.2.1", 6: "2001:db8:c::1"}])):
        for other in others:
            for address in other.values():
                far = address[:-1] + "2" if where == "pop" else address
                wait_until(f"{far} answers", 5, partial(_answers, world.names[where], far))


def _answers(where: str, far: str) -> bool:
    ping = ("ip", "netns", "exec", where, "ping", "-c", "1", "-W", "1", far)
    return subprocess.call(ping, stdout=subprocess.DEVNULL) == 0


def _link(world: World, a: str, a_device: str, a_at: Sequence[str], b: str, b_device: str, b_at: Sequence[str]) -> None:
    world.ip(a, "link", "add", a_device, "type", "veth", "peer", "name", b_device, "netns", world.names[b])
    for where, device, addresses in ((a, a_device, a_at), (b, b_device, b_at)):
        for address in addresses:
            world.ip(where, "addr", "add", address, "dev", device, *(["nodad"] if ":" in address else []))
        world.ip(where, "link", "set", device, "up")


def _tunnel(world: World, number: int) -> None:
    region = f"r{number}"
    ends = ("pop", f"t{number}", "1", "2"), (region, "t0", "2", "1")
    for where, device, here, there in ends:
        outer = ("local", f"10.{number}.0.{here}", "remote", f"10.{number}.0.{there}")
        world.ip(where, "link", "add", device, "type", "vxlan", "id", str(100 + number), *outer, "dstport", "4789")
        world.ip(where, "link", "set", device, "mtu", str(TUNNEL_MTU))
        world.ip(where, "addr", "add", f"172.16.{number}.{here}/30", "dev", device)
        world.ip(where, "addr", "add", f"fd00:{number}::{here}/64", "dev", device, "nodad")
        world.ip(where, "link", "set", device, "up")
    table, rule = str(1000 + number), ("fwmark", f"{number << 24:#x}/0xff000000")
    for version in (4, 6):
        family = f"-{version}"
        far = OURS[number][version][:-1] + "2"
        world.ip("pop", family, "rule", "add", "pref", table, *rule, "lookup", table)
        world.ip("pop", family, "route", "add", "default", "via", far, "dev", f"t{number}", "table", table)
        world.ip("pop", family, "route", "add", "blackhole", "default", "metric", "4294967000", "table", table)
        world.ip(region, family, "route", "add", "default", "via", OURS[number][version], "dev", "t0")
        world.ip(region, family, "route", "add", "local", OWN[version], "dev", "lo")
        world.ip(region, family, "addr", "add", BACKEND[number][version], "dev", "lo")


class Echo(threading.Thread):
    """Answers datagrams and connections inside of a region: its name, whom it saw, and at which address and port."""

    def __init__(self, world: World, where: str) -> None:
        super().__init__(daemon=True)
        self._where = where
        self._selector = selectors.DefaultSelector()
        self._quit, self._wake = socket.socketpair()
        self._selector.register(self._quit, selectors.EVENT_READ, self._quit)
        self._streams: list[socket.socket] = []
        self.mss: list[int] = []
        world.inside(where, self._open)
        self.start()

    def _open(self) -> bool:
        for family in (socket.AF_INET, socket.AF_INET6):
            for port in (ECHO_PORT, OTHER_PORT):
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    one = socket.socket(family, kind)
                    if family == socket.AF_INET6:
                        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                        one.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
                    else:
                        one.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    one.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 20)
                    one.bind(("", port))
                    if kind == socket.SOCK_STREAM:
                        one.listen(64)
                    self._selector.register(one, selectors.EVENT_READ, "datagram" if kind != 1 else "listen")
        return True

    def run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is self._quit:
                    for other in list(self._selector.get_map().values()):
                        other.fileobj.close()  # type: ignore[union-attr]
                    self._wake.close()
                    return
                one: socket.socket = key.fileobj  # type: ignore[assignment]
                if key.data == "datagram":
                    self._datagram(one)
                elif key.data == "listen":
                    self._accept(one)
                else:
                    self._stream(one)

    def _datagram(self, one: socket.socket) -> None:
        data, extra, _, peer = one.recvmsg(65536, 256)
        info = bytes(extra[0][2])
        at: Address = IPv4Address(info[8:12]) if one.family == socket.AF_INET else IPv6Address(info[:16])
        answer = bytes(4) + info[8:12] + bytes(4) if one.family == socket.AF_INET else info[:16] + bytes(4)
        kind = (socket.IPPROTO_IP, IP_PKTINFO) if one.family == socket.AF_INET else (socket.IPPROTO_IPV6, IPV6_PKTINFO)
        said = self._say(peer, str(at), one.getsockname()[1]) + b" " + data
        one.sendmsg([said[: max(len(data), 100)]], [(*kind, answer)], 0, peer)

    def _say(self, peer: tuple[str, int], at: str, port: int) -> bytes:
        return f"{self._where} {peer[0]} {at} {port}".encode()

    def _accept(self, listening: socket.socket) -> None:
        one, _ = listening.accept()
        self.mss.append(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
        self._selector.register(one, selectors.EVENT_READ, "stream")

    def _stream(self, one: socket.socket) -> None:
        try:
            data = one.recv(65536)
            if data:
                here = one.getsockname()
                one.sendall(self._say(one.getpeername(), here[0], here[1]))
                return
        except OSError:
            pass
        self._selector.unregister(one)
        one.close()

    def close(self) -> None:
        self._wake.send(b"x")
        self.join(5)


@contextmanager
def built() -> Iterator[World]:
    """Bring the world up, and take it down."""
    for path in Path("/run/netns").glob(f"{NAME}-*"):
        if not Path(f"/proc/{path.name.split('-')[1]}").exists():
            run("ip", "netns", "del", path.name)
    world = World({one: f"{NAME}-{os.getpid()}-{one}" for one in ("cli", "pop", "r1", "r2")})
    try:
        with world.stack:
            _setup(world)
            yield world
    finally:
        for name in world.names.values():
            if Path("/run/netns", name).exists():
                run("ip", "netns", "del", name)


@dataclass
class Told:
    """What the table told, and a way to wait for it."""

    changed: asyncio.Event = field(default_factory=asyncio.Event)
    refused: list[tuple[str, str | None]] = field(default_factory=list)

    def on_refused(self, subject: str, detail: str | None) -> None:
        self.refused.append((subject, detail))


@asynccontextmanager
async def started(
    world: World, told: Told | None = None, settings: NftSettings | None = None, **more: Any
) -> AsyncIterator[NftTable]:
    told = told or Told()
    table = NftTable(
        settings or NftSettings(),
        on_change=told.changed.set,
        on_refused=told.on_refused,
        netns=world.names["pop"],
        **more,
    )
    await table.start()
    try:
        yield table
    finally:
        await table.close()


async def until(what: str, deadline_s: float, so: Callable[[], object]) -> float:
    """Wait in the loop; return how long it took."""
    deadline_s = max(deadline_s, AT_LEAST_S)
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    while not so():
        assert loop.time() - begun_s < deadline_s, f"not within {deadline_s} s: {what}"
        await asyncio.sleep(0.001)
    return loop.time() - begun_s


CONTROL_MS = 1.5
"""What `control_ms` gives on the machine for which the limits of steps were found."""


def control_ms() -> float:
    """Return the least processor time of a piece of work that is always the same."""
    took_s = []
    for _ in range(5):
        begun_s = time.thread_time()
        some: dict[int, str] = {}
        for number in range(20_000):
            some[number % 997] = str(number)
        took_s.append(time.thread_time() - begun_s)
    return min(took_s) * 1e3


@asynccontextmanager
async def loop_never_held(what: str, at_most_ms: float = 10.0) -> AsyncIterator[None]:
    """Say how long it took and how long a step of the loop took at most; fail above a limit of processor time.

    On a slower machine, by `control_ms`, the limit is that much higher.
    Without the garbage collector: how long it stops depends on all else that the process holds.
    """
    worst_ms = worst_cpu_ms = 0.0
    run_step = asyncio.Handle._run

    def step(self: asyncio.Handle) -> None:
        nonlocal worst_ms, worst_cpu_ms
        begun_s, cpu_s = time.monotonic(), time.thread_time()
        run_step(self)
        worst_ms = max(worst_ms, (time.monotonic() - begun_s) * 1e3)
        worst_cpu_ms = max(worst_cpu_ms, (time.thread_time() - cpu_s) * 1e3)

    gc.collect()
    gc.disable()
    begun_s, cpu_s = time.monotonic(), time.process_time()
    asyncio.Handle._run = step  # type: ignore[method-assign]
    try:
        yield
    finally:
        asyncio.Handle._run = run_step  # type: ignore[method-assign]
        gc.enable()
    took_s, used_s = time.monotonic() - begun_s, time.process_time() - cpu_s
    print(f"{what}: {took_s:.3f} s ({used_s:.3f} s CPU), worst step {worst_ms:.1f} ms ({worst_cpu_ms:.1f} ms CPU)")
    assert worst_cpu_ms < at_most_ms * max(1.0, control_ms() / CONTROL_MS)


def holds(table: NftTable, changes: Sequence[NftChange]) -> bool:
    """Return whether the table was read back with the changes in force."""
    elements = table.observed.elements
    assert elements is not None
    return all(
        change.key in elements[change.set] and elements[change.set][change.key] == change.value
        if isinstance(change, PutElement)
        else change.key not in elements[change.set]
        for change in changes
    )


async def apply(table: NftTable, changes: Sequence[NftChange]) -> None:
    """Apply changes and wait until they were read back."""
    table.apply(changes)
    await until("read back", 5, lambda: holds(table, changes))


def put(name: str, version: int, key: Address, value: Value = None) -> PutElement:
    return PutElement(NftSet(f"{name}{version}"), key, value)


def owned() -> list[NftChange]:
    return [PutElement(NftSet(f"own{version}"), ip_network(OWN[version])) for version in (4, 6)]


def path(number: int, mode: str) -> list[NftChange]:
    """Return the elements of the path to a region's backend in a mode; its mark is PATH, and its mode's in bits."""
    mark = mark_of(number, mode)
    if mode == "routed":
        return []
    found: list[NftChange] = [PutElement(NftSet.TRANSLATED, mark)]
    for version in (4, 6):
        found.append(PutElement(NftSet(f"nat{version}"), mark, ip_address(BACKEND[number][version])))
        if mode == "masquerade":
            found.append(PutElement(NftSet(f"hide{version}"), mark, ip_address(OURS[number][version])))
    return found


def mark_of(number: int, mode: str) -> int:
    return PATH[number] + {"routed": 0, "dnat": 0x100, "masquerade": 0x200}[mode]


def bound(address: Address, pool: int) -> list[NftChange]:
    """Return the elements of an EIP that uses a pool."""
    version = address.version
    counted = [put(name, version, address) for name in ("in", "new", "out")]
    return [*counted, put("eip", version, address, pool)]


def pool(number: int, marks: int | Sequence[int]) -> list[NftChange]:
    """Return the elements of a pool of one path, or of one for each bucket."""
    if isinstance(marks, int):
        return [PutElement(NftSet.POOL, number, marks)]
    assert len(marks) == BUCKETS
    return [PutElement(NftSet.SLOT, (number, bucket), mark) for bucket, mark in enumerate(marks)]


def drops(changes: Sequence[NftChange]) -> list[NftChange]:
    return [DropElement(change.set, change.key) for change in reversed(changes)]


def limited(address: Address, bytes_per_s: int, burst_bytes: int, way: str = "in") -> PutElement:
    return put(f"lim{way}", address.version, address, Limit(bytes_per_s, burst_bytes))


def ask_udp(world: World, to: Address, port: int = ECHO_PORT, from_port: int = 0, data: bytes = b"hello") -> str:
    """Send a datagram from the client and return the answer's words; empty when none comes."""
    one = _client(world, socket.SOCK_DGRAM, to, from_port)
    try:
        one.sendto(data, (str(to), port))
        return one.recv(65536).decode()
    except OSError:
        return ""
    finally:
        one.close()


def _client(world: World, kind: int, to: Address, from_port: int) -> socket.socket:
    family = socket.AF_INET if to.version == 4 else socket.AF_INET6
    one = world.socket("cli", family, kind)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((CLIENT[to.version], from_port))
    return one


def connect(world: World, to: Address, port: int = ECHO_PORT, from_port: int = 0) -> socket.socket:
    """Return a connection from the client."""
    one = _client(world, socket.SOCK_STREAM, to, from_port)
    one.connect((str(to), port))
    return one


def talk(one: socket.socket) -> str:
    one.sendall(b"hello")
    return one.recv(4096).decode()


def checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (total ^ 0xFFFF) & 0xFFFF
