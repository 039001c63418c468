"""Sends one small UDP packet to each of many addresses, again and again. Run as a program in a namespace."""

from __future__ import annotations

import socket
import sys
import time
from ipaddress import IPv4Address


def main(first: str, count: int, each_s: float, seconds: float) -> None:
    """Send to `count` addresses from `first` on, all of them within `each_s`, until `seconds` are over."""
    targets = [(str(IPv4Address(first) + number), 9) for number in range(count)]
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    end_s = due_s = time.monotonic()
    end_s += seconds
    burst = max(1, count // 100)
    while True:
        for at in range(0, count, burst):
            if time.monotonic() > end_s:
                return
            for target in targets[at : at + burst]:
                sock.sendto(b"x" * 32, target)
            due_s += each_s * burst / count
            time.sleep(max(0.0, due_s - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
