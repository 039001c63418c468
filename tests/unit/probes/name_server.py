"""A real name server on loopback, over UDP and TCP, whose answers a test writes; its encoder is not the program's."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address

NUMBERS = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33}


def encode_name(name: str) -> bytes:
    """Return a name without compression."""
    labels = [label.encode() for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def data(kind: str, value: str) -> bytes:
    """Return the data of a record."""
    words = value.split()
    if kind in ("A", "AAAA"):
        return ip_address(value).packed
    if kind in ("CNAME", "NS", "PTR"):
        return encode_name(value)
    if kind == "MX":
        return struct.pack("!H", int(words[0])) + encode_name(words[1])
    if kind == "SRV":
        return struct.pack("!3H", *map(int, words[:3])) + encode_name(words[3])
    if kind == "SOA":
        return encode_name(words[0]) + encode_name(words[1]) + struct.pack("!5I", *map(int, words[2:]))
    pieces = [value.encode()[at : at + 255] for at in range(0, len(value.encode()), 255)]
    return b"".join(bytes((len(piece),)) + piece for piece in pieces)


def record(name: bytes, kind: str, value: str, ttl_s: int = 300) -> bytes:
    """Return one record; `name` is encoded (b"\\xc0\\x0c" is the question's)."""
    raw = data(kind, value)
    return name + struct.pack("!HHIH", NUMBERS[kind], 1, ttl_s, len(raw)) + raw


@dataclass(frozen=True)
class Query:
    """What was asked."""

    raw: bytes
    over_tcp: bool
    source: str = ""

    @property
    def id(self) -> int:
        return int.from_bytes(self.raw[:2])

    @property
    def recursion(self) -> bool:
        return bool(self.raw[2] & 1)

    @property
    def question(self) -> bytes:
        """Return the question as it was sent."""
        end = 12
        while self.raw[end]:
            end += 1 + self.raw[end]
        return self.raw[12 : end + 5]

    @property
    def name(self) -> str:
        """Return the name that was asked for."""
        raw, labels, at = self.question, [], 0
        while raw[at]:
            labels.append(raw[at + 1 : at + 1 + raw[at]].decode())
            at += 1 + raw[at]
        return ".".join(labels)

    @property
    def kind(self) -> str:
        """Return the record type that was asked for."""
        number = int.from_bytes(self.question[-4:-2])
        return next(name for name, known in NUMBERS.items() if known == number)


def reply(
    query: Query,
    *records: bytes,
    rcode: int = 0,
    truncated: bool = False,
    id_: int | None = None,
    question: bytes | None = None,
) -> bytes:
    """Return an answer."""
    flags = 0x8180 | rcode | (0x0200 if truncated else 0)
    asked = query.question if question is None else question
    head = struct.pack("!6H", query.id if id_ is None else id_, flags, 1 if asked else 0, len(records), 0, 0)
    return head + asked + b"".join(records)


Script = Callable[[Query], list[bytes]]
QUESTION = b"\xc0\x0c"


def zone(**names: dict[str, list[str]]) -> Script:
    """Return a script that answers from `name={"A": [...]}`; `_` in a key stands for a dot."""
    known = {name.replace("_", "."): values for name, values in names.items()}

    def script(query: Query) -> list[bytes]:
        if query.name not in known:
            return [reply(query, rcode=3)]
        values = known[query.name].get(query.kind, [])
        return [reply(query, *(record(QUESTION, query.kind, value) for value in values))]

    return script


@dataclass
class NameServer:
    """A running server; `script` may be changed while it runs."""

    script: Script
    host: str = "127.0.0.1"
    queries: list[Query] = field(default_factory=list)

    def __post_init__(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._tcp = socket.create_server((self.host, 0), family=family)
        self.port: int = self._tcp.getsockname()[1]
        self._udp = socket.socket(family, socket.SOCK_DGRAM)
        self._udp.bind((self.host, self.port))
        self._end, self._ended = socket.socketpair()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._end.close()
        self._thread.join()
        for sock in (self._tcp, self._udp, self._ended):
            sock.close()

    def _serve(self) -> None:
        while True:
            ready = select.select([self._tcp, self._udp, self._ended], [], [])[0]
            if self._ended in ready:
                return
            if self._udp in ready:
                raw, peer = self._udp.recvfrom(65535)
                self.queries.append(Query(raw, over_tcp=False, source=peer[0]))
                for answer in self.script(self.queries[-1]):
                    self._udp.sendto(answer, peer)
            if self._tcp in ready:
                self._take()

    def _take(self) -> None:
        with contextlib.suppress(OSError), self._tcp.accept()[0] as peer:
            peer.settimeout(2.0)
            length = int.from_bytes(peer.recv(2))
            self.queries.append(Query(peer.recv(length), over_tcp=True, source=peer.getpeername()[0]))
            for answer in self.script(self.queries[-1]):
                framed = len(answer).to_bytes(2) + answer
                # in pieces, so that a reader must put them together
                for at in range(0, len(framed), 600):
                    peer.sendall(framed[at : at + 600])


@contextlib.contextmanager
def name_server(script: Script, host: str = "127.0.0.1") -> Iterator[NameServer]:
    """Run a name server."""
    running = NameServer(script, host)
    try:
        yield running
    finally:
        running.close()
