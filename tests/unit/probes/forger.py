"""Sends an echo reply for each echo request that it sees, wrong in one way: `forger.py WAY`.

Run in a namespace whose kernel does not answer (icmp_echo_ignore_all).
Ways: right, payload, sequence, identifier, sender; late: right, but after LATE_S, and says "sent" then.
"""

from __future__ import annotations

import socket
import struct
import sys
import time

from anycastd.probes.icmp import packet

LATE_S = 0.6


def main(way: str) -> None:
    """Answer until killed."""
    seen = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    sender.bind(("10.77.0.3" if way == "sender" else "10.77.0.2", 0))
    print("ready", flush=True)
    while True:
        data, address = seen.recvfrom(65536)
        echo = packet.quoted(4, packet.without_ipv4_header(data))
        if echo is None:
            continue
        identifier = echo.identifier ^ (1 if way == "identifier" else 0)
        sequence = echo.sequence ^ (1 if way == "sequence" else 0)
        payload = bytes(len(echo.payload)) if way == "payload" else echo.payload
        unsummed = struct.pack("!BBHHH", 0, 0, 0, identifier, sequence) + payload
        total = struct.pack("!H", packet.checksum(unsummed))
        if way == "late":
            time.sleep(LATE_S)
        sender.sendto(unsummed[:2] + total + unsummed[4:], address)
        if way == "late":
            print("sent", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
