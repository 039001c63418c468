"""Regions of which a check has another verdict, until they are looked at: in a storm of verdicts, many at once.

A look at a region costs more the more backends it has: 5 to 10 ms with a thousand of them (measured), and a thousand
that fail together would each have it. The first is followed at once; the next not before the region has rested.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from anycastd.model.address import RegionName
from anycastd.model.topology import Region

FEW = 50
"""So many backends in all are looked at as often as asked."""
REST_EACH_S = 20e-6
"""For each backend that was looked at: 20 ms for a thousand."""


class Doubted(NamedTuple):
    """What is to be looked at; `seen_s`: when the first of it was seen."""

    regions: frozenset[RegionName]
    seen_s: float


class Doubts:
    """Knows no clock."""

    def __init__(self) -> None:
        self._seen_s: dict[RegionName | None, float] = {}
        self._rests_until_s = 0.0

    def add(self, region: RegionName | None, seen_s: float) -> None:
        """Note that a verdict about a region has changed; None: about our own self-test."""
        self._seen_s.setdefault(region, seen_s)

    def next_s(self) -> float | None:
        """Return when there is something to look at."""
        return self._rests_until_s if self._seen_s else None

    def take(self, regions: Mapping[RegionName, Region], now_s: float) -> Doubted | None:
        """Return what is to be looked at now; None if there is nothing, or not yet."""
        if not self._seen_s or now_s < self._rests_until_s:
            return None
        taken = Doubted(frozenset(name for name in self._seen_s if name is not None), min(self._seen_s.values()))
        size = sum(len(regions[name].backends) for name in taken.regions if name in regions)
        self._rests_until_s = now_s + (size * REST_EACH_S if size > FEW else 0.0)
        self._seen_s.clear()
        return taken
