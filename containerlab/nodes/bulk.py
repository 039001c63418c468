#!/usr/bin/env python3
"""Long transfers of the lab, both ways on each connection, whose content is checked by hash.

    bulk.py serve [--port 9000]                            a backend's part: SIGTERM ends it
    bulk.py run [--port 9000] [--seconds 120] ADDRESS...   a client's part: SIGTERM ends the transfers, in order

On each connection both ends send 16 KiB of random bytes each 20 ms (0.8 MB/s each way), or as fast as it goes after
a gap, until the client has been told to end; then each tells how much it has sent and received, with SHA-256 of both.
The client prints `ADDRESS SENT RECEIVED` twice a second, and at the end one JSON line for each address.
Standard library only.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import random
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable

BLOCK = 16 * 1024
EVERY_S = 0.02
HEAD = struct.Struct(">I")
TELL_EVERY_S = 0.5
END_WITHIN_S = 60


class Half:
    """One end of one connection: what it has sent, and what has come."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.sent = self.received = 0
        self.sent_hash, self.received_hash = hashlib.sha256(), hashlib.sha256()
        self.longest_gap_s = 0.0

    async def send(self, until: Callable[[], bool]) -> None:
        """Send blocks until told, then one of no length."""
        rng = random.Random(os.urandom(16))
        begun_s, due = time.monotonic(), 0
        while not until():
            block = rng.randbytes(BLOCK)
            self.writer.write(HEAD.pack(BLOCK) + block)
            self.sent += BLOCK
            self.sent_hash.update(block)
            await self.writer.drain()
            due += 1
            await asyncio.sleep(max(0.0, begun_s + due * EVERY_S - time.monotonic()))
        self.writer.write(HEAD.pack(0))
        await self.writer.drain()

    async def receive(self) -> None:
        """Take blocks until one has no length."""
        last_s = time.monotonic()
        while size := HEAD.unpack(await self.reader.readexactly(HEAD.size))[0]:
            block = await self.reader.readexactly(size)
            self.received += size
            self.received_hash.update(block)
            now_s = time.monotonic()
            self.longest_gap_s, last_s = max(self.longest_gap_s, now_s - last_s), now_s

    def sum(self) -> dict[str, object]:
        """Return what this end knows of both ways."""
        return {
            "sent": self.sent,
            "sent_hash": self.sent_hash.hexdigest(),
            "received": self.received,
            "received_hash": self.received_hash.hexdigest(),
            "longest_gap_s": self.longest_gap_s,
        }


async def serve(port: int) -> None:
    """Serve until SIGTERM."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        half = Half(reader, writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            incoming = asyncio.create_task(half.receive())
            await half.send(incoming.done)
            await incoming
            writer.write(json.dumps(half.sum()).encode() + b"\n")
            await writer.drain()
        writer.close()

    sock = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    server = await asyncio.start_server(one, sock=sock)
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    async with server:
        await told.wait()


async def transfer(half: Half, until: Callable[[], bool]) -> dict[str, object]:
    """Send and receive until told and both ends are done; return what both ends say."""
    error, theirs = None, None
    try:
        await asyncio.gather(half.send(until), half.receive())
        theirs = json.loads(await asyncio.wait_for(half.reader.readline(), END_WITHIN_S))
    except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError) as problem:
        error = repr(problem)
    half.writer.close()
    return {"error": error, "here": half.sum(), "there": theirs}


async def run(addresses: list[str], port: int, seconds: float) -> int:
    """Transfer to and from all until SIGTERM, or the end of the time."""
    told: list[bool] = []
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, told.append, True)
    loop.call_later(seconds, told.append, True)
    halves = {}
    for address in addresses:
        halves[address] = Half(*await asyncio.wait_for(asyncio.open_connection(address, port), 10))
    all_of_them = asyncio.gather(*(transfer(half, lambda: bool(told)) for half in halves.values()))
    while not all_of_them.done():
        for address, half in halves.items():
            sys.stdout.write(f"{address} {half.sent} {half.received}\n")
        sys.stdout.flush()
        await asyncio.wait([all_of_them], timeout=TELL_EVERY_S)
    ended = all_of_them.result()
    for address, one in zip(addresses, ended, strict=True):
        sys.stdout.write(json.dumps({"to": address, **one}) + "\n")
    return 1 if any(one["error"] for one in ended) else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Long transfers both ways, checked by hash.")
    parser.add_argument("verb", choices=("serve", "run"))
    parser.add_argument("address", nargs="*")
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--seconds", type=float, default=120)
    options = parser.parse_args()
    if options.verb == "serve":
        asyncio.run(serve(options.port))
    else:
        sys.exit(asyncio.run(run(options.address, options.port, options.seconds)))
