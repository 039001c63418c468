"""Has the kernel forget connections, beside the changes of elements: finding one EIP's connections takes it 10 ms.

The kernel walks its whole table of connections for that, however few there are (measured with 262,144 buckets).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from anycastd.actuators.nft import conntrack
from anycastd.actuators.nft.refusals import Refusals
from anycastd.actuators.nft.thread import KernelThread
from anycastd.errors import ActuatorTransient, PacketError
from anycastd.model.eip import FlushConnections
from anycastd.model.nft import NftChange, NftSet

AGAIN_AFTER_S = 0.2
CONNECTIONS = "connections"
"""The subject of a refusal to forget."""
OF_PATHS = frozenset({NftSet.POOL, NftSet.SLOT})


class Forgetting:
    """Works through what was `put`, in order, each until the kernel has answered."""

    def __init__(self, thread: KernelThread, refusals: Refusals) -> None:
        self._thread, self._refusals = thread, refusals
        self._waiting: dict[FlushConnections, None] = {}
        self._now: FlushConnections | None = None
        self._asked, self._done = asyncio.Event(), asyncio.Event()

    def __bool__(self) -> bool:
        return bool(self._waiting) or self._now is not None

    def put(self, what: FlushConnections) -> None:
        """Have connections forgotten soon."""
        self._waiting[what] = None
        self._asked.set()

    async def clear_of(self, changes: Sequence[NftChange]) -> None:
        """Return when nothing waits to be forgotten that these changes may bring to life again."""
        while self and self._meets(changes):
            self._done.clear()
            await self._done.wait()

    def _meets(self, changes: Sequence[NftChange]) -> bool:
        addresses = {what.address for what in (*self._waiting, *([self._now] if self._now else ()))}
        return any(change.key in addresses or (None in addresses and change.set in OF_PATHS) for change in changes)

    async def run(self) -> None:
        """Forget, for ever. What the kernel does not answer goes behind the others, so that nothing is held up."""
        # after a failure nobody is to wait for what was in hand
        self._now = None
        self._done.set()
        while True:
            await self._asked.wait()
            self._asked.clear()
            while self._waiting:
                what = self._now = next(iter(self._waiting))
                del self._waiting[what]
                try:
                    await self._thread.ask(lambda channel, what=what: conntrack.flush(channel, what))  # type: ignore[misc]
                except (ActuatorTransient, PacketError) as error:
                    self._refusals.say(CONNECTIONS, f"not forgotten: {error}")
                    asyncio.get_running_loop().call_later(AGAIN_AFTER_S, self.put, what)
                else:
                    self._refusals.over(CONNECTIONS)
                self._now = None
                self._done.set()
