"""New connections of each EIP: from readings that are made only while the POP has so many that they can matter. Pure.

Reading ten thousand counters costs time. Where the POP as a whole has fewer new connections than could make any
difference to one EIP (see `usual.learnt`), none of its EIPs has more.
"""

from __future__ import annotations

from collections.abc import Mapping

from anycastd.attack.assess import EASE
from anycastd.model.address import Address
from anycastd.model.attack_config import DetectConfig
from anycastd.model.nft import Count, Counters, NftSet

OPENED = (NftSet.NEW4, NftSet.NEW6)


def least(config: DetectConfig) -> float:
    """Return below how many a second the POP's new connections say nothing of any EIP."""
    bounds = config.eip
    found = bounds.floor_connections / config.attack_times
    return found if bounds.level_connections is None else min(found, bounds.level_connections * EASE)


class Opened:
    """Told how many connections the POP has opened, says whether to read them, and takes the readings."""

    def __init__(self) -> None:
        self._most_per_s = 0.0
        self._before: Counters | None = None

    def note(self, per_s: float | None) -> None:
        """Take in the POP's rate."""
        self._most_per_s = max(self._most_per_s, per_s or 0.0)

    def matter(self, config: DetectConfig) -> bool:
        """Return whether there were enough since this was asked last; if not, the next reading only begins."""
        most_per_s, self._most_per_s = self._most_per_s, 0.0
        if most_per_s < least(config):
            self._before = None
            return False
        return True

    def rates(self, counters: Counters) -> Mapping[Address, float] | None:
        """Return what each EIP opened a second since the reading before; None at the first one."""
        before, self._before = self._before, counters
        if before is None or (span_s := counters.at_s - before.at_s) <= 0.0:
            return None
        found = {}
        for name in OPENED:
            was = before.elements.get(name, {})
            for address, count in counters.elements.get(name, {}).items():
                if (had := was.get(address)) is not None and count.packets > had.packets:
                    found[address] = (count.packets - had.packets) / span_s
        return found


def opened_of(counters: Counters, address: Address) -> Count | None:
    """Return what was counted of one EIP; None: nobody counts it."""
    return counters.elements.get(OPENED[address.version == 6], {}).get(address)
