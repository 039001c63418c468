"""Garbage collection in small steps. Left alone, CPython 3.11 counts what is made less what is freed, so that where
new values replace old ones its youngest generation grows to 70,000 objects, and one collection holds us up for 50 ms.
"""

from __future__ import annotations

import gc

THRESHOLDS = (10_000, 5, 1_000_000)
"""For what is made between two steps, as by a reload; never by itself all that there is: 100 ms at 8,000 prefixes."""
YOUNG_STEPS = 20
"""Steps through the youngest objects (0.1 ms each after a bite of decisions) to one through those that stayed."""
EVERYTHING_EACH_S = 3600.0


class Garbage:
    """Collects when told: a little after each bite of work, and everything once an hour."""

    def __init__(self, now_s: float) -> None:
        self._steps = 0
        self._everything_s = now_s + EVERYTHING_EACH_S

    @staticmethod
    def begin() -> None:
        """Collect no more by CPython's own count, nor what is here before the start: modules and the configuration.

        With 10,000 EIPs that count had all there is looked at four times while they were taken in, 0.3 s (measured).
        """
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)

    @staticmethod
    def started() -> None:
        """Keep what the start loaded out of every later collection too."""
        gc.collect()
        gc.freeze()

    def step(self) -> None:
        """Collect what was made since the last step."""
        self._steps += 1
        gc.collect(0 if self._steps % YOUNG_STEPS else 1)

    def everything(self, now_s: float) -> None:
        """Collect everything, if it is time again."""
        if now_s >= self._everything_s:
            self._everything_s = now_s + EVERYTHING_EACH_S
            gc.collect()
