"""A region with two tunnels loses the one that carries its packets: how long a client of an EIP notices.

Silent loss: the underlay drops everything, both ways, from one moment on, and only checks tell. A client sends a
datagram and a line on one TCP connection each 10 ms; what it notices is the longest time without an answer. A TCP
sender that got no answer tries again after 0.2, 0.4 and 0.8 s, so that its gap is the next of these tries after the
change of tunnel. Carrier loss: the far end of the device goes down; until the kernel tells of the new route.
"""

from __future__ import annotations

import os
import random
import selectors
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from anycastd.actuators.nft.channel import enter
from tests.bench.configs import AT_ONCE, Document, document
from tests.bench.eip_world import PREFIX, backend, eip
from tests.bench.figures import Figure, percentile
from tests.bench.world import POP_ADDRESS, World, namespaces
from tests.bench.world import run as do
from tests.wait import wait_until

T = TypeVar("T")

ECHO_PROGRAM = Path(__file__).with_name("echo.py")
CHECK = {"icmp": {"interval": "200ms", "timeout": "200ms", "rise": 3, "fall": 3}}
PORT, USED = 7, 6
LOSSES, CARRIERS = 5, 10
SEND_EACH_S = 0.01
AFTER_S, BEFORE_S = 2.5, 0.5
SILENT_BUDGET_S, CARRIER_BUDGET_MS = 1.0, 20.0
REST_S = 2.0
"""Between two changes of a device: the kernel tells of a second within a second with a delay of its own."""
CUT = """table ip cut {
 chain in { type filter hook prerouting priority -400; iifname "u0" drop; }
 chain out { type filter hook output priority -400; oifname "u0" drop; }
}
"""
# the numbers of both ends differ: of a device that looks like its own lower one the kernel tells late
POP = """link add c0 type veth peer name up0 netns {client}
addr add 10.50.0.1/30 dev c0
link set c0 up
link add u0 index 101 type veth peer name u0 netns {far}
link add u1 index 102 type veth peer name u1 netns {far}
link set u0 up
link set u1 up
addr add {bgp}/32 dev lo
"""
CLIENT = """addr add 10.50.0.2/30 dev up0
link set up0 up
route add default via 10.50.0.1
"""
FAR = """link set u0 up
link set u1 up
addr add {backend}/32 dev lo
route add default dev u1
"""
TUNNEL = """addr add 10.51.{n}.{me}/30 dev u{n}
link add vx{n} mtu 1450 type vxlan id {vni} local 10.51.{n}.{me} remote 10.51.{n}.{other} dstport 4789 dev u{n}
addr add 10.100.{n}.{me}/30 dev vx{n}
link set vx{n} up
"""
PLAIN = "addr add 10.100.{n}.{me}/30 dev u{n}\n"
RTM_NEWLINK, RTM_NEWROUTE, RTA_GATEWAY, RTA_PRIORITY = 16, 24, 5, 6
RTMGRP_LINK, RTMGRP_IPV4_ROUTE, IFF_LOWER_UP = 1, 0x40, 0x10000
METRIC = 100
FAR_END = {number: socket.inet_aton(f"10.100.{number}.2") for number in (0, 1)}


class Inside:
    """A thread in a namespace: what it makes stays there."""

    def __init__(self, netns: str) -> None:
        self._pool = ThreadPoolExecutor(1, initializer=enter, initargs=(netns,))

    def do(self, what: Callable[[], T]) -> T:
        """Run something there."""
        return self._pool.submit(what).result(20)

    def end(self) -> None:
        """End the thread."""
        self._pool.shutdown()


@dataclass
class Scene:
    """A POP with an EIP, its client, and the region's gateway and backend in one."""

    made: World
    client: Inside
    device: str

    def best(self) -> int | None:
        """Return the number of the tunnel that carries the region's packets."""
        routes = self.made.read("ip", "-n", self.made.pop, "route", "show", "table", "all").splitlines()
        ours = [line for line in routes if "table 1001" in line and f"metric {METRIC} " in f"{line} "]
        return next((n for n in (0, 1) if any(f"dev {self.device}{n} " in line for line in ours)), None)


