"""The HTTP attempt: connect, TLS if asked, send, read until the verdict stands."""

from __future__ import annotations

import select
import socket
import ssl

from anycastd.model.address import Address
from anycastd.model.checks import HttpOptions, ProbeSpec
from anycastd.model.probe import Why
from anycastd.probes.attempt import Attempt, Owner, Reactor
from anycastd.probes.http.response import ResponseReader
from anycastd.probes.stream import Endpoint, StreamAttempt
from anycastd.probes.tls.contexts import Contexts, TlsClient, failure

READ_BYTES = 8192
"""Read at once, then others have their turn: in chunks of a byte it takes 5 ms, and a server may send for ever."""
_DEFAULT_PORT = {False: 80, True: 443}


def request_bytes(target: Address, options: HttpOptions) -> bytes:
    """Return the GET request; the host is the target's address where none is configured."""
    host = options.host
    if host is None:
        host = f"[{target}]" if target.version == 6 else str(target)
        if options.port != _DEFAULT_PORT[options.tls]:
            host += f":{options.port}"
    lines = (
        f"GET {options.path} HTTP/1.1",
        f"Host: {host}",
        "User-Agent: anycastd",
        "Accept: */*",
        "Accept-Encoding: identity",
        "Connection: close",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")


class HttpAttempt(StreamAttempt):
    """One GET. Reads until the socket has no more, since events are edge-triggered."""

    __slots__ = ("context", "plan", "reader", "secured", "unsent")

    def __init__(self, owner: Owner, order: int, started_s: float, plan: HttpPlan) -> None:
        super().__init__(owner, order, started_s, plan.reactor, plan.endpoint)
        self.plan = plan
        self.unsent = plan.request
        self.secured = plan.client is None
        self.context: ssl.SSLContext | None = None
        self.reader = ResponseReader(plan.status, plan.contains, plan.max_body_bytes)

    def start(self, now_s: float) -> None:
        """Look whether our own files are in order, and connect."""
        if self.plan.client is not None:
            self.context, wrong = self.plan.client.prepare()
            if self.context is None:
                self.end(Why.FILE_UNUSABLE, wrong, now_s)
                return
        super().start(now_s)

    def on_connected(self, sock: socket.socket, mask: int, now_s: float) -> None:
        """Begin TLS, or send at once."""
        if self.plan.client is not None and self.context is not None:
            descriptor = sock.fileno()
            try:
                sock = self.sock = self.plan.client.wrap(self.context, sock)
            except (OSError, ValueError) as error:
                self.reactor.forget(descriptor)
                self.end(Why.INTERNAL, f"TLS set-up: {error}", now_s)
                return
        self.on_ready(sock, mask, now_s)

    def on_ready(self, sock: socket.socket, mask: int, now_s: float) -> None:
        """Go on as far as the socket allows."""
        try:
            if not self.secured and isinstance(sock, ssl.SSLSocket):
                sock.do_handshake()
                self.secured = True
            if self.unsent:
                self.unsent = self.unsent[sock.send(self.unsent) :]
            if mask & ~select.EPOLLOUT:
                self._read(sock, mask, now_s)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except ssl.SSLError as error:
            self.end(*failure(error), now_s)
        except OSError as error:
            self.fail(error.errno, now_s)

    def _read(self, sock: socket.socket, mask: int, now_s: float) -> None:
        data = sock.recv(READ_BYTES)
        verdict = self.reader.feed(data) if data else self.reader.closed()
        if verdict is not None:
            self.end(verdict[0], verdict[1], now_s)
        # a short read emptied the socket (epoll(7)); the end of the stream, if it is not in this event, is the next
        elif len(data) == READ_BYTES or mask & select.EPOLLRDHUP or self.plan.client is not None:
            self.reactor.again(sock.fileno(), self, mask)

    def doing(self) -> str:
        """Return what is being waited for."""
        if not self.connected:
            return "connecting"
        if not self.secured:
            return "TLS handshake"
        return "reading the answer" if self.reader.begun else "waiting for the answer"


class HttpPlan:
    """An HTTP check of one target."""

    def __init__(self, spec: ProbeSpec, options: HttpOptions, reactor: Reactor, contexts: Contexts) -> None:
        self.reactor = reactor
        self.endpoint = Endpoint(spec.target, options.port, spec.source)
        self.request = request_bytes(spec.target, options)
        self.status, self.max_body_bytes = options.status, options.max_body_bytes
        self.contains = options.contains.encode("utf-8") if options.contains else None
        name = options.server_name or _without_port(options.host) or str(spec.target)
        self.client = TlsClient(contexts, options.trust, name) if options.tls else None

    def attempt(self, owner: Owner, order: int, now_s: float) -> Attempt:
        """Return a probe that was not started yet."""
        return HttpAttempt(owner, order, now_s, self)

    def close(self) -> None:
        """Release nothing: nothing is shared."""


def _without_port(host: str | None) -> str | None:
    if host is None:
        return None
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
