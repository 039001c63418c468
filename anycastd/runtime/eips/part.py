"""The EIPs' part of the daemon: the store, the desk where they are changed, and the meter of their traffic."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path

from anycastd.actuators.dataplane.losses import unforwarded
from anycastd.actuators.dataplane.shaping import Shaper
from anycastd.actuators.nft.connections import ConnectionReader
from anycastd.actuators.nft.table import NftTable
from anycastd.api.ports import Clocks
from anycastd.errors import ActuatorTransient
from anycastd.model.address import Address
from anycastd.model.conntrack import ConntrackStats
from anycastd.model.eip import EipView
from anycastd.model.operator import Carried, Drain
from anycastd.model.status import Alarm
from anycastd.model.topology import Config
from anycastd.resources.standings import Standings
from anycastd.runtime.alarms import Reported
from anycastd.runtime.eips.desk import EipDesk
from anycastd.runtime.eips.stores import store_of
from anycastd.runtime.kept.memory_file import BOOT_ID
from anycastd.runtime.kernel.connection_tracking import ConnectionTracking
from anycastd.runtime.kernel.shaping import Shaping, Sources
from anycastd.runtime.loop.steering import Steering
from anycastd.runtime.traffic.carried import carried_by
from anycastd.runtime.traffic.connection_meter import ConnectionMeter
from anycastd.runtime.traffic.meter import TrafficMeter
from anycastd.telemetry.traffic import TrafficFacts

TICK_S = 5.0
TRAFFIC = "traffic.db"


class Eips:
    """Made with the control loop's steering; `act` lets the loop follow what was changed."""

    def __init__(
        self,
        config: Config,
        steering: Steering,
        nft: NftTable,
        reported: Reported,
        *,
        act: Callable[[], None],
        clocks: Callable[[], Clocks],
    ) -> None:
        self._config, self._steering, self._nft, self._reported = config, steering, nft, reported
        self.store = store_of(config, self._store_trouble)
        self.desk = EipDesk(
            self.store,
            steering,
            config,
            observed=lambda: steering.observed,
            act=act,
            complain=self._store_trouble,
            clocks=clocks,
        )
        steering.is_complete = lambda: self.desk.complete
        steering.is_filled = lambda: self.desk.filled
        standings = Standings(lambda: self.desk.records)
        self.tracking = ConnectionTracking(config.eip, reported)
        self.connections = ConnectionMeter(
            ConnectionReader(), config, lambda address: self.desk.records.get(address), lambda: steering.plane.paths()
        )
        self.meter = TrafficMeter(
            nft.counters,
            lambda: standings,
            Path(config.state_dir) / TRAFFIC,
            config.eip,
            lambda trouble: self._report(Alarm.TRAFFIC_NOT_SAVED, TRAFFIC, trouble or None),
            BOOT_ID.read_text(encoding="ascii").strip(),
            connections=self.connections.of,
        )
        sources = Sources(lambda: steering.plane.shaped, lambda: steering.observed)
        self.shaping = Shaping(config.eip, sources, reported, Shaper())
        steering.on_shaped = self.shaping.look
        self._conntrack: ConntrackStats | None = None

    async def start(self) -> None:
        """Put every EIP into the plane, and make the classes of those that are shaped."""
        await self.desk.start()
        await self.shaping.start()

    def configure(self, config: Config) -> None:
        """Take a new configuration, after the control loop has."""
        self._config = config
        self.meter.set_config(config.eip)
        self.connections.set_config(config)
        self.tracking.configure(config.eip)
        self.desk.configure(config)
        self.shaping.configure(config.eip)

    async def tick(self) -> None:
        """Do what has time, for ever."""
        while True:
            await self.desk.tick()
            await asyncio.sleep(TICK_S)

    async def look_at_connections(self) -> None:
        """Look how full the table of connections is, for ever; whatever the store's disk does."""
        while True:
            await self._look_at_connections()
            await asyncio.sleep(TICK_S)

    async def follow(self) -> None:
        """Take over what others commit to the store, for ever."""
        await self.desk.follow()

    async def measure(self) -> None:
        """Read the counters, for ever."""
        await self.meter.run()

    def traffic_facts(self) -> TrafficFacts:
        """Return what a scrape tells of EIPs."""
        counts = self.connections.counts
        return TrafficFacts(
            self.meter.sample,
            _Views(self._steering, self.desk),
            self._conntrack,
            self.shaping.dropped,
            counts.by_eip if counts else {},
            self.connections.by_path(),
            unforwarded(),
        )

    def carried_by(self, drain: Drain, devices: Mapping[str, float]) -> Carried:
        """Return what a drained thing still carries; `devices` are bits a second by the names of devices."""
        paths = self.connections.by_path() if self.connections.counts is not None else None
        return carried_by(drain, self._config, self.meter.sample, paths, devices)

    async def _look_at_connections(self) -> None:
        try:
            found = await self._nft.conntrack_stats()
        except ActuatorTransient:
            # a kernel without connection tracking has no such table
            return
        before, self._conntrack = self._conntrack, found
        lost = found.dropped - before.dropped if before else 0
        full = found.count * 100 >= found.max * self._config.eip.conntrack_alarm_percent
        detail = f"{found.count} of {found.max} connections are tracked, {lost} new ones lost in {TICK_S:g} s"
        self._report(Alarm.CONNTRACK_FULL, "conntrack", detail if full or lost else None)

    def filter_refused(self, subject: str, detail: str | None) -> None:
        """Let the EIP of a change know that the packet filter refuses it, or (None) no longer does."""
        try:
            address = ip_address(subject.rpartition(" ")[2])
        except ValueError:
            # of the rules, or of an element that belongs to no single EIP
            return
        self.desk.on_refused(address, detail)

    def look_at_refusals(self) -> None:
        """Let go of what was refused when nothing is left to be done: nobody wants it any more."""
        if not self._steering.plane.waiting:
            self._nft.settled()

    def _store_trouble(self, subject: str, detail: str | None) -> None:
        self._report(Alarm.STORE_TROUBLE, subject, detail)

    def _report(self, alarm: Alarm, subject: str, detail: str | None) -> None:
        if detail is None:
            self._reported.clear(alarm, subject)
        else:
            self._reported.raise_(alarm, subject, detail)

    async def close(self) -> None:
        """Wait for the changes under way, write what was metered, and let go of the files."""
        self.connections.close()
        await self.meter.stop()
        await self.desk.close()
        await self.shaping.close()


class _Views(Mapping[Address, EipView]):
    """Each EIP as it is, made when it is asked for: 10,000 at once would hold the loop."""

    def __init__(self, steering: Steering, desk: EipDesk) -> None:
        self._steering, self._addresses = steering, desk.records.addresses()

    def __getitem__(self, address: Address) -> EipView:
        view = self._steering.view(address, self._steering.observed)
        if view is None:
            raise KeyError(address)
        return view

    def __iter__(self) -> Iterator[Address]:
        # one that went meanwhile is passed over
        return (address for address in self._addresses if self._steering.view(address, self._steering.observed))

    def __len__(self) -> int:
        return len(self._addresses)
