"""ExaBGP alone: a helper process that writes commands and stamps them; nothing else stands between it and the wire.

Run by ExaBGP: `bare_bridge.py STAMPS COUNT LOADED NEIGHBOR`. LOADED 1: other routes are announced all the time, in
commands of 32 with at most 64 of them unanswered, as a program that cares for its urgent commands would.
"""

from __future__ import annotations

import json
import os
import random
import select
import sys
import time
from collections import deque

URGENT, BULK = 20, 8000
BUNCH, OUTSTANDING = 32, 64
GAP_S = 0.04


class Bare:
    """Writes, counts answers, stamps."""

    def __init__(self, stamps: str, count: str, loaded: str, neighbor: str) -> None:
        self.file = open(stamps, "w", encoding="ascii")  # noqa: PTH123, SIM115
        self.left, self.loaded, self.neighbor = int(count), loaded == "1", neighbor
        self.flights: deque[int] = deque()
        self.is_up, self.rest = False, b""
        self.longer = [False] * URGENT
        self.turn, self.position = 0, 0

    def command(self, prefixes: list[str], longer: bool, routes: int) -> None:
        """Write one announcement."""
        path = " ".join(["64500"] * (4 if longer else 1))
        words = f"next-hop 10.9.0.1 origin igp as-path [ {path} ]"
        what = f"route {prefixes[0]} {words}" if len(prefixes) == 1 else f"attributes {words} nlri {' '.join(prefixes)}"
        self.flights.append(routes)
        os.write(1, f"neighbor {self.neighbor} announce {what}\n".encode())

    def urgent(self) -> None:
        """Announce the next urgent prefix with the other path."""
        which = self.left % URGENT
        self.left -= 1
        self.longer[which] = not self.longer[which]
        prefix, path = f"44.0.{which}.0/24", 4 if self.longer[which] else 1
        row = {"t": time.monotonic(), "prefix": prefix, "path": path}
        self.command([prefix], self.longer[which], 0)
        self.file.write(json.dumps(row) + "\n")
        self.file.flush()

    def fill(self) -> None:
        """Announce other routes as far as the window allows."""
        while self.loaded and sum(self.flights) + BUNCH <= OUTSTANDING:
            numbers = range(self.position, min(self.position + BUNCH, BULK))
            self.command([f"45.{n // 256}.{n % 256}.0/24" for n in numbers], self.turn % 2 == 0, BUNCH)
            self.position += BUNCH
            if self.position >= BULK:
                self.position, self.turn = 0, self.turn + 1

    def read(self) -> bool:
        """Take answers; return False at the end."""
        data = os.read(0, 1 << 16)
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            if line in (b"done", b"error"):
                if self.flights:
                    self.flights.popleft()
            elif b'"up"' in line:
                self.is_up = True
        return bool(data)

    def run(self) -> None:
        """Write until the count is used up, then wait for the end."""
        due_s = 0.0
        while True:
            wait_s = max(due_s - time.monotonic(), 0.0) if self.is_up and self.left else 1.0
            if select.select([0], [], [], wait_s)[0] and not self.read():
                return
            if not self.is_up or not self.left:
                continue
            if not due_s:
                due_s = time.monotonic() + 1.0
            if time.monotonic() >= due_s:
                self.urgent()
                due_s = time.monotonic() + GAP_S * (0.5 + random.random())
            self.fill()


if __name__ == "__main__":
    Bare(*sys.argv[1:]).run()
