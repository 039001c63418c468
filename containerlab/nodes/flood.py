#!/usr/bin/env python3
"""A bounded flood from made-up sources: flood.py KIND ADDRESS PORT PACKETS_PER_S SECONDS [SEED]; IPv4 and IPv6.

KIND is `syn`, `ack`, `udp` (1,000 bytes) or `small` (UDP without data). Sources are random addresses of 198.18.0.0/15
or 2001:db8:ffff::/48 (for benchmarks, documentation), ports random too, checksums right. Says how many packets the
kernel took, in how many seconds; SIGTERM ends it early. For the lab only; standard library only.
"""

from __future__ import annotations

import ipaddress
import json
import random
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable

TCP, UDP = 6, 17
SYN, ACK = 0x02, 0x10
LARGE = 1000
SLICE_S = 0.01
DISTINCT = 4096
"""So many packets are made beforehand and sent in turn: making one costs more than to send it."""
TOLD_TO_END: list[int] = []
SOURCES = {4: ipaddress.ip_network("198.18.0.0/15"), 6: ipaddress.ip_network("2001:db8:ffff::/48")}


def checksum(data: bytes) -> int:
    """Return the internet checksum."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def tcp(flags: int, port: int, rng: random.Random) -> tuple[int, bytes, int]:
    """Return the protocol, a segment without checksum, and where that goes."""
    sport, seq = rng.randrange(1024, 65535), rng.getrandbits(32)
    return TCP, struct.pack(">HHIIBBHHH", sport, port, seq, seq if flags == ACK else 0, 0x50, flags, 0xFFFF, 0, 0), 16


def udp(size: int, port: int, rng: random.Random) -> tuple[int, bytes, int]:
    """Return the same of a datagram."""
    return UDP, struct.pack(">HHHH", rng.randrange(1024, 65535), port, 8 + size, 0) + bytes(size), 6


KINDS: dict[str, Callable[[int, random.Random], tuple[int, bytes, int]]] = {
    "syn": lambda port, rng: tcp(SYN, port, rng),
    "ack": lambda port, rng: tcp(ACK, port, rng),
    "udp": lambda port, rng: udp(LARGE, port, rng),
    "small": lambda port, rng: udp(0, port, rng),
}


def packet(kind: str, to: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, rng: random.Random) -> bytes:
    """Return one whole packet."""
    net = SOURCES[to.version]
    source = net[rng.randrange(1, min(net.num_addresses, 1 << 40) - 1)]
    protocol, payload, at = KINDS[kind](port, rng)
    pseudo = (
        source.packed
        + to.packed
        + struct.pack(
            ">LL" if to.version == 6 else ">HH",
            *((len(payload), protocol) if to.version == 6 else (protocol, len(payload))),
        )
    )
    right = struct.pack(">H", checksum(pseudo + payload) or 0xFFFF)
    payload = payload[:at] + right + payload[at + 2 :]
    if to.version == 6:
        return struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64) + source.packed + to.packed + payload
    size = 20 + len(payload)
    # the kernel fills in the checksum of the header
    return struct.pack(">BBHHHBBH", 0x45, 0, size, 0, 0, 64, protocol, 0) + source.packed + to.packed + payload


def flood(kind: str, to: str, port: int, per_s: int, seconds: float, seed: int) -> int:
    """Send at this rate for so long; return how many packets the kernel took."""
    rng, address = random.Random(seed), ipaddress.ip_address(to)
    packets = [packet(kind, address, port, rng) for _ in range(DISTINCT)]
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    sent = taken = 0
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 21)
        begun_s = time.monotonic()
        while (passed_s := time.monotonic() - begun_s) < seconds and not TOLD_TO_END:
            # what a busy machine made late is not made up for beyond one slice: the rate is never above what was asked
            due = int(passed_s * per_s)
            sent = max(sent, due - max(int(per_s * SLICE_S), 1))
            for number in range(sent, due):
                try:
                    raw.sendto(packets[number % DISTINCT], (to, 0))
                    taken += 1
                except OSError:
                    break
            sent = due
            time.sleep(SLICE_S / 2)
    return taken


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, _: TOLD_TO_END.append(number))
    words = sys.argv[1:]
    begun = time.monotonic()
    count = flood(words[0], words[1], int(words[2]), int(words[3]), float(words[4]), int(words[5]) if words[5:] else 1)
    sys.stdout.write(json.dumps({"sent": count, "took_s": round(time.monotonic() - begun, 2)}) + "\n")
