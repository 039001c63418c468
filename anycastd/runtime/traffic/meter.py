"""Reads the counters, feeds the meter, has its points written, and answers of them. The disk never stops the meter.

The meter works on the loop in bites of less than a millisecond; the file is read and written in a thread of its own.
A file that cannot be opened is tried again at each reading, and nothing is written before what it holds was read:
meanwhile totals and rates are those of this run, and once it opens the meter goes on from what was saved.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from anycastd.actuators.nft.bites import rest
from anycastd.api.ports import Shown
from anycastd.errors import ActuatorTransient
from anycastd.model.address import Address
from anycastd.model.nft import Count, Counters
from anycastd.model.topology import EipConfig
from anycastd.model.traffic import Batch, EipStanding, EipTraffic, Rates, Sample, Saved, Totals
from anycastd.runtime.traffic.letting_go import let_go, let_go_of
from anycastd.store.traffic import History, TrafficFile, TrafficNotSaved
from anycastd.traffic.backlog import bounded
from anycastd.traffic.meter import Meter
from anycastd.traffic.views import RECENT_S, span_s, traffic_of, traffic_overview

OPEN_WITHIN_S = 2.0
"""How long a reading waits for the file that it opens; one that takes longer is looked at again by the next."""
STOP_WITHIN_S = 3.0
FINISHED_AT_ONCE = 1
"""EIPs whose last month is put on record after a reading, 100 ms each: 10,000 are done in 14 hours."""
KEPT_READINGS = 3
"""Who looks at rates has this reading and the one before, or is about to take this one."""
MIN_SPAN_S = 60.0

T = TypeVar("T")
log = logging.getLogger(__name__)


class TrafficMeter:
    """The meter of a POP.

    `read` gives one reading of the counters, ours to take apart (ActuatorTransient: passed over), `eips` what is
    allocated now, `troubled` is told what is wrong with the file, and "" when it is well again. `boot` is the kernel's
    boot id.
    `connections` says how many connections an EIP has, None when nobody counted them.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[Counters]],
        eips: Callable[[], Mapping[Address, EipStanding]],
        path: Path,
        config: EipConfig,
        troubled: Callable[[str], None],
        boot: str,
        wall: Callable[[], float] = time.time,
        connections: Callable[[Address], int | None] = lambda _: None,
    ) -> None:
        self._connections = connections
        self._read, self._eips, self._troubled, self._boot, self._wall = read, eips, troubled, boot, wall
        self._trouble = ""
        self._config = config
        self._file = TrafficFile(path, history_s=config.history_s)
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="traffic")
        self._meter = Meter(boot)
        self.sample: Sample | None = None
        """The last reading made sense of."""
        self.cost_s = 0.0
        """The processor time of the daemon while it was taken."""
        self.filtered: Callable[[Address], Count] = lambda _: Count()
        """Says what blackholes and flow rules of the EIP dropped since the daemon started."""
        self.on_sample: Callable[[Sample], None] = lambda _: None
        self._asked = asyncio.Event()
        self._opening: asyncio.Future[Saved | None] | None = None
        self._opened = False
        self._writing: asyncio.Task[None] | None = None
        self._waiting: Batch | None = None
        self._months_done = False
        self._kept: deque[list[EipTraffic]] = deque()
        """So that who drops an old sample last does not free what it says of 10,000 EIPs at once: that takes 4 ms."""

    def set_config(self, config: EipConfig) -> None:
        """Take on changed settings."""
        self._config = config
        self._file.history_s = config.history_s

    def _on_disk(self, act: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._disk, act, *arguments)

    async def run(self) -> None:
        """Read every `traffic_interval_s`, and when asked to, for ever."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            before_s = time.process_time()
            await self.take_reading()
            self.cost_s = time.process_time() - before_s
            # readings that were missed are not made up for: the next one covers their time
            due_s = max(due_s + self._config.traffic_interval_s, loop.time())
            try:
                await asyncio.wait_for(self._asked.wait(), due_s - loop.time())
            except TimeoutError:
                continue
            self._asked.clear()
            due_s = loop.time()

    def read_soon(self) -> None:
        """Take the next reading now, or when the one under way has ended."""
        self._asked.set()

    async def take_reading(self) -> None:
        """Take one reading and start to write what it brought."""
        await self._open()
        try:
            counters = await self._read()
        except ActuatorTransient as error:
            log.warning("counters not read: %s", error, extra={"reason": "counters_not_read"})
            return
        for _ in self._meter.steps(counters, self._eips(), self._wall()):
            await rest()
        self.sample = self._meter.sample
        if self.sample is not None:
            self._kept.append(list(self.sample.eips.values()))
            self.on_sample(self.sample)
        await self._keep(self._meter.take_batch())
        await let_go_of(counters)
        while len(self._kept) > KEPT_READINGS:
            await let_go(self._kept.popleft())

    async def _open(self) -> None:
        if self._opened:
            return
        if self._opening is None:
            self._opening = self._on_disk(self._file.open)
            await asyncio.wait({self._opening}, timeout=OPEN_WITHIN_S)
        if not self._opening.done():
            return
        opening, self._opening = self._opening, None
        try:
            saved = opening.result()
        except TrafficNotSaved as error:
            self._tell(str(error))
            return
        self._opened = True
        self._tell("")
        if saved is not None:
            self._meter, self._waiting = Meter(self._boot, saved), None
        else:
            self._meter.keep_all()

    def _tell(self, trouble: str) -> None:
        # at each reading the same trouble is told again; one line of it is enough
        if trouble and trouble != self._trouble:
            log.warning("traffic not saved: %s", trouble, extra={"reason": "traffic_not_saved"})
        self._trouble = trouble
        self._troubled(trouble)

    async def _keep(self, batch: Batch | None) -> None:
        """Start to write if the file is open and nothing is being written; else let it wait with what waits."""
        if batch is not None:
            # in a thread: with 10,000 EIPs joining takes milliseconds
            self._waiting = await asyncio.to_thread(bounded, self._waiting, batch)
        if not self._opened or (self._writing is not None and not self._writing.done()):
            return
        waiting, self._waiting = self._waiting, None
        if waiting is not None or not self._months_done:
            self._writing = asyncio.create_task(self._write(waiting), name="traffic-write")

    async def _write(self, batch: Batch | None) -> None:
        try:
            if batch is not None:
                await self._on_disk(self._file.write, batch)
                self._tell("")
            self._months_done = await self._on_disk(self._file.finish_months, self._wall(), FINISHED_AT_ONCE)
        except TrafficNotSaved as error:
            self._tell(str(error))
            # one that was moved away is closed; the next reading begins another
            self._opened = self._file.is_open

    async def traffic(self, address: Address, within_s: float) -> dict[str, Any]:
        """Return `/v1/eips/{id}/traffic`; KeyError for an address that is not allocated, ValueError for a bad span."""
        if not MIN_SPAN_S <= within_s <= self._config.history_s:
            message = f"span must be from {MIN_SPAN_S:g} s to {self._config.history_s:.0f} s (eip.history)"
            raise ValueError(message)
        now_s, standing = self._wall(), self._eips()[address]
        traffic = self.sample.eips.get(address) if self.sample else None
        if traffic is None or traffic.standing.id != standing.id:
            # allocated since the last reading
            fresh = EipTraffic(standing, 0, now_s, Totals(), Rates())
            return traffic_of(
                address, fresh, within_s, connections=self._connections(address), filtered=self.filtered(address)
            )
        history, missing = History(), ""
        try:
            history = await self._on_disk(self._file.history, traffic.number, traffic.since_unix_s, within_s, now_s)
        except TrafficNotSaved as error:
            missing = str(error)
        frames = self._meter.frames(traffic.number, now_s - within_s) if within_s <= RECENT_S else ()
        # thousands of points: 10 ms of the loop
        return await asyncio.to_thread(
            traffic_of, address, traffic, within_s, points=history.points, times=history.times, frames=frames,
            months=history.months, connections=self._connections(address), filtered=self.filtered(address),
            missing=missing,
        )  # fmt: skip

    async def asked(self, shown: Shown, query: Mapping[str, str]) -> dict[str, Any]:
        """Return `/v1/eips/{id}/traffic` for a request's parameters; ValueError says which of them is wrong."""
        return await self.traffic(shown.view.eip.address, span_s(query.get("span", "1h")))

    def overview(self) -> dict[str, Any]:
        """Return the POP's traffic."""
        return traffic_overview(self.sample)

    async def stop(self) -> None:
        """Write what is not written yet, as far as it takes no longer than STOP_WITHIN_S, and close the file."""
        if self._writing is not None:
            await asyncio.wait({self._writing}, timeout=STOP_WITHIN_S)
        last = self._meter.last_batch() if self._opened else None
        if last is not None:
            batch = bounded(self._waiting, last)
            written = asyncio.ensure_future(self._write(batch))
            await asyncio.wait({written}, timeout=STOP_WITHIN_S)
        self._disk.submit(self._file.close)
        self._disk.shutdown(wait=False)
