"""Prefixes that wait to be decided, so that thousands at once are taken a bite at a time. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence

from anycastd.model.address import Prefix
from anycastd.reconcile.bgp import BULK_ABOVE

BITE = 25
"""Decided and said in 2 to 3 ms (measured), which is what a failover of another prefix may wait behind."""


class Row:
    """Prefixes that belong together, of which parts wait; to let all wait again costs nothing for each."""

    def __init__(self, prefixes: Sequence[Prefix]) -> None:
        self.prefixes = prefixes
        self._parts: deque[tuple[int, int, float]] = deque()

    def __len__(self) -> int:
        return sum(stop - start for start, stop, _ in self._parts)

    def add(self, seen_s: float) -> None:
        """Let all wait; what waits already keeps its place and its time."""
        begin, gaps = 0, []
        for start, stop, _ in sorted(self._parts):
            gaps.append((begin, start, seen_s))
            begin = stop
        gaps.append((begin, len(self.prefixes), seen_s))
        self._parts.extend(gap for gap in gaps if gap[0] < gap[1])

    def take(self, count: int) -> tuple[Sequence[Prefix], float]:
        """Return the next few, at most `count`, and when what they wait for was seen."""
        start, stop, seen_s = self._parts.popleft()
        end = min(start + count, stop)
        if end < stop:
            self._parts.appendleft((end, stop, seen_s))
        return self.prefixes[start:end], seen_s


class Backlog:
    """What waits, in the order in which it came, and when what it waits for was seen.

    Single prefixes are kept by name. Rows are kept whole: to name each of 8,000 takes 25 ms (measured).
    """

    def __init__(self) -> None:
        self._seen_s: dict[Prefix, float] = {}
        self._rows: dict[int, Row] = {}
        self.is_many = False
        """Whether more than BULK_ABOVE waited at a time since nothing did: the last of them are still of the many."""

    def __bool__(self) -> bool:
        return bool(self._seen_s) or bool(self._rows)

    def add(self, prefixes: Iterable[Prefix], seen_s: float) -> None:
        """Let prefixes wait; one that waits already keeps its place and its time."""
        self.is_many = self.is_many and bool(self)
        for prefix in prefixes:
            self._seen_s.setdefault(prefix, seen_s)
        self._note_many()

    def add_rows(self, rows: Iterable[Sequence[Prefix]], seen_s: float) -> None:
        """Let rows of prefixes wait, before single ones. A row is known by being the same object, and never changes."""
        self.is_many = self.is_many and bool(self)
        for prefixes in rows:
            if prefixes:
                self._rows.setdefault(id(prefixes), Row(prefixes)).add(seen_s)
        self._note_many()

    def _note_many(self) -> None:
        self.is_many = self.is_many or len(self._seen_s) + sum(map(len, self._rows.values())) > BULK_ABOVE

    def keep(self, prefixes: Collection[Prefix]) -> None:
        """Forget all but these, which are configured."""
        rows, self._rows = self._rows, {}
        for row in rows.values():
            while row:
                some, seen_s = row.take(len(row.prefixes))
                self.add(some, seen_s)
        self._seen_s = {prefix: seen_s for prefix, seen_s in self._seen_s.items() if prefix in prefixes}

    def bite(self) -> dict[Prefix, float]:
        """Return the next few, with the time each was seen, and let them wait no more."""
        if self._rows:
            key, row = next(iter(self._rows.items()))
            prefixes, seen_s = row.take(BITE)
            if not row:
                del self._rows[key]
            return {prefix: min(self._seen_s.pop(prefix, seen_s), seen_s) for prefix in prefixes}
        some = [prefix for prefix, _ in zip(self._seen_s, range(BITE), strict=False)]
        return {prefix: self._seen_s.pop(prefix) for prefix in some}
