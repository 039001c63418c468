"""The lab's own HTTP server: its queue holds what arrives while it has no processor."""

from __future__ import annotations

import importlib.util
import socket
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

SERVER = Path(__file__).parents[3] / "containerlab" / "nodes" / "backend.py"
WAITING = 600
"""More than a client of the lab begins in half a second."""


def server() -> ModuleType:
    """Return the script of the nodes as a module."""
    spec = importlib.util.spec_from_file_location("lab_backend", SERVER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_connections_wait_while_the_server_has_no_processor() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    backend = server().Backend("eu", "b1", port)
    await backend.listen()
    with ExitStack() as kept:
        # nothing here gives the loop a turn: the kernel alone takes them
        for _ in range(WAITING):
            kept.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
    await backend.change("refuse")
