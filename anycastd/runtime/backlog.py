"""Prefixes that wait to be decided, so that thousands at once are taken a bite at a time. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from anycastd.model.address import Prefix
from anycastd.model.decision import Decision
from anycastd.runtime.announcer import UNDECIDED

BITE = 100
"""Decided and said in about 10 ms (measured), which is what a failover of another prefix may wait behind."""


class Backlog:
    """What waits, in the order in which it came, and when what it waits for was seen."""

    def __init__(self) -> None:
        self._seen_s: dict[Prefix, float] = {}

    def __bool__(self) -> bool:
        return bool(self._seen_s)

    def add(self, prefixes: Iterable[Prefix], seen_s: float) -> None:
        """Let prefixes wait; one that waits already keeps its place and its time."""
        for prefix in prefixes:
            self._seen_s.setdefault(prefix, seen_s)

    def keep(self, prefixes: Collection[Prefix]) -> None:
        """Forget all but these, which are configured."""
        self._seen_s = {prefix: seen_s for prefix, seen_s in self._seen_s.items() if prefix in prefixes}

    def bite(self) -> dict[Prefix, float]:
        """Return the next few, with the time each was seen, and let them wait no more."""
        some = [prefix for prefix, _ in zip(self._seen_s, range(BITE), strict=False)]
        return {prefix: self._seen_s.pop(prefix) for prefix in some}


def waiting(decisions: Mapping[Prefix, Decision], now_s: float) -> list[Prefix]:
    """Return the prefixes that wait for something to be observed, and those whose time has come."""
    return [p for p, d in decisions.items() if d.hold in UNDECIDED or _at_s(d) <= now_s]


def next_due_s(decisions: Mapping[Prefix, Decision], now_s: float) -> float | None:
    """Return when the next decision falls due: a timer that went off for one has forgotten the others."""
    return min((at_s for d in decisions.values() if now_s < (at_s := _at_s(d)) < float("inf")), default=None)


def _at_s(decision: Decision) -> float:
    return float("inf") if decision.wake_at_s is None else decision.wake_at_s
