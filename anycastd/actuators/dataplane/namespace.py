"""One thread for blocking work with the kernel, in the network namespace of this process or in a named one."""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
NETNS = Path("/run/netns")


class Thread:
    """Runs calls one after another. A namespace belongs to a thread, so entering one disturbs no other."""

    def __init__(self, name: str, netns: str | None = None) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._netns, self._entered = netns, False

    async def run(self, call: Callable[[], T]) -> T:
        """Return what the call returns, or raise what it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._inside, call)

    def _inside(self, call: Callable[[], T]) -> T:
        if self._netns is not None and not self._entered:
            enter(self._netns)
            self._entered = True
        return call()

    def close(self) -> None:
        """End after what runs; nothing more is taken."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def enter(netns: str) -> None:
    """Move the calling thread into a namespace of `ip netns`; OSError if there is none."""
    with (NETNS / netns).open("rb") as file:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(file.fileno(), CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), netns)
