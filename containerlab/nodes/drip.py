#!/usr/bin/env python3
"""Connections of the lab that stand and send: what becomes of each when something breaks.

    drip.py [--each 4] [--seconds 5] [--until 1000000] [--every-ms 20] ADDRESS[*BACKENDS]...

Opens connections to port 80 of each address, asking once on each to learn which backend has it, until so many
backends of the address (1) have so many each, and closes those that are too many: chance has no part in it. Prints
`ready`, and then sends a byte of a request that never ends on each. One JSON line for each connection when it ends or
the time is over: address, backend, and `reset_s`, CLOCK_MONOTONIC, or null if it lives. The time is over a second after
so many as --until says have ended: those that live must have lived on.
Standard library only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time

FIRST_PORT, PORTS, TRIES = 10_000, 10_000, 100
"""Ports that no other program of the lab's clients has used: see `begin`; so many for each address."""

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter, str]


async def begin(address: str, port: int) -> Stream:
    """Open a connection and learn whose it is.

    A port of its own: where a backend sees the client's address, one that lately led to it by another EIP is the same
    connection for it, which waits in TIME-WAIT and resets nothing (RFC 9293 3.10.7.4).
    """
    here = ("::" if ":" in address else "0.0.0.0", port)
    reader, writer = await asyncio.wait_for(asyncio.open_connection(address, 80, local_addr=here), 5)
    writer.write(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode("latin-1").lower()
    length = next(int(f.split(":")[1]) for f in head.split("\r\n") if f.startswith("content-length:"))
    seen = json.loads(await reader.readexactly(length))
    return reader, writer, f"{seen['region']}/{seen['backend']}"


async def enough(what: str, first: int, each: int) -> list[Stream]:
    """Open connections from one port after another until each of the backends has enough."""
    address, _, number_of = what.partition("*")
    backends = int(number_of or 1)
    kept: dict[str, list[Stream]] = {}
    for number in range(TRIES):
        one = await begin(address, FIRST_PORT + (first + number) % PORTS)
        of_backend = kept.setdefault(one[2], [])
        if len(of_backend) < each:
            of_backend.append(one)
        else:
            one[1].close()
        if sum(map(len, kept.values())) == backends * each:
            return [one for ones in kept.values() for one in ones]
    message = f"{address}: {TRIES} connections, and not {each} at each of {backends} backends: {list(kept)}"
    raise RuntimeError(message)


class Until:
    """When the time is over."""

    def __init__(self, seconds: float, many: int) -> None:
        self.end_s, self.left = time.monotonic() + seconds, many

    def note(self) -> None:
        """Learn that a connection has ended."""
        self.left -= 1
        if self.left == 0:
            self.end_s = min(self.end_s, time.monotonic() + 1.0)


async def drip(one: Stream, until: Until, every_s: float) -> object:
    """Send until the connection ends, or the time; return when it ended."""
    reader, writer, _ = one
    writer.write(b"GET / HTTP/1.1\r\nX: ")
    ended = asyncio.create_task(reader.read(1))
    while time.monotonic() < until.end_s:
        await asyncio.wait([ended], timeout=every_s)
        if ended.done():
            _ = ended.exception()
            until.note()
            return time.monotonic()
        writer.write(b"x")
    ended.cancel()
    return None


async def run(options: argparse.Namespace) -> None:
    """Open all, then send on all."""
    first = os.getpid() * len(options.address)
    each = (enough(what, (first + number) * TRIES, options.each) for number, what in enumerate(options.address))
    ones = await asyncio.gather(*each)
    names = [what.partition("*")[0] for what, of_one in zip(options.address, ones, strict=True) for _ in of_one]
    opened = [one for of_one in ones for one in of_one]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    until = Until(options.seconds, options.until)
    ends = await asyncio.gather(*(drip(one, until, options.every_ms / 1000) for one in opened))
    for address, one, reset_s in zip(names, opened, ends, strict=True):
        sys.stdout.write(json.dumps({"to": address, "backend": one[2], "reset_s": reset_s}) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Connections that stand and send.")
    parser.add_argument("address", nargs="+")
    parser.add_argument("--each", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--until", type=int, default=1_000_000)
    parser.add_argument("--every-ms", type=float, default=20)
    asyncio.run(run(parser.parse_args()))
