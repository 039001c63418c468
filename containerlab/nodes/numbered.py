#!/usr/bin/env python3
"""Datagrams by number: which of them came back, how often, and when.

    numbered.py serve [--port 9001]                       a backend's part: sends back what comes, SIGTERM ends it
    numbered.py run ADDRESS... [--port 9001] [--every-ms 4]    a client's part: SIGTERM ends it

Each second datagram to an address is sent from a socket of its own, so that it is a new connection, the others from
one that stands. The client prints `ready` when one of each address has come back, `N` about every 100 ms, so many sent
by then, and at the end one JSON line for each address: `sent`, `lost` [[number, sent_s]...], `twice`, `longest_gap_ms`
(between two that came back, by the time at which they were sent; CLOCK_MONOTONIC). At the end it waits until
nothing more has come back for 1.5 s.
Standard library only.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import selectors
import signal
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable

NUMBER = struct.Struct(">Q")
BUFFER = 8 << 20
SO_RCVBUFFORCE, IPV6_RECVPKTINFO, IPV6_PKTINFO = 33, 49, 50
LAST_WITHIN_S = 1.5
FIRST_WITHIN_S = 10.0
OPEN_AT_MOST = 1000
TELL_EVERY_S = 0.1
TOLD: list[int] = []


def bound(family: int) -> socket.socket:
    """Return a socket whose buffer holds what comes while a busy machine lets its program wait."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    return sock


def serve(port: int) -> None:
    """Send everything back, from the address it was sent to, until told to end."""
    with bound(socket.AF_INET6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
        sock.bind(("::", port))
        say("ready")
        while True:
            data, more, _, peer = sock.recvmsg(64, 64)
            to = next(value[:16] for _, kind, value in more if kind == IPV6_PKTINFO)
            sock.sendmsg([data], [(socket.IPPROTO_IPV6, IPV6_PKTINFO, to + struct.pack("I", 0))], 0, peer)


class Flow:
    """Datagrams to one address."""

    def __init__(self, address: str, port: int, ready: selectors.BaseSelector) -> None:
        self.to, self.ready = (address, port), ready
        self.family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.standing = bound(self.family)
        ready.register(self.standing, selectors.EVENT_READ, self)
        self.sent_s: list[float] = []
        self.back: dict[int, int] = {}
        self.fresh: deque[socket.socket] = deque()

    def send(self) -> None:
        """Send the next one; what cannot be sent is lost."""
        number = len(self.sent_s)
        sock = self.standing
        if number % 2:
            sock = socket.socket(self.family, socket.SOCK_DGRAM)
            self.ready.register(sock, selectors.EVENT_READ, self)
            self.fresh.append(sock)
            if len(self.fresh) > OPEN_AT_MOST:
                self.ready.unregister(self.fresh[0])
                self.fresh.popleft().close()
        sock.setblocking(False)
        self.sent_s.append(time.monotonic())
        try:
            sock.sendto(NUMBER.pack(number), self.to)
        except OSError as error:
            sys.stderr.write(f"{self.to[0]}: {error}\n")

    def take(self, sock: socket.socket) -> None:
        """Take what has come back at a socket."""
        try:
            (number,) = NUMBER.unpack(sock.recv(64))
        except OSError:
            # an ICMP error is no answer
            return
        self.back[number] = self.back.get(number, 0) + 1

    def sum(self) -> str:
        """Word what became of all."""
        lost = [[number, at_s] for number, at_s in enumerate(self.sent_s) if number not in self.back]
        good = [self.sent_s[number] for number in sorted(self.back)]
        gap_s = max((later - earlier for earlier, later in itertools.pairwise(good)), default=0.0)
        twice = sum(count > 1 for count in self.back.values())
        said = {"to": self.to[0], "sent": len(self.sent_s), "lost": lost, "twice": twice}
        return json.dumps(said | {"longest_gap_ms": gap_s * 1000})


def say(text: str) -> None:
    """Say a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Sender:
    """All flows, sent by turns."""

    def __init__(self, addresses: list[str], port: int) -> None:
        self.ready = selectors.DefaultSelector()
        self.flows = [Flow(address, port, self.ready) for address in addresses]

    def listen(self, until_s: float) -> None:
        """Take what comes back until then."""
        while True:
            for key, _ in self.ready.select(max(0.0, until_s - time.monotonic())):
                key.data.take(key.fileobj)
            if time.monotonic() >= until_s:
                return

    def wait(self, within_s: float, wanted: Callable[[Flow], bool]) -> list[str]:
        """Take what comes back until all flows are as wanted, or nothing came for so long; return who is late."""
        end_s, have = time.monotonic() + within_s, 0
        while (late := [flow.to[0] for flow in self.flows if not wanted(flow)]) and time.monotonic() < end_s:
            self.listen(time.monotonic() + 0.02)
            if have != (have := sum(len(flow.back) for flow in self.flows)):
                end_s = time.monotonic() + within_s
        return late

    def send(self) -> None:
        """Send one to each."""
        for flow in self.flows:
            flow.send()

    def send_until_told(self, every_s: float) -> None:
        """Send to each again and again."""
        told_s = due_s = time.monotonic()
        while not TOLD:
            self.send()
            # what a busy machine made late is not made up for: no burst is sent
            due_s = max(due_s + every_s, time.monotonic())
            self.listen(due_s)
            if due_s > told_s + TELL_EVERY_S:
                told_s = due_s
                say(str(sum(len(flow.back) for flow in self.flows)))


def run(addresses: list[str], port: int, every_s: float) -> None:
    """Send to all until told to end, and say what became of all."""
    sender = Sender(addresses, port)
    sender.send()
    if late := sender.wait(FIRST_WITHIN_S, lambda flow: bool(flow.back)):
        sys.exit(f"nothing came back from {late}")
    say("ready")
    sender.send_until_told(every_s)
    sender.wait(LAST_WITHIN_S, lambda flow: len(flow.back) == len(flow.sent_s))
    for flow in sender.flows:
        say(flow.sum())


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, _: TOLD.append(number))
    parser = argparse.ArgumentParser(description="Datagrams by number.")
    parser.add_argument("verb", choices=("serve", "run"))
    parser.add_argument("address", nargs="*")
    parser.add_argument("--port", type=int, default=9001)
    parser.add_argument("--every-ms", type=float, default=4)
    options = parser.parse_args()
    if options.verb == "serve":
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        serve(options.port)
    else:
        # a socket for each second datagram
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        run(options.address, options.port, options.every_ms / 1000)