def _document(device: str) -> Document:
    tunnels = {
        f"t{n}": {
            "device": f"{device}{n}",
            "local": f"10.100.{n}.1",
            "far_end": f"10.100.{n}.2",
            "priority": n + 1,
            "checks": [CHECK],
        }
        for n in (0, 1)
    }
    region = {
        "mode": "dnat",
        "number": 1,
        "tunnels": tunnels,
        "backends": {"b": {"address": backend(0, 0), "checks": [CHECK]}},
    }
    whole = document({"r0": region}, {PREFIX: {"announce_when": {"tunnels": "any"}, "timers": AT_ONCE}})
    return whole | {"eips": {str(eip(USED)): {"bind": ["r0/b"]}}}


def _gateway(made: World, device: str) -> None:
    """Let answers leave by the tunnel that a connection's last packet came by: the product's own gateway."""
    tunnels = {f"t{n}": {"device": f"{device}{n}", "pop": "bench", "far_end": f"10.100.{n}.1"} for n in (0, 1)}
    ready, path = made.directory / "gateway.ready", made.directory / "gateway.yaml"
    lines = [f"  {name}: {{{', '.join(f'{k}: {v}' for k, v in one.items())}}}" for name, one in tunnels.items()]
    path.write_text("\n".join(["tunnels:", *lines, ""]), encoding="ascii")
    words = ["gateway", "apply", "-c", str(path), "--watch", "--ready", str(ready)]
    made.spawn(made.far, [sys.executable, "-m", "anycastd", *words], "gateway.log")
    wait_until("the gateway is ready", 20, ready.exists)


