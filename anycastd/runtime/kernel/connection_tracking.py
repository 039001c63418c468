"""Keeps the size of the kernel's table of connections as configured; tells where that cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from anycastd.actuators.dataplane.conntrack_sysctls import settle
from anycastd.model.conntrack import ConntrackWanted
from anycastd.model.status import Alarm
from anycastd.model.topology import EipConfig
from anycastd.runtime.alarms import Reported

LOOK_AGAIN_S = 10.0


class ConnectionTracking:
    """`settle` makes it as wanted and returns what is not, by subject; it blocks, and runs in a thread."""

    def __init__(
        self,
        config: EipConfig,
        reported: Reported,
        settle: Callable[[ConntrackWanted], Mapping[str, str]] = settle,
    ) -> None:
        self._config, self._reported, self._settle = config, reported, settle
        self._asked = asyncio.Event()

    def configure(self, config: EipConfig) -> None:
        """Take on changed settings; they are followed at once."""
        self._config = config
        self._asked.set()

    async def run(self) -> None:
        """Look now and then, for ever."""
        while True:
            self._asked.clear()
            await self.look()
            try:
                await asyncio.wait_for(self._asked.wait(), LOOK_AGAIN_S)
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Make it as configured, once."""
        wanted = ConntrackWanted(self._config.conntrack_max, self._config.conntrack_liberal)
        problems = await asyncio.to_thread(self._settle, wanted)
        for alarm, subject in list(self._reported.details):
            if alarm is Alarm.CONNTRACK_SIZE and subject not in problems:
                self._reported.clear(alarm, subject)
        for subject, detail in problems.items():
            self._reported.raise_(Alarm.CONNTRACK_SIZE, subject, detail)
