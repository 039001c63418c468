"""When a check's probes start: on a grid that it keeps for life, so that load stays spread."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

from anycastd.model.address import CheckId
from anycastd.model.checks import Timing

FIRST_WITHIN_S = 1.0
FIRST_EACH_S = 0.0002
"""Of thousands that begin together not more start than one core takes: 11,700 to 16,900 HTTP checks a second here."""


def share_of(check: CheckId) -> float:
    """Return where in its interval a check starts, 0 <= share < 1: the same for one id always."""
    return zlib.crc32(check.encode()) / 2**32


@dataclass(frozen=True, slots=True)
class Slots:
    """The start times of one check, in monotonic seconds."""

    share: float
    timing: Timing

    def first(self, now_s: float, together: int = 1) -> float:
        """Return the first start of one of so many: within min(interval, 1 s), so that a cold start knows all soon."""
        within_s = max(FIRST_WITHIN_S, together * FIRST_EACH_S)
        if self.timing.interval_s <= within_s:
            return self._on_grid_after(now_s)
        return now_s + self.share * within_s

    def following(self, slot_s: float, now_s: float, *, fast: bool) -> float:
        """Return the slot after `slot_s`, never before `now_s`: what was missed is left out, not caught up on."""
        if fast and self.timing.fast_interval_s is not None:
            step_s = self.timing.fast_interval_s
            return slot_s + step_s if slot_s + step_s > now_s else now_s + step_s
        # half an interval on, so that a start off the grid (the first, a fast or a nudged one) is not doubled
        return self._on_grid_after(max(slot_s + self.timing.interval_s / 2, now_s))

    def in_flight(self, *, fast: bool) -> int:
        """Return how many probes may run at once: those that fit into the timeout, and one."""
        timing = self.timing
        interval_s = timing.fast_interval_s if fast and timing.fast_interval_s is not None else timing.interval_s
        return math.ceil(timing.timeout_s / interval_s) + 1

    def _on_grid_after(self, time_s: float) -> float:
        interval_s = self.timing.interval_s
        phase_s = self.share * interval_s
        return phase_s + (math.floor((time_s - phase_s) / interval_s) + 1) * interval_s
