"""Clients that open many connections and say nothing, or take nothing: the API answers others, and files are spared."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest_asyncio

from anycastd.api.app import Server, serve
from anycastd.api.door.crowd import MOST
from anycastd.model.topology import ApiConfig
from anycastd.runtime.journal.journal import JOURNAL, Journal
from anycastd.telemetry.metrics import Metrics
from tests.unit import status_builder as build
from tests.unit.daemon import Daemon
from tests.unit.journal_world import QUICK, Told
from tests.wait import wait_until

HALF = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    journal = Journal(tmp_path / JOURNAL, QUICK, Told())
    api = ApiConfig(port=0, socket=str(tmp_path / "api.sock"))
    found = await serve(Daemon(build.serving()), api, Metrics(), history=journal)
    yield found
    await found.close()
    await journal.close()


async def answers(server: Server) -> bool:
    url = f"http://127.0.0.1:{server.port}/healthz"
    async with aiohttp.ClientSession() as tcp, asyncio.timeout(30.0), tcp.get(url) as response:
        return response.status == 200


async def opened(server: Server, stack: ExitStack, count: int, said: bytes) -> list[socket.socket]:
    """Open so many connections that each say that, and let the server take them in."""
    loop, found = asyncio.get_running_loop(), []
    for _ in range(count):
        one = stack.enter_context(socket.socket())
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.setblocking(False)
        await loop.sock_connect(one, ("127.0.0.1", server.port))
        await loop.sock_sendall(one, said)
        found.append(one)
    return found


def is_cut(one: socket.socket) -> bool:
    established = 1  # net/tcp_states.h
    return one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != established


def is_full(one: Any) -> bool:
    transport = one.transport
    return transport is not None and transport.get_write_buffer_size() > transport.get_write_buffer_limits()[1]


async def test_who_opens_many_connections_and_sends_half_a_request_holds_no_more_than_there_may_be(
    server: Server,
) -> None:
    with ExitStack() as stack:
        held = await opened(server, stack, MOST + 100, HALF)
        assert await answers(server)
        assert await answers(server)
        stand = [one for one in held if not is_cut(one)]
        # the oldest went, and none without need
        assert MOST - 2 <= len(stand) <= MOST
        assert stand == held[-len(stand) :]


async def test_who_takes_no_answer_is_cut_like_one_that_says_nothing(server: Server) -> None:
    with ExitStack() as stack:
        (deaf,) = await opened(server, stack, 1, (HALF + b"\r\n") * 100)
        remote = server._runners[1].server
        assert remote is not None
        while not is_cut(deaf):
            # until the sockets' memory is full, its requests are answered
            await asyncio.to_thread(wait_until, "it is waited for", 60.0, lambda: any(map(is_full, remote.connections)))
            with ExitStack() as others:
                await opened(server, others, MOST, HALF)
                assert await answers(server)


async def test_a_stream_of_events_is_not_cut_for_others(server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}/v1/events"
    async with aiohttp.ClientSession() as tcp, asyncio.timeout(30.0), tcp.get(url) as stream:
        assert (await stream.content.readline()).startswith(b": anycastd")
        with ExitStack() as stack:
            await opened(server, stack, MOST + 20, HALF)
            assert await answers(server)
            # its next heartbeat comes
            while not (line := await stream.content.readline()).startswith(b": alive"):
                assert line
