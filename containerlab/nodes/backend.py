#!/usr/bin/env python3
"""A backend of the lab: a small real HTTP server whose illness can be chosen while it runs.

    backend.py serve REGION NAME     listen on port 80, IPv4 and IPv6
    backend.py set MODE              from inside the node: normal, refuse, silent, error500, brownout, slow:MS
    backend.py show                  print the mode

`/healthz` answers 200 and a line of text, `/bytes/N` N bytes, every other path a JSON object: region, backend, client
address and port.
refuse: the listener is closed and open connections are reset. silent: accepts, never answers. brownout: every second
request of an address is answered with 500.
Standard library only, so that any image with Python runs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import sys
import time
from collections import Counter
from pathlib import Path

CONTROL = Path("/run/backend.sock")
MODES = ("normal", "refuse", "silent", "error500", "brownout", "slow:MS")
IDLE_S = 120.0
MAX_SLOW_MS = 60_000
BACKLOG = 4096
"""Connections that wait for us to take them: asyncio's 100 are full after an eighth of a second without a processor;
of what comes then the kernel drops the first packet, which the client sends again after a second, and after three."""


def is_mode(text: str) -> bool:
    """Tell whether a text names a mode."""
    kind, _, ms = text.partition(":")
    if kind == "slow":
        return ms.isascii() and ms.isdigit() and int(ms) <= MAX_SLOW_MS
    return text in MODES


class Backend:
    """The server and its present mode."""

    def __init__(self, region: str, name: str, port: int = 80) -> None:
        self.region = region
        self.name = name
        self.port = port
        self.mode = "normal"
        self._listener: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()
        self._turns: Counter[str] = Counter()

    async def listen(self) -> None:
        """Open the listener, unless it is open."""
        if self._listener is None:
            sock = socket.create_server(("::", self.port), family=socket.AF_INET6, dualstack_ipv6=True)
            self._listener = await asyncio.start_server(self._connection, sock=sock, backlog=BACKLOG)

    async def change(self, mode: str) -> None:
        """Take a new mode; connections of the old one are reset when the listener closes or silence ends."""
        if mode == "refuse" or self.mode == "silent":
            for writer in list(self._connections):
                writer.transport.abort()
        self.mode = mode
        if mode != "refuse":
            await self.listen()
        elif self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; tell whether the connection stays."""
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), IDLE_S)).decode("latin-1")
        line, _, fields = head.partition("\r\n")
        path = [*line.split(" "), "/"][1]
        stays = "connection: close" not in fields.lower() and line.endswith("HTTP/1.1")
        mode = self.mode
        if mode == "silent":
            await asyncio.sleep(IDLE_S)
            return False
        if mode.startswith("slow:"):
            await asyncio.sleep(int(mode.removeprefix("slow:")) / 1000)
        address = str(writer.get_extra_info("peername")[0])
        self._turns[address] += 1
        # in a brownout every second request of each address, so that each check sees good and bad in turn
        fails = mode == "error500" or (mode == "brownout" and self._turns[address] % 2)
        status = "500 Internal Server Error" if fails else "200 OK"
        body, kind = self._body(path, writer)
        answer = (
            f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            f"Connection: {'keep-alive' if stays else 'close'}\r\n\r\n"
        )
        writer.write(answer.encode() + body)
        await writer.drain()
        return stays

    def _body(self, path: str, writer: asyncio.StreamWriter) -> tuple[bytes, str]:
        if path == "/healthz":
            return f"{self.mode}\n".encode(), "text/plain"
        if path.startswith("/bytes/") and path[7:].isdecimal() and len(path) < 16:
            return b"x" * int(path[7:]), "application/octet-stream"
        address, port = writer.get_extra_info("peername")[:2]
        seen = {
            "region": self.region,
            "backend": self.name,
            "client": address.removeprefix("::ffff:"),
            "port": port,
        }
        return json.dumps(seen).encode() + b"\n", "application/json"

    async def control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one line of the control socket: a mode to take, or nothing to be told the present one."""
        wanted = (await reader.readline()).decode().strip()
        if wanted and is_mode(wanted):
            await self.change(wanted)
        answer = self.mode if not wanted or is_mode(wanted) else f"refused; modes: {' '.join(MODES)}"
        writer.write(f"{answer}\n".encode())
        with contextlib.suppress(OSError):
            await writer.drain()
        writer.close()


async def serve(region: str, name: str) -> None:
    """Serve until SIGTERM."""
    backend = Backend(region, name)
    await backend.listen()
    control = await asyncio.start_unix_server(backend.control, str(CONTROL))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with control:
        await stop.wait()


def ask(wanted: str) -> int:
    """Send one line to the running server and print its answer; exit code 1 when it refused."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        end_s = time.monotonic() + 5.0
        while sock.connect_ex(str(CONTROL)) and time.monotonic() < end_s:
            # a server that was killed and is begun again does not listen yet
            time.sleep(0.05)
        sock.sendall(f"{wanted}\n".encode())
        answer = sock.makefile().readline().strip()
    sys.stdout.write(f"{answer}\n")
    return 1 if answer.startswith("refused;") else 0


def main(words: list[str]) -> int:
    """Run one verb."""
    match words:
        case ["serve", region, name]:
            CONTROL.unlink(missing_ok=True)
            asyncio.run(serve(region, name))
            return 0
        case ["set", mode]:
            return ask(mode)
        case ["show"]:
            return ask("")
        case _:
            sys.stderr.write(f"{__doc__}\n")
            return 64


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
