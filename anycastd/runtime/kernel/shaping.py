"""Keeps the classes of shaped EIPs on the uplinks; tells where EIPs are not shaped as wanted, and what was dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from anycastd.actuators.dataplane.shaping import Shaper
from anycastd.errors import ActuatorTransient
from anycastd.model.address import Address
from anycastd.model.nft import NftObserved, NftSet
from anycastd.model.shaping import MINORS, Shaped
from anycastd.model.status import Alarm
from anycastd.model.topology import EipConfig
from anycastd.runtime.alarms import Reported

LOOK_AGAIN_S = 10.0
LOOK_SOON_S = 1.0
"""While a class waits for its last packet to leave."""
GAP_S = 0.01
"""EIPs are put many at a time, and link events come in bunches."""
LINGER_S = 300.0


@dataclass(frozen=True, slots=True)
class Sources:
    """Where it is known what is wanted: the EIPs that are shaped, and what the packet filter holds of them."""

    shaped: Callable[[], Mapping[Address, Shaped]]
    observed: Callable[[], NftObserved]


class Shaping:
    """`look` whenever what is wanted may have changed."""

    def __init__(
        self, config: EipConfig, sources: Sources, reported: Reported, shaper: Shaper, *, linger_s: float = LINGER_S
    ) -> None:
        self._uplinks, self._sources, self._reported, self._shaper = config.uplinks, sources, reported, shaper
        self._linger_s = linger_s
        self._asked = asyncio.Event()
        self._dropped: Mapping[Address, int] = {}

    @property
    def dropped(self) -> Mapping[Address, int]:
        """Return the packets that the queues of shaped EIPs dropped, as last read, of all uplinks."""
        return self._dropped

    async def start(self) -> None:
        """Make every class before packets are sent to it."""
        await self._reconcile()

    def configure(self, config: EipConfig) -> None:
        """Take a configuration; it is followed soon."""
        self._uplinks = config.uplinks
        self._asked.set()

    def look(self) -> None:
        """Follow soon what is wanted now."""
        self._asked.set()

    def links_changed(self, names: frozenset[str]) -> None:
        """Take in that something was heard of these devices."""
        if not names.isdisjoint(self._uplinks):
            self._asked.set()

    async def run(self) -> None:
        """Follow what is wanted, and look now and then, for ever."""
        while True:
            try:
                await asyncio.wait_for(self._asked.wait(), LOOK_SOON_S if self._shaper.leaving else LOOK_AGAIN_S)
            except TimeoutError:
                pass
            else:
                await asyncio.sleep(GAP_S)
            self._asked.clear()
            await self._reconcile()

    async def _reconcile(self) -> None:
        shaped = dict(self._sources.shaped())
        wanted = {one.minor: one.out_bps for one in shaped.values()}
        try:
            problems = await self._shaper.reconcile(wanted, self._uplinks, kept=self._kept(), linger_s=self._linger_s)
        except ActuatorTransient as error:
            self._reported.raise_(Alarm.SHAPING_REFUSED, "kernel", f"not read: {error}")
            return
        dropped = self._shaper.dropped
        self._dropped = {address: dropped.get(one.minor, 0) for address, one in shaped.items()}
        standing = {problem.device: problem.detail for problem in problems}
        for alarm, subject in [key for key in self._reported.details if key[0] is Alarm.SHAPING_REFUSED]:
            if subject not in standing:
                self._reported.clear(alarm, subject)
        for subject, detail in standing.items():
            self._reported.raise_(Alarm.SHAPING_REFUSED, subject, detail)

    def _kept(self) -> Collection[int]:
        """Return the classes to which the packet filter sends packets; any, while it was not read."""
        elements = self._sources.observed().elements
        if elements is None:
            return MINORS
        values = (value for name in (NftSet.CLASS4, NftSet.CLASS6) for value in elements.get(name, {}).values())
        return {value for value in values if isinstance(value, int)}

    async def close(self) -> None:
        """Let go of the kernel; every class stays."""
        await self._shaper.close()
