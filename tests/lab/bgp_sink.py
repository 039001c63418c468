"""A raw BGP listener that stamps every route, withdrawal and End-of-RIB with CLOCK_MONOTONIC; prints JSON lines.

Run as a program: `bgp_sink.py ADDRESS ASN [--hold 9] [--restart 120] [--md5 FILE --from ADDRESS]`. With `--flood N` it
says N routes of its own on each session, as fast as they are taken; with `--garbage` then an UPDATE that is none. With
`--orders` each line of its standard input, `{"to": PEER, "update": HEX}`, is an UPDATE that it says to that peer.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

MARKER = b"\xff" * 16
OPEN, UPDATE, NOTIFICATION, KEEPALIVE = 1, 2, 3, 4
ORIGIN, AS_PATH, NEXT_HOP, MED, LOCAL_PREF, COMMUNITIES = 1, 2, 3, 4, 5, 8
MP_REACH, MP_UNREACH, LARGE_COMMUNITIES = 14, 15, 32
TCP_MD5SIG = 14


def message(kind: int, body: bytes = b"") -> bytes:
    """Return a BGP message (RFC 4271 section 4.1)."""
    return MARKER + struct.pack("!HB", 19 + len(body), kind) + body


def foreign(number: int) -> bytes:
    """Return an UPDATE that announces 100.64.0.0/10's number-th /32, over AS 64666 (RFC 4271 section 4.3)."""
    path = struct.pack("!BBI", 2, 1, 64666)
    said = b"".join(
        struct.pack("!BBB", 0x40, code, len(value)) + value
        for code, value in ((ORIGIN, b"\0"), (AS_PATH, path), (NEXT_HOP, bytes((10, 9, 0, 9))))
    )
    return (
        struct.pack("!HH", 0, len(said)) + said + bytes((32, 100, 64 + (number >> 16), number >> 8 & 255, number & 255))
    )


def prefixes(data: bytes, version: int) -> list[str]:
    """Return the prefixes of an NLRI field (RFC 4271 section 4.3)."""
    found, at = [], 0
    while at < len(data):
        bits = data[at]
        size = (bits + 7) // 8
        raw = data[at + 1 : at + 1 + size]
        at += 1 + size
        if version == 4:
            found.append(str(IPv4Network((raw.ljust(4, b"\0"), bits))))
        else:
            found.append(str(IPv6Network((raw.ljust(16, b"\0"), bits))))
    return found


def attributes(data: bytes) -> dict[int, bytes]:
    """Return path attributes by type code."""
    found, at = {}, 0
    while at < len(data):
        flags, code = data[at], data[at + 1]
        if flags & 0x10:
            (size,) = struct.unpack_from("!H", data, at + 2)
            at += 4
        else:
            size = data[at + 2]
            at += 3
        found[code] = data[at : at + size]
        at += size
    return found


def as_path(data: bytes) -> list[int]:
    """Return the AS numbers of 4-byte sequences."""
    found: list[int] = []
    at = 0
    while at < len(data):
        count = data[at + 1]
        found += struct.unpack_from(f"!{count}I", data, at + 2)
        at += 2 + 4 * count
    return found


def words(data: bytes, parts: int, code: str) -> list[str]:
    """Return communities as text, sorted."""
    size = struct.calcsize(f"!{parts}{code}")
    each = (struct.unpack_from(f"!{parts}{code}", data, at) for at in range(0, len(data), size))
    return [":".join(map(str, one)) for one in sorted(each)]


def described(found: dict[int, bytes]) -> dict[str, object]:
    """Return the attributes we care for, decoded."""
    said: dict[str, object] = {}
    if AS_PATH in found:
        said["as_path"] = as_path(found[AS_PATH])
    if NEXT_HOP in found:
        said["next_hop"] = str(IPv4Address(found[NEXT_HOP]))
    for code, name in ((MED, "med"), (LOCAL_PREF, "local_preference")):
        if code in found:
            (said[name],) = struct.unpack("!I", found[code])
    if COMMUNITIES in found:
        said["communities"] = words(found[COMMUNITIES], 2, "H")
    if LARGE_COMMUNITIES in found:
        said["large_communities"] = words(found[LARGE_COMMUNITIES], 3, "I")
    return said


