"""Which decisions are to be made again, and when: kept up by each, so that nobody looks through thousands. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Collection

from anycastd.model.address import Prefix
from anycastd.model.decision import Decision, Reason

UNDECIDED = frozenset({Reason.FIRST_CHECKS, Reason.OBSERVATION_MISSING, Reason.DATA_PLANE_NOT_READY})
PRUNE_ABOVE = 1000
FEW = 50
EACH_S = 0.0002
"""Of those that wait for an observation above FEW: twice what a look costs, so that a start with ten thousand, of
which the kernel's answers tell little by little, does not spend all its time on looking."""


class Due:
    """The prefixes that wait for something to be observed, and the times at which others fall due."""

    def __init__(self) -> None:
        self._undecided: dict[Prefix, None] = {}
        self._at_s: dict[Prefix, float] = {}
        self._heap: list[tuple[float, int, Prefix]] = []
        self._number = 0
        self._asked = False
        self._not_before_s = float("-inf")

    @property
    def undecided(self) -> Collection[Prefix]:
        """Return the prefixes that wait for something to be observed."""
        return self._undecided.keys()

    def note(self, decision: Decision) -> None:
        """Take the newest decision on a prefix."""
        prefix = decision.prefix
        if decision.hold in UNDECIDED:
            self._undecided[prefix] = None
        else:
            self._undecided.pop(prefix, None)
        if decision.wake_at_s is None or decision.wake_at_s == float("inf"):
            self._at_s.pop(prefix, None)
        elif self._at_s.get(prefix) != decision.wake_at_s:
            self._at_s[prefix] = decision.wake_at_s
            self._push(prefix, decision.wake_at_s)

    def forget(self, prefix: Prefix) -> None:
        """Take note that a prefix is no longer configured."""
        self._undecided.pop(prefix, None)
        self._at_s.pop(prefix, None)

    def ask(self) -> None:
        """Have those decided soon that wait for something to be observed: something was."""
        self._asked = True

    def take(self, now_s: float) -> list[Prefix]:
        """Return, once each, the prefixes whose time has come, and if asked those that wait for an observation."""
        found: dict[Prefix, None] = {}
        if self._asked and now_s >= self._not_before_s:
            self._asked, found = False, dict(self._undecided)
            self._not_before_s = now_s + EACH_S * max(len(found) - FEW, 0)
        while self._heap and self._heap[0][0] <= now_s:
            at_s, _, prefix = heapq.heappop(self._heap)
            if self._at_s.get(prefix) == at_s:
                del self._at_s[prefix]
                found[prefix] = None
        return list(found)

    def next_s(self) -> float | None:
        """Return when the next falls due."""
        while self._heap and self._at_s.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        times = [self._heap[0][0]] if self._heap else []
        if self._asked and self._undecided:
            times.append(self._not_before_s)
        return min(times, default=None)

    def _push(self, prefix: Prefix, at_s: float) -> None:
        if len(self._heap) > PRUNE_ABOVE + 2 * len(self._at_s):
            self._heap = [entry for entry in self._heap if self._at_s.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)
        self._number += 1
        heapq.heappush(self._heap, (at_s, self._number, prefix))