@contextmanager
def scene(device: str) -> Iterator[Scene]:
    """Make everything, with tunnels of kind vxlan (`vx`) or plain links (`u`)."""
    with namespaces("c", "f", "p") as (directory, (client, far, pop)):
        made = World(pop, far, directory)
        inside = Inside(client)
        try:
            words = {"client": client, "far": far, "bgp": POP_ADDRESS, "backend": backend(0, 0)}
            for name, lines in ((pop, POP), (client, CLIENT), (far, FAR)):
                do("ip", "-n", name, "-batch", "-", text=lines.format(**words))
                switches = ("net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
                do("ip", "netns", "exec", name, "sysctl", "-qw", *switches)
            for n in (0, 1):
                for name, me in ((pop, 1), (far, 2)):
                    lines = (TUNNEL if device == "vx" else PLAIN).format(n=n, me=me, other=3 - me, vni=100 + n)
                    do("ip", "-n", name, "-batch", "-", text=lines)
            _gateway(made, device)
            made.spawn(far, [sys.executable, str(ECHO_PROGRAM), backend(0, 0), str(PORT)], "echo.log")
            made.write_config(_document(device))
            made.daemon()
            found = Scene(made, inside, device)
            wait_until("the first tunnel carries packets", 30, lambda: found.best() == 0)
            yield found
        finally:
            made.end()
            inside.end()


@dataclass
class Client:
    """Answers by their times; `broken` is what ended the TCP connection."""

    udp_s: list[float] = field(default_factory=list)
    tcp_s: list[float] = field(default_factory=list)
    broken: str = ""

    def gaps_s(self, since_s: float) -> tuple[float, float]:
        """Return the longest time without an answer, of datagrams and of the connection."""
        return _gap_s(self.udp_s, since_s), _gap_s(self.tcp_s, since_s)


def _gap_s(times_s: list[float], since_s: float) -> float:
    late = [at_s for at_s in times_s if at_s >= since_s]
    before = max((at_s for at_s in times_s if at_s < since_s), default=since_s)
    every = [before, *late]
    # one that never came again lasts to the end
    return max((b - a for a, b in pairwise(every)), default=AFTER_S) if late else AFTER_S


def _sockets(inside: Inside) -> tuple[socket.socket, socket.socket]:
    target = (str(eip(USED)), PORT)

    def make() -> tuple[socket.socket, socket.socket]:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.connect(target)
        tcp = socket.create_connection(target, 5.0)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for one in (udp, tcp):
            one.setblocking(False)
        return udp, tcp

    return inside.do(make)


def _converse(inside: Inside, at_s: float, happen: Callable[[], None]) -> tuple[Client, float]:
    """Let a client send; let something happen once after `at_s`. Return what it got, and when that was."""
    udp, tcp = _sockets(inside)
    seen, chosen = Client(), selectors.DefaultSelector()
    chosen.register(udp, selectors.EVENT_READ, seen.udp_s)
    chosen.register(tcp, selectors.EVENT_READ, seen.tcp_s)
    begun_s = due_s = time.monotonic()
    happened_s = 0.0
    while (now_s := time.monotonic()) < begun_s + at_s + AFTER_S:
        if now_s >= due_s:
            due_s = max(due_s + SEND_EACH_S, now_s)
            for one in (udp, tcp):
                with suppress(BlockingIOError, ConnectionRefusedError):
                    one.send(b"x\n")
        if not happened_s and now_s >= begun_s + at_s:
            happened_s = now_s
            happen()
        for key, _ in chosen.select(max(0.0, due_s - time.monotonic())):
            _take(key, seen, chosen)
    udp.close()
    tcp.close()
    return seen, happened_s


def _take(key: selectors.SelectorKey, seen: Client, chosen: selectors.BaseSelector) -> None:
    assert isinstance(key.fileobj, socket.socket)
    try:
        if key.fileobj.recv(65536):
            key.data.append(time.monotonic())
            return
        seen.broken = "it was closed"
    except OSError as error:
        if key.data is seen.udp_s:
            return
        seen.broken = str(error)
    chosen.unregister(key.fileobj)


def silent(losses: int) -> tuple[list[tuple[float, float]], tuple[float, float], list[str]]:
    """Return both gaps of each loss, those of a run without one, and what broke connections."""
    gaps, broken, chosen = [], [], random.Random(11)
    with scene("vx") as made:

        def nft(text: str) -> None:
            do("ip", "netns", "exec", made.made.far, "nft", "-f", "-", text=text)

        seen, at_s = _converse(made.client, BEFORE_S, lambda: None)
        control = seen.gaps_s(at_s)
        for _ in range(losses):
            # another phase of the checks each time
            seen, at_s = _converse(made.client, BEFORE_S + chosen.random() * 0.2, lambda: nft(CUT))
            gaps.append(seen.gaps_s(at_s))
            broken += [seen.broken] if seen.broken else []
            if made.best() != 1:
                broken.append("the other tunnel does not carry packets")
            nft("delete table ip cut")
            wait_until("the first tunnel carries packets again", 20, lambda: made.best() == 0)
    return gaps, control, broken


class Monitor:
    """What the kernel of a namespace tells of devices and routes, with the time when it was read."""

    def __init__(self, inside: Inside) -> None:
        def make() -> socket.socket:
            made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
            made.bind((0, RTMGRP_LINK | RTMGRP_IPV4_ROUTE))
            made.settimeout(0.2)
            return made

        self._socket = inside.do(make)
        self.told: list[tuple[float, bytes]] = []
        self._over = False
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while not self._over:
            with suppress(TimeoutError):
                data = self._socket.recv(65536)
                self.told.append((time.monotonic(), data))

    def first(self, is_it: Callable[[int, bytes], bool]) -> float | None:
        """Return when the first message of a kind was read."""
        for at_s, data in list(self.told):
            at = 0
            while at < len(data):
                size, kind = struct.unpack_from("=IH", data, at)
                if is_it(kind, data[at + 16 : at + size]):
                    return at_s
                at += (size + 3) & ~3
        return None

    def close(self) -> None:
        """End."""
        self._over = True
        self._thread.join()
        self._socket.close()


def _lost_carrier(kind: int, body: bytes) -> bool:
    _, _, index, flags = struct.unpack_from("=BBHiI", body)[1:5] if kind == RTM_NEWLINK else (0, 0, 0, 0)
    return kind == RTM_NEWLINK and index == 101 and not flags & IFF_LOWER_UP


def _new_route(kind: int, body: bytes) -> bool:
    """Return whether a message tells of the region's best route, by the second tunnel."""
    if kind != RTM_NEWROUTE:
        return False
    found, at = {}, 12
    while at + 4 <= len(body):
        size, what = struct.unpack_from("=HH", body, at)
        found[what] = body[at + 4 : at + size]
        at += max((size + 3) & ~3, 4)
    return found.get(RTA_GATEWAY) == FAR_END[1] and found.get(RTA_PRIORITY) == struct.pack("=I", METRIC)


def carrier(count: int) -> tuple[list[float], list[float]]:
    """Return how long (s) the new route took from the order to take the far end down, and from the kernel's word."""
    from_order, from_word = [], []
    with scene("u") as made:
        far, pop = Inside(made.made.far), Inside(made.made.pop)
        index = far.do(lambda: socket.if_nametoindex("u0"))
        request = struct.pack("=IHHIIBBHiII", 32, RTM_NEWLINK, 1, 1, 0, 0, 0, 0, index, 0, 1)
        orders = far.do(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0))
        for _ in range(count):
            _rest()
            monitor = Monitor(pop)
            begun_s = time.monotonic()
            orders.send(request)
            wait_until("the new route", 5, lambda monitor=monitor: monitor.first(_new_route))  # type: ignore[misc]
            stood_s, lost_s = monitor.first(_new_route), monitor.first(_lost_carrier)
            monitor.close()
            assert stood_s is not None
            from_order.append(stood_s - begun_s)
            from_word.append(max(stood_s - (lost_s or begun_s), 0.0))
            _rest()
            do("ip", "-n", made.made.far, "link", "set", "u0", "up")
            wait_until("the first tunnel carries packets again", 20, lambda: made.best() == 0)
        orders.close()
        far.end()
        pop.end()
    return from_order, from_word