class Session:
    """One TCP connection from a BGP speaker."""

    def __init__(self, sock: socket.socket, peer: str, options: argparse.Namespace) -> None:
        self.sock, self.peer, self.options = sock, peer, options
        self.buffer = b""
        self.is_up = False

    def say(self, kind: str, **more: object) -> None:
        """Print one stamped line."""
        print(json.dumps({"t": time.monotonic(), "kind": kind, "peer": self.peer, **more}))

    def read(self) -> bool:
        """Take in what came; return False when the connection is over."""
        try:
            data = self.sock.recv(1 << 18)
        except OSError:
            data = b""
        if not data:
            self.say("closed")
            return False
        self.buffer += data
        while len(self.buffer) >= 19:
            (size,) = struct.unpack_from("!H", self.buffer, 16)
            if len(self.buffer) < size:
                break
            kind, body = self.buffer[18], self.buffer[19:size]
            self.buffer = self.buffer[size:]
            self.take(kind, body)
        return True

    def take(self, kind: int, body: bytes) -> None:
        """Answer or report one message."""
        if kind == OPEN:
            self.say("open", hold=struct.unpack_from("!H", body, 3)[0])
            self.sock.sendall(message(OPEN, self.open()) + message(KEEPALIVE))
        elif kind == KEEPALIVE and not self.is_up:
            self.is_up = True
            self.say("up")
            self.flood()
        elif kind == NOTIFICATION:
            self.say("notification", code=body[0], subcode=body[1])
        elif kind == UPDATE:
            self.update(body)

    def flood(self) -> None:
        """Say as many routes as asked, then garbage if asked."""
        sock = self.sock
        sock.setblocking(True)
        for first in range(0, self.options.flood, 500):
            sock.sendall(b"".join(message(UPDATE, foreign(number)) for number in range(first, first + 500)))
        if self.options.garbage:
            sock.sendall(message(UPDATE, struct.pack("!HH", 0, 4) + bytes((0x40, ORIGIN, 200, 9))))
        self.say("flooded")

    def open(self) -> bytes:
        """Return our OPEN: IPv4 and IPv6 unicast, 4-byte AS, graceful restart."""
        asn = self.options.asn
        capabilities = b"".join(struct.pack("!BBHBB", 1, 4, afi, 0, 1) for afi in (1, 2))
        capabilities += struct.pack("!BBI", 65, 4, asn) + struct.pack("!BB", 2, 0)
        if self.options.restart:
            families = b"".join(struct.pack("!HBB", afi, 1, 0) for afi in (1, 2))
            capabilities += struct.pack("!BBH", 64, 2 + len(families), self.options.restart) + families
        parameter = struct.pack("!BB", 2, len(capabilities)) + capabilities
        router_id = int(IPv4Address(self.options.router_id))
        fixed = struct.pack("!BHHI", 4, asn if asn < 65536 else 23456, self.options.hold, router_id)
        return fixed + struct.pack("!B", len(parameter)) + parameter

    def update(self, body: bytes) -> None:
        """Report every route of an UPDATE."""
        (gone,) = struct.unpack_from("!H", body, 0)
        withdrawn = body[2 : 2 + gone]
        (size,) = struct.unpack_from("!H", body, 2 + gone)
        found = attributes(body[4 + gone : 4 + gone + size])
        nlri = body[4 + gone + size :]
        if not gone and not size and not nlri:
            self.say("eor", family="ipv4-unicast")
            return
        for prefix in prefixes(withdrawn, 4):
            self.say("withdraw", prefix=prefix)
        said = described(found)
        for prefix in prefixes(nlri, 4):
            self.say("announce", prefix=prefix, **said)
        if MP_REACH in found:
            data = found[MP_REACH]
            hop = str(IPv6Address(data[4:20]))
            for prefix in prefixes(data[5 + data[3] :], 6):
                self.say("announce", prefix=prefix, **{**said, "next_hop": hop})
        if MP_UNREACH in found:
            data = found[MP_UNREACH]
            if len(data) == 3 and not nlri and len(found) == 1:
                self.say("eor", family="ipv6-unicast" if data[:2] == b"\0\2" else "ipv4-unicast")
            for prefix in prefixes(data[3:], 6):
                self.say("withdraw", prefix=prefix)


