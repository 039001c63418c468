"""When a check's probes start: on a grid that it keeps for life, so that load stays spread."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

from anycastd.model.address import CheckId
from anycastd.model.checks import Timing

FIRST_WITHIN_S = 1.0


def share_of(check: CheckId) -> float:
    """Return where in its interval a check starts, 0 <= share < 1: the same for one id always."""
    return zlib.crc32(check.encode()) / 2**32


@dataclass(frozen=True, slots=True)
class Slots:
    """The start times of one check, in monotonic seconds."""

    share: float
    timing: Timing

    def first(self, now_s: float) -> float:
        """Return the first start: within min(interval, 1 s), so that a cold start knows everything soon."""
        if self.timing.interval_s <= FIRST_WITHIN_S:
            return self._on_grid_after(now_s)
        return now_s + self.share * FIRST_WITHIN_S

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
