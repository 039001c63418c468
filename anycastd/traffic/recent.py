"""The readings of the last hour, in memory: exact, and bounded in time and in size.

A frame holds only the EIPs that had traffic, so the size depends on how many are busy: `max_cells` of 68 bytes. With
more busy EIPs the memory reaches less far back, and what is older is answered by the 5-minute points.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque

from anycastd.model.traffic import Frame, Volume

KEEP_S = 3600.0
MAX_CELLS = 500_000
"""34 MB: a whole hour of 5-second readings of 694 busy EIPs, or 4 minutes of 10,000."""

_WIDTH = len(Volume._fields)


class BusyFrame:
    """What the EIPs that had traffic carried between two readings; numbers ascending."""

    __slots__ = ("at_s", "numbers", "seconds", "values")

    def __init__(self, at_s: float, seconds: float) -> None:
        self.at_s, self.seconds = at_s, seconds
        self.numbers, self.values = array("I"), array("Q")

    def add(self, number: int, values: tuple[int, ...]) -> None:
        """Add an EIP; its number is larger than those added before."""
        self.numbers.append(number)
        self.values.extend(values)

    def of(self, number: int) -> Volume:
        """Return what one EIP carried."""
        at = bisect_left(self.numbers, number)
        if at == len(self.numbers) or self.numbers[at] != number:
            return Volume()
        return Volume._make(self.values[at * _WIDTH : (at + 1) * _WIDTH])


class Recent:
    """The frames of the last hour, oldest first."""

    def __init__(self, keep_s: float = KEEP_S, max_cells: int = MAX_CELLS) -> None:
        self._keep_s, self._max_cells = keep_s, max_cells
        self._frames: deque[BusyFrame] = deque()

    def begin(self, unix_s: float, seconds: float) -> BusyFrame:
        """Return a new frame to be filled, of the `seconds` that ended at `unix_s`; what is too old or too much goes.

        Age is the sum of `seconds`, so that a step of the wall clock neither keeps nor drops frames.
        """
        frame = BusyFrame(unix_s, seconds)
        self._frames.append(frame)
        cells = sum(len(one.numbers) for one in self._frames)
        kept_s = sum(one.seconds for one in self._frames)
        while len(self._frames) > 1 and (kept_s - self._frames[0].seconds >= self._keep_s or cells > self._max_cells):
            oldest = self._frames.popleft()
            cells -= len(oldest.numbers)
            kept_s -= oldest.seconds
        return frame

    def of(self, number: int, since_unix_s: float) -> list[Frame]:
        """Return what one EIP carried in each frame that ended after `since_unix_s`, oldest first."""
        return [Frame(one.at_s, one.seconds, one.of(number)) for one in self._frames if one.at_s > since_unix_s]