class Orders:
    """What the test has us say."""

    def __init__(self) -> None:
        self.rest = b""

    def fileno(self) -> int:
        """Return the descriptor that they come by."""
        return 0

    def follow(self, sessions: Iterable[Session]) -> None:
        """Say what was ordered."""
        *lines, self.rest = (self.rest + os.read(0, 1 << 20)).split(b"\n")
        for order in map(json.loads, lines):
            for session in sessions:
                if session.is_up and session.peer == order["to"]:
                    session.sock.sendall(message(UPDATE, bytes.fromhex(order["update"])))
                    session.say("said")


def protect(listener: socket.socket, peer: str, password: bytes) -> None:
    """Set the MD5 key of a peer on a listening socket (RFC 2385)."""
    if ip_address(peer).version == 4:
        address = struct.pack("HH4s120x", socket.AF_INET, 0, IPv4Address(peer).packed)
    else:
        address = struct.pack("HHI16s104x", socket.AF_INET6, 0, 0, IPv6Address(peer).packed)
    listener.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, address + struct.pack("2xH4x80s", len(password), password))


def serve(options: argparse.Namespace) -> None:
    """Take sessions until killed."""
    version = ip_address(options.address).version
    listener = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((options.address, options.port))
    if options.md5:
        with open(options.md5, "rb") as file:  # noqa: PTH123
            protect(listener, options.source, file.read().strip())
    if options.ttl_security:
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
        listener.setsockopt(socket.IPPROTO_IP, 21, 255)
    listener.listen()
    print(json.dumps({"t": time.monotonic(), "kind": "listening", "peer": ""}))
    sessions: dict[int, Session] = {}
    orders = Orders() if options.orders else None
    alive_s = time.monotonic()
    while True:
        sys.stdout.flush()
        heard: list[socket.socket | Orders] = [listener, *[s.sock for s in sessions.values()]]
        ready, _, _ = select.select([*heard, orders] if orders else heard, [], [], 0.5)
        for sock in ready:
            if isinstance(sock, Orders):
                sock.follow(sessions.values())
            elif sock is listener:
                new, (peer, *_) = listener.accept()
                new.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sessions[new.fileno()] = Session(new, peer, options)
            elif not sessions[sock.fileno()].read():
                sessions.pop(sock.fileno()).sock.close()
        if time.monotonic() - alive_s > max(options.hold / 3, 1):
            alive_s = time.monotonic()
            for session in sessions.values():
                if session.is_up:
                    session.sock.sendall(message(KEEPALIVE))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("asn", type=int)
    parser.add_argument("--port", type=int, default=179)
    parser.add_argument("--hold", type=int, default=9)
    parser.add_argument("--restart", type=int, default=120)
    parser.add_argument("--router-id", default="10.9.0.254")
    parser.add_argument("--md5")
    parser.add_argument("--from", dest="source")
    parser.add_argument("--ttl-security", action="store_true")
    parser.add_argument("--flood", type=int, default=0)
    parser.add_argument("--garbage", action="store_true")
    parser.add_argument("--orders", action="store_true")
    serve(parser.parse_args())


if __name__ == "__main__":
    main()
