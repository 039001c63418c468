"""What this POP is sent, carried or dropped, from two readings of its counters. Bits per second of L3."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from anycastd.model.address import Prefix
from anycastd.model.traffic import EipTraffic, Sample, Totals
from anycastd.runtime.followed.effects import BITE, by_size, within

DROPPED = ("limit_in_bytes", "unbound_bytes", "no_path_bytes")
_DROPPED = tuple(Totals._fields.index(name) for name in DROPPED)


class LoadMeter:
    """Follows the meter's samples; what was dropped is told by the difference of two."""

    def __init__(self) -> None:
        self._now: Sample | None = None
        self._before: Sample | None = None

    def take(self, sample: Sample | None) -> bool:
        """Take the newest sample; return whether it is another one."""
        if sample is None or sample is self._now:
            return False
        self._before, self._now = self._now, sample
        return True

    def pop_bps(self) -> float | None:
        """Return what this POP is sent, or sends if that is more; None = not measured yet."""
        now = self._now
        if now is None or not now.interval_s:
            return None
        return max(
            now.pop_rates.in_bps + self._dropped_bps(now.pop, self._before.pop if self._before else None), _out(now)
        )

    def _dropped_bps(self, now: tuple[int, ...], before: tuple[int, ...] | None) -> float:
        if self._now is None or self._before is None or before is None:
            return 0.0
        seconds = self._now.at_s - self._before.at_s
        grown = sum(max(now[index] - before[index], 0) for index in _DROPPED)
        return grown * 8 / seconds if seconds > 0 else 0.0

    async def prefix_bps(self, prefixes: Collection[Prefix]) -> Mapping[Prefix, float]:
        """Return what is sent to the EIPs of each prefix; empty if nothing was measured yet."""
        now, before = self._now, self._before
        if now is None or not now.interval_s or not prefixes:
            return {}
        found, networks = dict.fromkeys(prefixes, 0.0), by_size(prefixes)
        for number, (address, traffic) in enumerate(zip(list(now.eips), list(now.eips.values()), strict=True)):
            if number % BITE == BITE - 1:
                await asyncio.sleep(0)
            if (prefix := within(address, networks)) is not None:
                was = None if before is None else before.eips.get(address)
                found[prefix] += traffic.rates.in_bps + self._dropped_bps(traffic.counts, _counts(was))
        return found


def _counts(traffic: EipTraffic | None) -> tuple[int, ...] | None:
    return None if traffic is None else traffic.counts


def _out(sample: Sample) -> float:
    return sample.pop_rates.out_bps
