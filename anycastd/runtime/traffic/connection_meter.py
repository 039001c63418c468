"""Counts tracked connections now and then, and answers of the last count. Nobody who asks causes a count."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from anycastd.errors import ActuatorTransient
from anycastd.model.address import Address
from anycastd.model.conntrack import ConnectionCounts, PathConnections
from anycastd.model.eip import Eip, Path, Tracking
from anycastd.model.topology import Config
from anycastd.runtime.traffic.letting_go import let_go
from anycastd.traffic.pace import period_s

log = logging.getLogger(__name__)


class Reader(Protocol):
    """Who counts; see `actuators.nft.connections.ConnectionReader`."""

    cost_s: float

    def count(self, is_ours: Callable[[Address], bool], /) -> Awaitable[ConnectionCounts]:
        """Return how many connections there are; ActuatorTransient if that cannot be told now."""
        ...

    def close(self) -> None:
        """End."""
        ...


class ConnectionMeter:
    """`eip_at` gives the EIP at an address, `paths` what the marks stand for now."""

    def __init__(
        self,
        reader: Reader,
        config: Config,
        eip_at: Callable[[Address], Eip | None],
        paths: Callable[[], Mapping[int, Path]],
    ) -> None:
        self._reader, self._config, self._eip_at, self._paths = reader, config, eip_at, paths
        self._known: dict[int, Path] = {}
        self.counts: ConnectionCounts | None = None
        """The last count; None before the first, and when the last one failed."""

    def set_config(self, config: Config) -> None:
        """Take on changed settings."""
        self._config = config

    async def run(self) -> None:
        """Count, never more often than `traffic_interval_s` and with 2 % of one core on average, for ever."""
        loop = asyncio.get_running_loop()
        begun_s, cost_s = loop.time(), 0.0
        while True:
            # first the rest: a start has more urgent things to do
            due_s = begun_s + period_s(self._config.eip.traffic_interval_s, cost_s)
            await asyncio.sleep(due_s - loop.time())
            begun_s = loop.time()
            await self.take_count()
            cost_s = self._reader.cost_s

    async def take_count(self) -> None:
        """Count once."""
        try:
            counts = await self._reader.count(lambda address: self._eip_at(address) is not None)
        except ActuatorTransient as error:
            log.warning("%s", error, extra={"reason": "connections_not_counted"})
            self.counts = None
            return
        now = self._paths()
        # connections outlive the binding that made them: what a mark stood for is known as long as it has some
        named = ((mark, now.get(mark) or self._known.get(mark)) for mark in counts.by_mark)
        self._known = {mark: path for mark, path in named if path is not None}
        addresses = list(self.counts.by_eip) if self.counts is not None else []
        self.counts = counts
        await let_go(addresses)

    def of(self, address: Address) -> int | None:
        """Return how many an EIP has; None for a stateless one, one that is not known, and without a count."""
        eip = self._eip_at(address)
        if self.counts is None or eip is None or eip.tracking is Tracking.STATELESS:
            return None
        return self.counts.by_eip.get(address, 0)

    def by_path(self) -> list[PathConnections]:
        """Return how many each path has that has some, in order; paths that differ in ports alone are one."""
        found: Counter[tuple[str, str, str]] = Counter()
        regions = {region.number: name for name, region in self._config.regions.items()}
        for mark, count in (self.counts.by_mark if self.counts else {}).items():
            if (path := self._known.get(mark)) is not None:
                found[path.region, path.backend.rpartition("/")[2], path.mode.value] += count
            else:
                found[regions.get(mark >> 24, ""), "", ""] += count
        return [PathConnections(*names, count) for names, count in sorted(found.items())]

    def close(self) -> None:
        """Let go of the thread."""
        self._reader.close()
