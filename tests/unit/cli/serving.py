"""A real API server with a hand-built state, in a thread of its own, so that verbs can be run as processes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anycastd.api.app import serve
from anycastd.model.topology import ApiConfig
from anycastd.telemetry.metrics import Metrics
from tests.unit.daemon import Daemon
from tests.unit.runtime.eip_world import World


@contextmanager
def served(daemon: Daemon, path: Path, world: World | None = None) -> Iterator[str]:
    """Yield the path of a unix socket on which `daemon` answers, and `world`'s desk with it."""
    up, loop = threading.Event(), asyncio.new_event_loop()
    end = asyncio.Event()

    async def run() -> None:
        desk = None if world is None else await world.begin()
        server = await serve(daemon, ApiConfig(port=0, socket=str(path)), Metrics(), desk)
        up.set()
        await end.wait()
        await server.close()
        if world is not None:
            await world.end()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        assert up.wait(10), "the API did not come up"
        yield str(path)
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(10)
        loop.close()
