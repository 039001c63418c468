#!/usr/bin/env python3
"""Connections of the lab that stand and send: what becomes of each when something breaks.

    drip.py [--each 8] [--seconds 5] [--every-ms 20] ADDRESS...

Opens connections to port 80 of each address, asks once on each to learn which backend has it, prints `ready`, and
then sends a byte of a request that never ends on each. One JSON line for each connection when it ends or the time is
over: address, backend, and `reset_s`, CLOCK_MONOTONIC, or null if it lives.
Standard library only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time

FIRST_PORT, PORTS = 10_000, 20_000
"""Ports that no other program of the lab's clients has used: see `begin`."""


async def begin(address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
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


async def drip(one: tuple[asyncio.StreamReader, asyncio.StreamWriter, str], end_s: float, every_s: float) -> object:
    """Send until the connection ends, or the time; return when it ended."""
    reader, writer, _ = one
    writer.write(b"GET / HTTP/1.1\r\nX: ")
    ended = asyncio.create_task(reader.read(1))
    while time.monotonic() < end_s:
        await asyncio.wait([ended], timeout=every_s)
        if ended.done():
            _ = ended.exception()
            return time.monotonic()
        writer.write(b"x")
    ended.cancel()
    return None


async def run(options: argparse.Namespace) -> None:
    """Open all, then send on all."""
    names = [address for address in options.address for _ in range(options.each)]
    first = os.getpid() * len(names)
    ports = [FIRST_PORT + (first + number) % PORTS for number in range(len(names))]
    opened = await asyncio.gather(*map(begin, names, ports))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    end_s = time.monotonic() + options.seconds
    ends = await asyncio.gather(*(drip(one, end_s, options.every_ms / 1000) for one in opened))
    for address, one, reset_s in zip(names, opened, ends, strict=True):
        sys.stdout.write(json.dumps({"to": address, "backend": one[2], "reset_s": reset_s}) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Connections that stand and send.")
    parser.add_argument("address", nargs="+")
    parser.add_argument("--each", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--every-ms", type=float, default=20)
    asyncio.run(run(parser.parse_args()))
