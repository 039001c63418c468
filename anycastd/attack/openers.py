"""EIPs to which many connections are opened in few packets: found by reading of all, twice, how many they opened.

A sample of packets does not show them: among those of busy EIPs theirs are few. That reading takes a tenth of what one
of everything takes. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from anycastd.attack.eips import BITE, EipWatch
from anycastd.attack.opened import OPENED
from anycastd.attack.pop import Risen
from anycastd.model.address import Address
from anycastd.model.attack import AttackReason, Rate
from anycastd.model.attack_config import DetectConfig
from anycastd.model.nft import Counters

AT_ONCE = 8.0
"""So many readings in a row: all of an alert."""


def may_be_some(per_s: float | None, config: DetectConfig) -> bool:
    """Return whether the POP opens so many connections a second that those to one EIP can be too many."""
    bounds = config.eip
    floor, level = bounds.floor_connections, bounds.level_connections
    return (per_s or 0.0) > (floor if level is None else min(floor, level))


class Openers:
    """Of one alert, which began at `since_s` (monotonic), when the POP's rates had risen so.

    `above`: who is too many now, and since when.
    """

    def __init__(self, since_s: float, risen: Risen) -> None:
        self._since_s, self._risen = since_s, risen
        self._before: Counters | None = None
        self._is_first = True
        self.above: dict[Address, float] = {}

    def steps(
        self, counters: Counters, watch: EipWatch, hurts: Collection[AttackReason], config: DetectConfig
    ) -> Iterator[None]:
        """Take in a reading in bites, the first only begins, and let the watch judge each that can be too many.

        Who is above from the first rates on was so since the alert began, as that is what it began for. Of packets
        and bits nothing is known but that each connection has one.
        """
        before, self._before = self._before, counters
        if before is None or (span_s := counters.at_s - before.at_s) <= 0.0:
            return
        was_above, self.above, position = self.above, {}, 0
        since_s = self._since_s if self._is_first else before.at_s
        self._is_first = False
        for name in OPENED:
            was = before.elements.get(name, {})
            for address, count in counters.elements.get(name, {}).items():
                position += 1
                if position % BITE == 0:
                    yield
                had = was.get(address)
                per_s = 0.0 if had is None else (count.packets - had.packets) / span_s
                if not may_be_some(per_s, config):
                    continue
                from_s = was_above.get(address, since_s)
                rate, lasted_s = Rate(packets=per_s, connections=per_s), counters.at_s - from_s
                risen = self._risen if from_s == self._since_s else None
                if watch.suspect(address, rate, 0.0, lasted_s, counters.at_s, hurts, config, risen):
                    self.above[address] = from_s
