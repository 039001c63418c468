"""What the probe engine costs, beside a bare epoll loop that makes the same system calls in the same run."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import multiprocessing
import select
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Address
from multiprocessing.connection import Connection

from anycastd.model.address import CheckId
from anycastd.model.checks import CheckKind, CheckSpec, HttpOptions, ProbeSpec, Timing
from anycastd.model.probe import ProbeResult
from anycastd.probes.engine import Engine

ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 3\r\nConnection: close\r\n\r\nok\n"
)
REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bare\r\nConnection: close\r\n\r\n"
IN_FLIGHT = 64
ROUNDS = 5


def _answer_for_ever(ready: Connection) -> None:
    """Answer each connection as soon as something is received, and close it: itself a bare loop, to keep up."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(4096)
    listener.setblocking(False)
    ready.send(listener.getsockname()[1])
    epoll, peers = select.epoll(), dict[int, socket.socket]()
    epoll.register(listener.fileno(), select.EPOLLIN)
    while True:
        for descriptor, _ in epoll.poll():
            if descriptor == listener.fileno():
                for _ in range(64):
                    try:
                        peer = listener.accept()[0]
                    except OSError:
                        break
                    peers[peer.fileno()] = peer
                    epoll.register(peer.fileno(), select.EPOLLIN)
                continue
            peer = peers.pop(descriptor)
            with contextlib.suppress(OSError):
                if peer.recv(4096):
                    peer.send(ANSWER)
            peer.close()


@contextlib.contextmanager
def server() -> Iterator[int]:
    """Run an HTTP server in a process of its own; give its port on 127.0.0.1."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_answer_for_ever, args=(there,), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.kill()
        process.join()


def bare_per_cpu_s(port: int, seconds: float) -> float:
    """Return probes per CPU second of the least loop that does the same: connect, send, read, look at the status."""
    epoll, running, done = select.epoll(), dict[int, socket.socket](), 0
    sent: set[int] = set()
    linger, mask = struct.pack("ii", 1, 0), select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
    end_s, cpu_s = time.monotonic() + seconds, time.process_time()
    while time.monotonic() < end_s:
        while len(running) < IN_FLIGHT:
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            running[sock.fileno()] = sock
            epoll.register(sock.fileno(), mask)
            if sock.connect_ex(("127.0.0.1", port)) not in (0, errno.EINPROGRESS):
                raise SystemExit("the server is gone")
        for descriptor, _ in epoll.poll(1.0, IN_FLIGHT):
            sock = running[descriptor]
            if descriptor not in sent:
                sock.send(REQUEST)
                sent.add(descriptor)
                continue
            if sock.recv(16384).startswith(b"HTTP/1.1 200"):
                done += 1
            sent.discard(descriptor)
            del running[descriptor]
            sock.close()
    rate = done / (time.process_time() - cpu_s)
    for sock in running.values():
        sock.close()
    epoll.close()
    return rate


def specs(count: int, port: int, timing: Timing) -> list[ProbeSpec]:
    """Return HTTP checks of the server."""
    options = HttpOptions(port=port)
    check = CheckSpec(name="bench", kind=CheckKind.HTTP, options=options, timing=timing)
    return [
        ProbeSpec(id=CheckId(f"self/{n}/bench"), check=check, target=IPv4Address("127.0.0.1")) for n in range(count)
    ]


async def _engine(count: int, port: int, timing: Timing, seconds: float) -> dict[str, float]:
    """Return what the engine did per wall and per CPU second, after a second of warming up."""
    loop, outcomes = asyncio.get_running_loop(), Counter[str]()

    def take(result: ProbeResult) -> None:
        outcomes[result.why.value] += 1

    engine = Engine(loop, take, dict)
    engine.set_probes(specs(count, port, timing))
    await asyncio.sleep(1.0)
    outcomes.clear()
    begun_s, cpu_s = loop.time(), time.process_time()
    await asyncio.sleep(seconds)
    wall_s, used_s = loop.time() - begun_s, time.process_time() - cpu_s
    stats = engine.stats
    engine.close()
    good = outcomes["answered"]
    return {
        "per_s": good / wall_s,
        "per_cpu_s": good / used_s,
        "cpu_share": used_s / wall_s,
        "not_answered": sum(outcomes.values()) - good,
        "late_max_ms": stats.late_max_s * 1000,
    }


def run(seconds: float) -> dict[str, float]:
    """Measure for about `seconds` in all; the ratio is the median of pairs run one after the other."""
    each_s = max(0.5, seconds / (2 * ROUNDS + 3))
    overload = Timing(interval_s=0.1, timeout_s=5.0)
    pairs: list[tuple[float, float]] = []
    with server() as port:
        for _ in range(ROUNDS):
            bare = bare_per_cpu_s(port, each_s)
            pairs.append((bare, asyncio.run(_engine(2000, port, overload, each_s))["per_cpu_s"]))
        few = asyncio.run(_engine(100, port, Timing(interval_s=1.0), each_s))
        many = asyncio.run(_engine(1000, port, Timing(interval_s=1.0), 2 * each_s))
        most = asyncio.run(_engine(10_000, port, Timing(interval_s=5.0), 2 * each_s))
    bare, engine = sorted(pairs, key=lambda pair: pair[1] / pair[0])[ROUNDS // 2]
    return {
        "http_bare_per_cpu_s": bare,
        "http_engine_per_cpu_s": engine,
        "http_ratio": engine / bare,
        "cpu_share_100_checks_1s": few["cpu_share"],
        "cost_us_100": 1e6 / few["per_cpu_s"],
        "cost_us_1000": 1e6 / many["per_cpu_s"],
        "cost_us_10000": 1e6 / most["per_cpu_s"],
        "cpu_share_1000_checks_1s": many["cpu_share"],
        "per_s_1000_checks_1s": many["per_s"],
        "not_answered_1000_checks_1s": many["not_answered"],
        "late_max_ms_1000_checks_1s": many["late_max_ms"],
    }


if __name__ == "__main__":
    figures = run(float(sys.argv[1]) if len(sys.argv) > 1 else 12.0)
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}, indent=2))
