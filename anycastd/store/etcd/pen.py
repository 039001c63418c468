"""How this POP writes: each commit also writes our own heartbeat key, and expects it as we last wrote it.

So one that was tried at several members is done once at most; one whose end was never heard of shows when the next is
made, and can never be done after that; and a store that went back in time, or a second daemon of our name, is noticed.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from anycastd.store.etcd import wire
from anycastd.store.port import ABSENT, Conflict, Item, StoreUnavailable


class Asks(Protocol):
    """Who asks the members."""

    async def call(self, path: str, body: wire.Json, within_s: float | None = None) -> wire.Json:
        """Return the first answer."""
        ...


class WentBack(StoreUnavailable):
    """Our heartbeat is older in the store than we know it to be: what came after is lost there."""

    def __init__(self, known: int, found: int) -> None:
        super().__init__(f"our own heartbeat of revision {known} is at {found} in the store")
        self.found = found


class Pen:
    """One for each daemon; commits come one after another. `revision` is where our key was last known to be."""

    def __init__(self, key: str, noticed: Callable[[str | None], None]) -> None:
        self._key, self._noticed = key, noticed
        self._lock = asyncio.Lock()
        self._instance = secrets.token_hex(6)
        self._has_written = False
        self.revision = ABSENT

    async def commit(
        self, asks: Asks, operations: Sequence[wire.Json], expected: Mapping[str, int], within_s: float | None = None
    ) -> int:
        """Do all operations or none, once, and return the revision; Conflict, or StoreUnavailable, if it was not done.

        What ends as StoreUnavailable may be done yet, if no member's answer came: until our next commit, never after.
        """
        async with self._lock:
            text = json.dumps({"instance": self._instance, "commit": secrets.token_hex(8)}, separators=(",", ":"))
            while True:
                keys = {self._key: self.revision, **expected}
                body = wire.transaction(keys, [wire.put(self._key, text), *operations])
                answer = await asks.call("/kv/txn", body, within_s)
                if answer.get("succeeded"):
                    return self._written(wire.header_of(answer).revision)
                found = wire.found_of(answer)
                mine = found.get(self._key, Item(None, ABSENT))
                if mine.value == text:
                    # an earlier try, whose answer was lost
                    return self._written(mine.revision)
                if mine.revision < self.revision:
                    raise WentBack(self.revision, mine.revision)
                for key, revision in expected.items():
                    at = found.get(key, Item(None, ABSENT)).revision
                    if at != revision:
                        raise Conflict(key, revision, at)
                self._learn(mine)

    def _written(self, revision: int) -> int:
        self.revision, self._has_written = revision, True
        self._noticed(None)
        return revision

    def _learn(self, mine: Item) -> None:
        """Go on from what is there: a commit of ours that we heard no end of, one of an earlier life, or a stranger."""
        try:
            instance = json.loads(mine.value or "{}").get("instance")
        except (ValueError, AttributeError):
            instance = None
        if self._has_written and instance != self._instance:
            self._noticed(f"another daemon writes {self._key}: two POPs have the same name")
        self.revision = mine.revision
