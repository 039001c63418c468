"""Whether the wall clock can be believed: it has run as evenly as the monotonic one for a while. Pure.

What is deleted for its age by the wall clock is gone, in the whole fleet where the store is the fleet's: a clock that
runs ahead for some minutes must not do that.
"""

from __future__ import annotations

from anycastd.api.ports import Clocks

STEP_S = 60.0
"""More than a clock that is slewed (500 ppm) strays within STEADY_S."""
STEADY_S = 3600.0


class SteadyClock:
    """Begins to watch with the first clocks it gets."""

    def __init__(self, clocks: Clocks) -> None:
        self._ahead_s, self._since_s = clocks.wall_s - clocks.now_s, clocks.now_s

    def is_steady(self, clocks: Clocks) -> bool:
        """Return whether the wall clock was not set for STEADY_S."""
        ahead_s = clocks.wall_s - clocks.now_s
        if abs(ahead_s - self._ahead_s) > STEP_S:
            self._ahead_s, self._since_s = ahead_s, clocks.now_s
        return clocks.now_s - self._since_s >= STEADY_S
