#!/usr/bin/env python3
"""A client of the lab: a request each few milliseconds, each on a new connection, one JSON line per result.

    client.py [--every-ms 50] [--timeout-ms 400] [--count N | --seconds S] [--keep] [--path /] [--port 80]
              [--from-port P] [--from-address A] ADDRESS...

`sent_s` is CLOCK_MONOTONIC, the same clock for every node and test of one machine. Requests overlap: one that hangs
does not hold up the next. Lines come in the order in which requests end. With --keep one connection per address
carries all its requests, one after another, and its loss ends them: it shows whether connections live on.
SIGTERM ends it as the end of its time does: what has begun is waited for, and told.
With --from-port request number n of an address is sent from port P + n; `port` of a result is the sender's.
Standard library only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import sys
import time

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
TOLD_TO_END: list[bool] = []


async def ask(stream: Stream, address: str, path: str, keep: bool) -> tuple[int, dict[str, object]]:
    """Send one request and read its answer: status and, of a 200, the JSON object."""
    reader, writer = stream
    host = f"[{address}]" if ":" in address else address
    close = "" if keep else "Connection: close\r\n"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{close}\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status = int(head.split(" ", 2)[1])
    length = next(int(f.split(":")[1]) for f in head.lower().split("\r\n") if f.startswith("content-length:"))
    body = await reader.readexactly(length)
    return status, json.loads(body) if status == 200 and body.startswith(b"{") else {}


async def connected(address: str, options: argparse.Namespace, port: int = 0) -> Stream:
    """Open a connection from a port of ours, 0 = any; it may have served a connection that ended just now."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if port or options.from_address:
            sock.bind((options.from_address or ("::" if ":" in address else "0.0.0.0"), port))
        await asyncio.get_running_loop().sock_connect(sock, (address, options.port))
        return await asyncio.open_connection(sock=sock)
    except BaseException:
        sock.close()
        raise


def outcome(address: str, sent_s: float, status: int, seen: dict[str, object], error: str | None, port: int) -> str:
    """Word one result."""
    line: dict[str, object] = {
        "sent_s": round(sent_s, 6),
        "took_ms": round((time.monotonic() - sent_s) * 1000, 2),
        "to": address,
        "ok": error is None and status == 200,
        "status": status or None,
        "region": seen.get("region"),
        "backend": seen.get("backend"),
        "client": seen.get("client"),
        "port": port or None,
    }
    return json.dumps({**line, "error": error})


async def once(address: str, options: argparse.Namespace, kept: Stream | None = None, port: int = 0) -> bool:
    """Make one request on a new or kept connection, print its result, tell whether it got an answer."""
    sent_s = time.monotonic()
    status = 0
    seen: dict[str, object] = {}
    error: str | None = None
    stream = kept
    try:
        async with asyncio.timeout(options.timeout_ms / 1000):
            stream = stream or await connected(address, options, port)
            port = stream[1].get_extra_info("sockname")[1]
            status, seen = await ask(stream, address, options.path, kept is not None)
    except TimeoutError:
        error = "timeout"
    except (OSError, asyncio.IncompleteReadError, ValueError, StopIteration) as problem:
        error = type(problem).__name__
    finally:
        if stream and not kept:
            stream[1].close()
    sys.stdout.write(f"{outcome(address, sent_s, status, seen, error, port)}\n")
    sys.stdout.flush()
    return error is None


async def on_new_connections(address: str, options: argparse.Namespace) -> bool:
    """Start requests at their times, whether or not earlier ones have ended."""
    begin_s, number = time.monotonic(), 0
    tasks: list[asyncio.Task[bool]] = []
    while more(options, begin_s, number):
        port = options.from_port + number if options.from_port else 0
        tasks.append(asyncio.create_task(once(address, options, port=port)))
        number += 1
        await asyncio.sleep(max(0.0, begin_s + number * options.every_ms / 1000 - time.monotonic()))
    return all(await asyncio.gather(*tasks))


async def on_one_connection(address: str, options: argparse.Namespace) -> bool:
    """Ask on one connection until enough was asked or the connection is lost."""
    begin_s, number = time.monotonic(), 0
    stream = await asyncio.wait_for(connected(address, options, options.from_port), options.timeout_ms / 1000)
    while more(options, begin_s, number):
        if not await once(address, options, stream):
            return False
        number += 1
        await asyncio.sleep(options.every_ms / 1000)
    stream[1].close()
    return True


def more(options: argparse.Namespace, begin_s: float, number: int) -> bool:
    """Tell whether one more request is wanted."""
    if TOLD_TO_END:
        return False
    if options.count is not None:
        return number < int(options.count)
    return time.monotonic() - begin_s < float(options.seconds)


async def run(options: argparse.Namespace) -> int:
    """Ask all addresses at once; exit code 0 when every request was answered."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, TOLD_TO_END.append, True)
    way = on_one_connection if options.keep else on_new_connections
    return 0 if all(await asyncio.gather(*(way(address, options) for address in options.address))) else 1


def main() -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description="Ask lab services again and again.")
    parser.add_argument("address", nargs="+")
    parser.add_argument("--every-ms", type=float, default=50)
    parser.add_argument("--timeout-ms", type=float, default=400)
    parser.add_argument("--count", type=int)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--path", default="/")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--port", type=int, default=80)
    parser.add_argument("--from-port", type=int, default=0)
    parser.add_argument("--from-address", default="")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
