#!/usr/bin/env python3
"""Send exactly so many datagrams: datagrams.py [--port 9] [--every-ms 0.1] ADDRESS=COUNT*SIZE...

SIZE is that of the IP packet, and all of them leave: slowly enough for every queue of the lab. Those of several
addresses take turns. Standard library only.
"""

from __future__ import annotations

import argparse
import itertools
import socket
import time
from collections.abc import Iterator


def packets(what: str, port: int) -> Iterator[None]:
    """Send one datagram at each step."""
    address, _, numbers = what.partition("=")
    count, size = map(int, numbers.split("*"))
    is_v6 = ":" in address
    with socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(count):
            # not connected: an ICMP error must not end it
            sock.sendto(bytes(size - 8 - (40 if is_v6 else 20)), (address, port))
            yield


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Send exactly so many datagrams.")
    parser.add_argument("what", nargs="+")
    parser.add_argument("--port", type=int, default=9)
    parser.add_argument("--every-ms", type=float, default=0.1)
    options = parser.parse_args()
    for _ in itertools.zip_longest(*(packets(one, options.port) for one in options.what)):
        time.sleep(options.every_ms / 1000)
