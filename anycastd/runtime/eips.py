"""The EIPs' part of the daemon: the store, the desk where they are changed, and what keeps both up to date."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

from anycastd.api.ports import Clocks
from anycastd.model.status import Alarm
from anycastd.model.topology import Config
from anycastd.runtime.alarms import Reported
from anycastd.runtime.eip_desk import EipDesk
from anycastd.runtime.steering import Steering
from anycastd.store.sqlite import SqliteStore

TICK_S = 5.0
FILE = "anycastd.db"


class Eips:
    """Made with the control loop's steering; `act` lets the loop follow what was changed."""

    def __init__(
        self,
        config: Config,
        steering: Steering,
        reported: Reported,
        *,
        act: Callable[[], None],
        clocks: Callable[[], Clocks],
    ) -> None:
        self._reported = reported
        self.desk = EipDesk(
            SqliteStore(Path(config.state_dir) / FILE),
            steering,
            config,
            observed=lambda: steering.observed,
            act=act,
            complain=self._complain,
            clocks=clocks,
        )
        steering.is_complete = lambda: self.desk.complete

    async def start(self) -> None:
        """Put every EIP into the plane."""
        await self.desk.start()

    async def tick(self) -> None:
        """Do what has time, for ever."""
        while True:
            await self.desk.tick()
            await asyncio.sleep(TICK_S)

    async def follow(self) -> None:
        """Take over what others commit to the store, for ever."""
        await self.desk.follow()

    def filter_refused(self, subject: str, detail: str | None) -> None:
        """Take in that the packet filter refuses a change, or (None) no longer does."""
        if detail is None:
            self._reported.clear(Alarm.FILTER_REFUSED, subject)
        else:
            self._reported.raise_(Alarm.FILTER_REFUSED, subject, detail)
        try:
            address = ip_address(subject.rpartition(" ")[2])
        except ValueError:
            # of the rules, or of an element that belongs to no single EIP
            return
        self.desk.on_refused(address, detail)

    def _complain(self, subject: str, detail: str | None) -> None:
        if detail is None:
            self._reported.clear(Alarm.STORE_TROUBLE, subject)
        else:
            self._reported.raise_(Alarm.STORE_TROUBLE, subject, detail)

    async def close(self) -> None:
        """Wait for the changes under way and let go of the store."""
        await self.desk.close()
