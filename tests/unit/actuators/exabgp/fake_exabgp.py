"""ExaBGP as the link sees it: answers in order, stale ones first, and may lose or delay some. No I/O."""

from __future__ import annotations

import json
from collections import deque
from ipaddress import ip_address

from anycastd.model.address import Address, NeighborName

ADDRESSES: dict[NeighborName, Address] = {
    NeighborName("a"): ip_address("10.9.0.2"),
    NeighborName("b"): ip_address("10.9.0.3"),
}
SESSIONS = json.dumps(
    [
        {
            "state": "up",
            "duration": 15,
            "fsm": "ESTABLISHED",
            "peer": {"address": str(address)},
            "families": [],
            "messages": {"sent": {"update": 1}},
        }
        for address in ADDRESSES.values()
    ]
)


def hello(pid: int = 100, dropped: int = 0) -> str:
    """Return a bridge's first line."""
    said = {"bridge": "hello", "protocol": 1, "pid": 7, "exabgp": pid, "dropped": dropped, "deadman": None}
    return json.dumps({**said, "config": "", "uptime_s": 0.1})


class FakeExabgp:
    """Takes command lines; `answer()` gives the lines of the next answer."""

    def __init__(self) -> None:
        self.taken: deque[str] = deque()
        self.done: list[str] = []
        self.refuses: set[str] = set()
        """Prefixes whose commands are answered with `error`."""

    def take(self, output: bytes) -> None:
        """Read what the link wrote; orders to the bridge are not for us."""
        self.taken += [line for line in output.decode().splitlines() if not line.startswith("!")]

    def answer(self) -> list[str]:
        """Carry out the next command."""
        if not self.taken:
            return []
        line = self.taken.popleft()
        if line == "show neighbor json":
            return [SESSIONS, "done"]
        if line == "show neighbor summary":
            return ["Peer            AS        up/down state", "10.9.0.2 65001 up", "done"]
        if line == "show adj-rib out json":
            return ["done"]
        if any(prefix in line.split() for prefix in self.refuses):
            return ["error"]
        self.done.append(line)
        return ["done"]
