"""New connections of each EIP: from readings that are made only while the POP has so many that they can matter. Pure.

Reading ten thousand counters costs time. Where the POP as a whole has fewer new connections than could make any
difference to one EIP (see `usual.learnt`), none of its EIPs has more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

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


class OpenedRates(Mapping[Address, float]):
    """New connections a second between two readings, of EIPs that had some; worked out when it is asked for them.

    Of ten thousand at once that held the event loop for 4 ms (measured).
    """

    def __init__(self, before: Counters, now: Counters) -> None:
        self._sets = [(before.elements.get(name, {}), now.elements.get(name, {})) for name in OPENED]
        self._span_s = now.at_s - before.at_s

    def get(self, address: Address, default: Any = None) -> Any:
        """Return the rate of an EIP, or `default` if it opened none."""
        before, now = self._sets[address.version == 6]
        count, had = now.get(address), before.get(address)
        if count is None or had is None or count.packets <= had.packets:
            return default
        return (count.packets - had.packets) / self._span_s

    def __getitem__(self, address: Address) -> float:
        found = self.get(address)
        if found is None:
            raise KeyError(address)
        return float(found)

    def __iter__(self) -> Iterator[Address]:
        return (address for _, now in self._sets for address in now if self.get(address) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Opened:
    """Told how many connections the POP has opened, says whether to read them, and takes the readings."""

    def __init__(self) -> None:
        self._most_per_s = 0.0
        self._before: Counters | None = None
        self._left: list[Counters] = []

    def note(self, per_s: float | None) -> None:
        """Take in the POP's rate."""
        self._most_per_s = max(self._most_per_s, per_s or 0.0)

    def matter(self, config: DetectConfig) -> bool:
        """Return whether there were enough since this was asked last; if not, the next reading only begins."""
        most_per_s, self._most_per_s = self._most_per_s, 0.0
        if most_per_s < least(config):
            self._leave(self._before)
            self._before = None
            return False
        return True

    def rates(self, counters: Counters) -> Mapping[Address, float] | None:
        """Return what each EIP opened a second since the reading before; None at the first one."""
        before, self._before = self._before, counters
        self._leave(before)
        if before is None or counters.at_s <= before.at_s:
            return None
        return OpenedRates(before, counters)

    def take_left(self) -> list[Counters]:
        """Return the readings that are needed no more, once; rates made of them end with them."""
        left, self._left = self._left, []
        return left

    def _leave(self, before: Counters | None) -> None:
        if before is not None:
            self._left.append(before)


def opened_of(counters: Counters, address: Address) -> Count | None:
    """Return what was counted of one EIP; None: nobody counts it."""
    return counters.elements.get(OPENED[address.version == 6], {}).get(address)
