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


@contextmanager
def served(daemon: Daemon, path: Path) -> Iterator[str]:
    """Yield the path of a unix socket on which `daemon` answers."""
    up, loop = threading.Event(), asyncio.new_event_loop()
    end = asyncio.Event()

    async def run() -> None:
        server = await serve(daemon, ApiConfig(port=0, socket=str(path)), Metrics())
        up.set()
        await end.wait()
        await server.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        assert up.wait(10), "the API did not come up"
        yield str(path)
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(10)
        loop.close()
