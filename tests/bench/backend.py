"""HTTP servers on every address, that turn bad and good as told; stamps the answer that tips a check.

Run as a program. Orders are JSON lines on standard input: `{"set": [ADDRESS...], "good": false}`, or
`{"set": [ADDRESS...], "slow": true}` to be too slow, or
`{"toggle": [ADDRESS...], "phase_s": 0.7}` to turn them by themselves (an empty list ends that).
Each first answer after a turn is told: `{"t": CLOCK_MONOTONIC just before it is written, "address": ..., "good": ...}`.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import socket
import time

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"
BAD = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbad\n"
JITTER_S = 0.1


class Backend:
    """All servers in one epoll loop."""

    def __init__(self) -> None:
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("0.0.0.0", 80))
        self.listener.listen(4096)
        self.listener.setblocking(False)
        self.epoll = select.epoll()
        self.epoll.register(self.listener.fileno(), select.EPOLLIN)
        self.epoll.register(0, select.EPOLLIN)
        self.peers: dict[int, tuple[socket.socket, str]] = {}
        self.good: dict[str, bool] = {}
        self.slow: set[str] = set()
        self.held: dict[int, socket.socket] = {}
        self.untold: set[str] = set()
        self.turns_s: dict[str, float] = {}
        self.phase_s = 1.0
        self.orders = b""

    def say(self, kind: str, **more: object) -> None:
        """Tell a line, stamped now."""
        print(json.dumps({"t": time.monotonic(), "kind": kind, **more}), flush=True)

    def obey(self) -> bool:
        """Take orders; return False when nobody gives any more."""
        data = os.read(0, 1 << 16)
        *lines, self.orders = (self.orders + data).split(b"\n")
        for line in lines:
            order = json.loads(line)
            if "toggle" in order:
                self.phase_s = order["phase_s"]
                now_s = time.monotonic()
                self.turns_s = {one: now_s + random.random() * self.phase_s for one in order["toggle"]}
            elif "slow" in order:
                self.be_slow(order["set"], order["slow"])
            else:
                for address in order["set"]:
                    self.turn(address, order["good"])
        return bool(data)

    def be_slow(self, addresses: list[str], slow: bool) -> None:
        """Take requests and answer none, or answer again; what was held open is closed then."""
        if slow:
            self.slow.update(addresses)
            return
        self.slow.difference_update(addresses)
        for peer in self.held.values():
            peer.close()
        self.held.clear()

    def turn(self, address: str, good: bool) -> None:
        """Answer differently from now on."""
        self.good[address] = good
        self.untold.add(address)

    def turn_due(self) -> None:
        """Turn those whose time has come, once their last turn was seen."""
        now_s = time.monotonic()
        for address, at_s in self.turns_s.items():
            if at_s <= now_s and address not in self.untold:
                self.turn(address, not self.good.get(address, True))

    def answer(self, descriptor: int) -> None:
        """Answer one request."""
        peer, address = self.peers.pop(descriptor)
        if address in self.slow:
            self.epoll.unregister(descriptor)
            self.held[descriptor] = peer
            return
        with contextlib.suppress(OSError):
            if peer.recv(4096):
                good, now_s = self.good.get(address, True), time.monotonic()
                peer.send(GOOD if good else BAD)
                if address in self.untold:
                    self.untold.discard(address)
                    # the next turn is counted from here: a phase is never cut short by when the check came by
                    if address in self.turns_s:
                        self.turns_s[address] = now_s + self.phase_s + random.random() * JITTER_S
                    print(json.dumps({"t": now_s, "kind": "turned", "address": address, "good": good}), flush=True)
        peer.close()

    def accept(self) -> None:
        """Take new connections."""
        for _ in range(64):
            try:
                peer = self.listener.accept()[0]
            except OSError:
                return
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.peers[peer.fileno()] = (peer, peer.getsockname()[0])
            self.epoll.register(peer.fileno(), select.EPOLLIN)

    def run(self) -> None:
        """Serve until standard input closes."""
        self.say("listening")
        while True:
            for descriptor, _ in self.epoll.poll(0.02):
                if descriptor == 0:
                    if not self.obey():
                        return
                elif descriptor == self.listener.fileno():
                    self.accept()
                else:
                    self.answer(descriptor)
            self.turn_due()


if __name__ == "__main__":
    Backend().run()
