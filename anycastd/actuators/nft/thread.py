"""A thread that talks to the kernel, inside the network namespace of its choice."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from anycastd.actuators.nft import channel, events, library
from anycastd.actuators.nft.channel import Channel
from anycastd.errors import ActuatorTransient

T = TypeVar("T")


class KernelThread:
    """Runs jobs one after another, each with the thread's channel or, where it has one, its nft."""

    def __init__(self, netns: str | None, *, has_nft: bool = True) -> None:
        self._netns, self._has_nft = netns, has_nft
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="nft")
        self._channel: Channel | None = None
        self._nft: library.Library | library.Program | None = None
        self._closed = False
        self.port = 0
        """The number by which events name our channel as their cause."""

    async def start(self) -> None:
        """Enter the namespace and open everything; ActuatorTransient if the kernel refuses."""
        await self._run(self._open)

    def _open(self) -> None:
        if self._netns is not None:
            channel.enter(self._netns)
        if self._has_nft:
            self._nft = library.opened()
        self._reopen()

    def _reopen(self) -> Channel:
        self._channel = Channel()
        self.port = self._channel.port
        return self._channel

    async def ask(self, job: Callable[[Channel], T]) -> T:
        """Run a job with the channel; ActuatorTransient when the kernel does not answer or refuses the question."""

        def run() -> T:
            use = self._channel or self._reopen()
            try:
                return job(use)
            except (OSError, ActuatorTransient):
                # whatever is still under way on it answers nobody
                use.close()
                self._channel = None
                raise

        return await self._run(run)

    async def nft(self, text: str) -> None:
        """Run statements of nft as one transaction; ActuatorRejected with what it says."""
        await self._run(lambda: self._nft.run(text) if self._nft is not None else None)

    async def open_events(self, receive_bytes: int) -> socket.socket:
        """Return a socket in the thread's namespace that hears of the end of each transaction."""
        return await self._run(lambda: events.opened(receive_bytes))

    async def _run(self, job: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, job)
        except OSError as error:
            message = f"netfilter: {error}"
            raise ActuatorTransient(message) from error

    async def close(self) -> None:
        """End the thread when its last job is done; a second time does nothing."""
        if self._closed:
            return
        self._closed = True

        def last() -> None:
            if self._channel is not None:
                self._channel.close()
            if self._nft is not None:
                self._nft.close()

        await self._run(last)
        self._pool.shutdown(wait=False)
