"""The last results of one check: a ring with running sums, so that a result costs the same whatever the size. Pure.

Jitter is the mean of |R(i) - R(i-1)| over successive answered probes: RFC 3550 6.4.1's D without its smoothing, of
round trips where it has one-way transit times, so that what leaves the window is forgotten whole. All sums are whole
microseconds: nothing is rounded, however long it runs.
"""

from __future__ import annotations

from array import array

from anycastd.model.health import Measured
from anycastd.model.probe import ProbeResult, Why

_FAILED, _LOST = -1, -2
_NONE = -1


class Window:
    """Counts results; a failing streak counts for its first `fall` probes.

    An outage is the matter of rise and fall, and must not hold a target down once it has risen. What is our own fault
    is left out. The counts are those of `Measured`.
    """

    __slots__ = (
        "_differences", "_in_streak", "_last", "_next_number", "_place", "_streak", "_values", "answered",
        "differences_us", "failed", "lost", "pairs", "results", "round_trips_us", "size",
    )  # fmt: skip

    def __init__(self, size: int) -> None:
        self.size = size
        # microseconds of an answered probe, else _FAILED or _LOST
        self._values = array("q", bytes(8 * size))
        # how much the next answered probe differed, at the place of the earlier one: they leave together
        self._differences = array("q", bytes(8 * size))
        self._place = self.results = self.failed = self.lost = self.answered = 0
        self.round_trips_us = self.pairs = self.differences_us = 0
        self._last = _NONE
        self._streak, self._next_number, self._in_streak = 0, _NONE, False

    @property
    def measured(self) -> Measured:
        """Return what the results add up to."""
        return Measured(
            self.results,
            self.failed,
            self.lost,
            self.answered,
            self.round_trips_us,
            self.pairs,
            self.differences_us,
        )

    def take(self, result: ProbeResult, fall: int) -> None:
        """Take one result in, which is not our own fault."""
        if result.why is Why.ANSWERED:
            if not result.overtaken:
                self._in_streak = False
            self._push(max(round((result.ended_s - result.started_s) * 1e6), 0))
            return
        # probes overlap, so the losses of one outage may come in after the answers that ended it: by number they are
        # still one streak
        goes_on = (self._in_streak and not result.overtaken) or result.number == self._next_number
        self._streak = self._streak + 1 if goes_on else 1
        self._next_number = result.number + 1 if result.number else _NONE
        self._in_streak = self._in_streak or not result.overtaken
        if self._streak <= fall:
            self._push(_LOST if result.why is Why.TIMEOUT else _FAILED)

    def _push(self, value: int) -> None:
        place = self._place
        if self.results == self.size:
            self._forget(place)
        else:
            self.results += 1
        self._values[place] = value
        self._differences[place] = _NONE
        if value >= 0:
            self.answered += 1
            self.round_trips_us += value
            if self._last >= 0:
                difference = abs(value - self._values[self._last])
                self._differences[self._last] = difference
                self.differences_us += difference
                self.pairs += 1
            self._last = place
        else:
            self.failed += 1
            self.lost += value == _LOST
        self._place = place + 1 if place + 1 < self.size else 0

    def _forget(self, place: int) -> None:
        value = self._values[place]
        if value < 0:
            self.failed -= 1
            self.lost -= value == _LOST
            return
        self.answered -= 1
        self.round_trips_us -= value
        if self._last == place:
            self._last = _NONE
        difference = self._differences[place]
        if difference >= 0:
            self.differences_us -= difference
            self.pairs -= 1
