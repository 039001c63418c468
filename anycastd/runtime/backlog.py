"""Prefixes that wait to be decided, so that thousands at once are taken a bite at a time. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from anycastd.model.address import Prefix
from anycastd.reconcile.bgp import BULK_ABOVE

BITE = 25
"""Decided and said in 2 to 3 ms (measured), which is what a failover of another prefix may wait behind."""


class Backlog:
    """What waits, in the order in which it came, and when what it waits for was seen."""

    def __init__(self) -> None:
        self._seen_s: dict[Prefix, float] = {}
        self.is_many = False
        """Whether more than BULK_ABOVE waited at a time since nothing did: the last of them are still of the many."""

    def __bool__(self) -> bool:
        return bool(self._seen_s)

    def add(self, prefixes: Iterable[Prefix], seen_s: float) -> None:
        """Let prefixes wait; one that waits already keeps its place and its time."""
        self.is_many = self.is_many and bool(self._seen_s)
        for prefix in prefixes:
            self._seen_s.setdefault(prefix, seen_s)
        self.is_many = self.is_many or len(self._seen_s) > BULK_ABOVE

    def keep(self, prefixes: Collection[Prefix]) -> None:
        """Forget all but these, which are configured."""
        self._seen_s = {prefix: seen_s for prefix, seen_s in self._seen_s.items() if prefix in prefixes}

    def bite(self) -> dict[Prefix, float]:
        """Return the next few, with the time each was seen, and let them wait no more."""
        some = [prefix for prefix, _ in zip(self._seen_s, range(BITE), strict=False)]
        return {prefix: self._seen_s.pop(prefix) for prefix in some}
