"""Real servers that misbehave on purpose, and an engine whose results can be waited for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from ipaddress import ip_address

from anycastd.model.address import CheckId
from anycastd.model.checks import CheckKind, CheckSpec, HttpOptions, Options, ProbeSpec, TcpOptions, Timing
from anycastd.model.kernel import LinkView
from anycastd.model.probe import ProbeResult, Why
from anycastd.probes.engine import Engine

Script = Callable[[socket.socket, threading.Event], None]
"""What a server does with one connection; the event is set when the server ends."""

QUICK = Timing(interval_s=0.1, timeout_s=0.4)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def answer(data: bytes, *, delay_s: float = 0.0) -> Script:
    """Return a script that reads the request, sends this and closes."""

    def script(peer: socket.socket, ended: threading.Event) -> None:
        peer.recv(65536)
        if delay_s:
            ended.wait(delay_s)
        peer.sendall(data)

    return script


def drip(data: bytes, *, each_s: float) -> Script:
    """Return a script that sends one byte at a time."""

    def script(peer: socket.socket, ended: threading.Event) -> None:
        peer.recv(65536)
        for byte in data:
            if ended.wait(each_s):
                return
            peer.sendall(bytes((byte,)))

    return script


def hang(_peer: socket.socket, ended: threading.Event) -> None:
    """Take the connection, and say nothing."""
    ended.wait()


def reset(peer: socket.socket, _ended: threading.Event) -> None:
    """Read the request and answer with RST."""
    peer.recv(65536)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Server:
    """A listener on loopback, one thread per connection; `script` may be changed while it runs."""

    def __init__(self, script: Script, host: str, tls: ssl.SSLContext | None) -> None:
        self.script, self.requests = script, 0
        self._tls, self._ended = tls, threading.Event()
        self._listener = socket.create_server(
            (host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=128
        )
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def close(self) -> None:
        """End all threads."""
        self._ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                peer = self._listener.accept()[0]
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(peer, self.script))
            self.requests += 1
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: socket.socket, script: Script) -> None:
        with contextlib.suppress(OSError), peer:
            peer.settimeout(5.0)
            if self._tls is None:
                script(peer, self._ended)
            else:
                with self._tls.wrap_socket(peer, server_side=True) as secured:
                    script(secured, self._ended)


@contextlib.contextmanager
def server(script: Script, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Run a server."""
    running = Server(script, host, tls)
    try:
        yield running
    finally:
        running.close()


class Probing:
    """An engine on the test's loop, and what it said."""

    def __init__(self, links: Callable[[], Mapping[str, LinkView]]) -> None:
        self.results: list[ProbeResult] = []
        self._more = asyncio.Event()
        self.troubles: dict[str, str] = {}
        self.engine = Engine(asyncio.get_running_loop(), self._take, links, self._name)

    def _name(self, name: str, detail: str | None) -> None:
        if detail is None:
            self.troubles.pop(name, None)
        else:
            self.troubles[name] = detail

    def _take(self, result: ProbeResult) -> None:
        self.results.append(result)
        self._more.set()

    def of(self, check: str) -> list[ProbeResult]:
        """Return the results of one check."""
        return [result for result in self.results if result.check == check]

    def whys(self) -> set[Why]:
        """Return all that was seen."""
        return {result.why for result in self.results}

    async def until(self, what: str, so: Callable[[], bool], deadline_s: float = 5.0) -> None:
        """Wait until it is so; asked after each result."""
        try:
            async with asyncio.timeout(deadline_s):
                while not so():
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"not within {deadline_s} s: {what} (seen: {self.results[-5:]})") from None

    async def first(self, spec: ProbeSpec) -> ProbeResult:
        """Run one check and return its first result."""
        self.engine.set_probes([spec])
        self.engine.nudge(spec.id)
        await self.until("a result", lambda: bool(self.of(spec.id)))
        return self.of(spec.id)[0]


@contextlib.asynccontextmanager
async def probing(links: Callable[[], Mapping[str, LinkView]] = dict) -> AsyncIterator[Probing]:
    """Run an engine."""
    running = Probing(links)
    try:
        yield running
    finally:
        running.engine.close()


def spec(
    kind: CheckKind,
    options: Options,
    *,
    name: str = "self/a/b",
    target: str = "127.0.0.1",
    source: str | None = None,
    device: str | None = None,
    timing: Timing = QUICK,
) -> ProbeSpec:
    """Return a check of one target."""
    return ProbeSpec(
        id=CheckId(name),
        check=CheckSpec(name="b", kind=kind, options=options, timing=timing),
        target=ip_address(target),
        source=None if source is None else ip_address(source),
        device=device,
    )


def http(port: int, *, name: str = "self/a/b", timing: Timing = QUICK) -> ProbeSpec:
    """Return a plain HTTP check on loopback."""
    return spec(CheckKind.HTTP, HttpOptions(port=port), name=name, timing=timing)


def tcp(port: int, *, name: str = "self/a/b", timing: Timing = QUICK, source: str | None = None) -> ProbeSpec:
    """Return a TCP check on loopback."""
    return spec(CheckKind.TCP, TcpOptions(port=port), name=name, timing=timing, source=source)


def unused_port() -> int:
    """Return a port on 127.0.0.1 where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port
