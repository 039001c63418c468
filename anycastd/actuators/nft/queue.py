"""What is to be done to the kernel, in order; of changes to one element only the last."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from anycastd.model.eip import FlushConnections
from anycastd.model.nft import Key, NftChange, NftSet

LIMIT = 2000
"""Changes in one transaction: about 20 ms of the kernel's time."""
BITE = 1000
"""Changes sorted in at once: about 1 ms."""


class Queue:
    """What one call brought stays one transaction, unless it is larger than the limit."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._new: deque[Sequence[NftChange] | FlushConnections] = deque()
        self._parts: deque[deque[NftChange] | FlushConnections] = deque()
        self._last: dict[NftSet, dict[Key, NftChange]] = {name: {} for name in NftSet}
        """The last change of each element that waits: another one of it that still stands in a part is void."""

    def __bool__(self) -> bool:
        return bool(self._parts or self._new)

    def put(self, changes: Sequence[NftChange]) -> None:
        """Take changes in, in this order; at once, however many: `sort_in` looks at them."""
        self._new.append(changes)

    def flush(self, flushes: Iterable[FlushConnections]) -> None:
        """Take flushes in, behind all that was taken in before."""
        self._new.extend(flushes)

    def sort_in(self) -> Iterator[None]:
        """Let each new change take the place of an earlier one of its element, at its own place in the order.

        Flushes that wait then go behind it: connections that are forgotten before their pool has changed would be
        tracked to the old path again. Yields now and then, so that the caller can let others run. Exhaust it before
        `next`.
        """
        while self._new:
            part = self._new.popleft()
            if isinstance(part, FlushConnections):
                self._parts.append(part)
                continue
            self._parts.append(deque(part))
            is_again = False
            for count, change in enumerate(part):
                last = self._last[change.set]
                is_again = is_again or change.key in last
                last[change.key] = change
                if count % BITE == BITE - 1:
                    yield
            if is_again:
                self._put_flushes_last()

    def _put_flushes_last(self) -> None:
        flushes = [part for part in self._parts if isinstance(part, FlushConnections)]
        if flushes:
            self._parts = deque(part for part in self._parts if not isinstance(part, FlushConnections))
            self._parts.extend(dict.fromkeys(flushes))

    def next(self) -> list[NftChange] | FlushConnections:
        """Take the next transaction (perhaps an empty one) or flush out."""
        taken: list[NftChange] = []
        while self._parts:
            part = self._parts[0]
            if isinstance(part, FlushConnections):
                return taken or self._pop(part)
            if taken and len(taken) + len(part) > self._limit:
                break
            while part and len(taken) < self._limit:
                change = part.popleft()
                last = self._last[change.set]
                if last.get(change.key) is change:
                    taken.append(change)
                    del last[change.key]
            if part:
                break
            self._parts.popleft()
        return taken

    def _pop(self, flush: FlushConnections) -> FlushConnections:
        self._parts.popleft()
        return flush
