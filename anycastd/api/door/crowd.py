"""How many connections a listener keeps: who opens many and says nothing must not take the files of the daemon.

Probes, the journal and ExaBGP's bridge need file descriptors, too. Of too many connections that goes which has not
begun a request for longest, and has none in hand. Streams of events do not count: they have a limit of their own
(`journal.max_readers`).
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Container
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Middleware

from anycastd.api.door.ask import Answer

MOST = 256
"""Connections over TCP at once, streams apart."""
IDLE_S = 75.0
"""How long one without a request is kept: longer than collectors of metrics wait between two scrapes."""
HANDSHAKE_S = 10.0
RESET = struct.pack("ii", 1, 0)
"""`struct linger`: reset, and wait for nothing (socket(7))."""


class Crowd:
    """The connections of one listener. `streams` are the paths whose requests last for as long as the client likes."""

    def __init__(self, streams: Container[str] = (), most: int = MOST) -> None:
        self._streams, self._most = streams, most
        self._begun_s: dict[Any, float] = {}
        """When each connection began, or its last request."""
        self._in_hand: dict[Any, bool] = {}
        """The connections that have a request in hand, and whether it is a stream."""
        self._leaving: set[Any] = set()

    def protocols(self, server: web.Server) -> Callable[[], asyncio.Protocol]:
        """Return what makes the protocol of a new connection, and room for it first."""

        def made() -> asyncio.Protocol:
            now_s = asyncio.get_running_loop().time()
            self._make_room(server, now_s)
            new = server()
            self._begun_s[new] = now_s
            return new

        return made

    def _make_room(self, server: web.Server, now_s: float) -> None:
        there = dict.fromkeys(server.connections)
        # what was cut in this turn of the loop is the server's still
        self._leaving &= there.keys()
        # one that was just taken in is not the server's yet
        self._begun_s = {one: at_s for one, at_s in self._begun_s.items() if one in there or now_s - at_s < HANDSHAKE_S}
        counted = [one for one in there if one not in self._leaving and not self._in_hand.get(one)]
        counted.sort(key=lambda one: (one in self._in_hand, self._begun_s.get(one, 0.0)))
        for one in counted[: max(len(counted) + 1 - self._most, 0)]:
            self._leaving.add(one)
            _cut(one)

    @property
    def followed(self) -> Middleware:
        """Return the middleware by which it is known who has a request."""

        @web.middleware
        async def follow(request: web.Request, handler: Answer) -> web.StreamResponse:
            mine = request.protocol
            self._begun_s[mine] = asyncio.get_running_loop().time()
            self._in_hand[mine] = request.path in self._streams
            try:
                return await handler(request)
            finally:
                self._in_hand.pop(mine, None)

        return follow


def _cut(one: Any) -> None:
    """Reset a connection: what it was to be sent is of no use, and would stay in the kernel's memory for minutes."""
    transport = one.transport
    one.force_close()
    if transport is not None:
        transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, RESET)
        transport.abort()