def _rest() -> None:
    end_s = time.monotonic() + REST_S
    wait_until("the kernel's second is over", REST_S + 5, lambda: time.monotonic() > end_s)


def run(losses: int = LOSSES, carriers: int = CARRIERS) -> list[Figure]:
    """Measure silent losses of a tunnel, then losses of carrier."""
    gaps, control, broken = silent(losses)
    from_order, from_word = carrier(carriers)
    load = f"load {os.getloadavg()[0]:.1f}"
    return [*_silent_figures(gaps, control, broken, load), _carrier_figure(from_order, from_word, load)]


def _silent_figures(
    gaps: list[tuple[float, float]], control: tuple[float, float], broken: list[str], load: str
) -> list[Figure]:
    figures = []
    for at, what in ((0, "datagrams to an EIP"), (1, "one TCP connection to an EIP, which goes on")):
        each = [gap[at] for gap in gaps]
        missed = f"The longest gap is {max(each):.2f} s." if max(each) > SILENT_BUDGET_S else ""
        figures.append(
            Figure(
                f"tunnel lost silently (checks 200 ms x 3): longest time without answers, {what} ({load})",
                f"{max(each):.2f} s (each: {', '.join(f'{one:.2f}' for one in each)})",
                f"{control[at] * 1000:.0f} ms without a loss",
                budget=f"worst of {len(gaps)} <= {SILENT_BUDGET_S:.0f} s",
                missed=" ".join([missed, *(broken if at else ())]).strip(),
            )
        )
    return figures


def _carrier_figure(from_order: list[float], from_word: list[float], load: str) -> Figure:
    worst_ms = max(from_word) * 1000
    order_ms = ", ".join(f"{percentile(from_order, share) * 1000:.1f}" for share in (0.5, 1.0))
    return Figure(
        f"tunnel's carrier lost: until the new route stands ({load})",
        f"{percentile(from_word, 0.5) * 1000:.1f} ms, worst {worst_ms:.1f} ms (n = {len(from_word)}); from the order "
        f"that takes the far end down {order_ms} ms",
        budget=f"worst <= {CARRIER_BUDGET_MS:.0f} ms",
        missed=f"One took {worst_ms:.1f} ms." if worst_ms > CARRIER_BUDGET_MS else "",
    )


if __name__ == "__main__":
    for figure in run():
        print(figure.name, "|", figure.measured, "|", figure.baseline, "|", figure.missed)
