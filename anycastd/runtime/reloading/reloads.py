"""Reloads: read and judge, apply; and one that bakes is watched, then kept or taken back (S10, S23)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeVar

from anycastd.actuators.disk import Disk
from anycastd.actuators.lasting import cancelled
from anycastd.api.ports import ReloadOutcome
from anycastd.errors import ActuatorTransient, AnycastdError, ConfigError
from anycastd.model.status import Alarm
from anycastd.model.topology import Config
from anycastd.runtime.alarms import Reported
from anycastd.runtime.control import Control
from anycastd.runtime.fleet.desk import FleetDesk
from anycastd.runtime.journal.scribe import Scribe
from anycastd.runtime.orders.desk import OrderDesk
from anycastd.runtime.reloading.reload import reload_config
from anycastd.runtime.reloading.report import ReloadReport
from anycastd.runtime.reloading.trial import Trial, announced
from anycastd.runtime.state import Circumstances
from anycastd.telemetry.logs import log_event
from anycastd.telemetry.metrics import Metrics

log = logging.getLogger("anycastd")

T = TypeVar("T")
LOOK_EACH_S = 0.5
APPLIED_WITHIN_S = 25.0
"""So long the end of the daemon waits for a reload under way: one that ExaBGP does not take ends with its restart."""
TOLD_WITHIN_S = 2.0
ENDING = "the daemon ends: the next one reads the file when it starts"
UNJUDGED = "the daemon ends before its time is over: the file stays, and the next daemon reads it as it is"


class Daemon(Protocol):
    """The daemon, as far as reloads go."""

    path: str
    config: Config
    control: Control
    orders: OrderDesk
    reported: Reported
    metrics: Metrics
    circumstances: Circumstances
    scribe: Scribe
    fleet: FleetDesk | None

    async def apply(self, new: Config, *, confirmed: bool) -> None:
        """Put a configuration in the place of the one in force; AnycastdError: nothing was done."""
        ...


class Reloads:
    """One for each daemon; one reload at a time, and one that bakes."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._lock = asyncio.Lock()
        self.disk = Disk("reload")
        """Where files of the configuration are read."""
        self._baking: asyncio.Task[None] | None = None
        self._verdict = asyncio.Event()
        self._goes_back = self._ends = self._tries = False

    @property
    def on_trial(self) -> bool:
        """Return whether the configuration in force may yet be taken back, also while it is being put in place."""
        return self._tries or self.is_baking

    @property
    def is_baking(self) -> bool:
        """Return whether a file is on trial."""
        return self._baking is not None and not self._baking.done()

    async def reload(self, expected_removals: int | None, *, dry_run: bool, bake_s: float) -> ReloadOutcome:
        """Read the file and apply the difference, or refuse it whole; with `bake_s` go back to the old if it harms."""
        async with self._lock:
            try:
                outcome = await self._reload(expected_removals, dry_run=dry_run, bake_s=bake_s)
            finally:
                self._tries = False
        if not dry_run:
            self._ended(outcome)
        return outcome

    async def read(self, look: Callable[[], T]) -> T:
        """Return what is read of the disk for a new configuration; ActuatorTransient if the disk does not answer."""
        try:
            return await self.disk.run(look)
        except TimeoutError as error:
            message = f"{self._daemon.path}: a file that it names cannot be read: {error}"
            raise ActuatorTransient(message) from error

    async def in_time(self, look: Callable[[], None]) -> None:
        """Have it done; if the disk does not answer it is done later, and nothing waits for it."""
        with suppress(TimeoutError):
            await self.disk.run(look)

    def confirm(self) -> bool:
        """Keep the file that bakes; return whether one did, and can be kept: one that is being taken back cannot."""
        if not self.is_baking or self._goes_back:
            return False
        self._verdict.set()
        return True

    async def stop(self) -> None:
        """Take no file any more: what is being applied is seen out, a trial ends without a verdict.

        A trial that went on could take its file back, or restart ExaBGP, while another daemon drives it.
        """
        self._ends = True
        with suppress(TimeoutError):
            async with asyncio.timeout(APPLIED_WITHIN_S), self._lock:
                pass
        self.disk.close()
        if (baking := self._baking) is None or baking.done():
            return
        await cancelled(baking)
        if not self._goes_back:
            log_event(log, "reload_unjudged", level=logging.WARNING, detail=UNJUDGED)
            self._daemon.scribe.reload(self._daemon.config.digest, applied=True, detail=UNJUDGED)
        if self._daemon.fleet is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(TOLD_WITHIN_S):
                    await self._daemon.fleet.tried()

    async def _reload(self, expected_removals: int | None, *, dry_run: bool, bake_s: float) -> ReloadOutcome:
        daemon = self._daemon
        if self._ends:
            return ReloadOutcome(False, problems=(ENDING,))
        if not dry_run and (why := await daemon.orders.holds()):
            held = f"frozen, and a new file could change announcements: {why}; anycastd unfreeze, then reload again"
            return ReloadOutcome(False, problems=(held,))
        if not dry_run and self.is_baking:
            return ReloadOutcome(False, problems=("a file bakes: anycastd reload --confirm, or wait",))
        spared = len(daemon.control.announcer.spared)
        expected = None if expected_removals is None else expected_removals - spared
        new, outcome = await reload_config(daemon.path, daemon.config, expected, self.disk)
        if new is None or dry_run:
            return outcome
        old, before = daemon.config, announced(daemon.control)
        if bake_s and before is None:
            return ReloadOutcome(False, problems=("it is not known what is announced now, so no file can be tried",))
        if bake_s and daemon.fleet is not None and (why := await daemon.fleet.try_alone(bake_s)):
            return ReloadOutcome(False, problems=(why,))
        self._tries = bool(bake_s)
        try:
            await daemon.apply(new, confirmed=expected_removals is not None)
            # of what is gone nothing would ever be accepted; what is still refused is told again within seconds
            daemon.reported.clear(Alarm.COMMAND_REFUSED)
        except AnycastdError as error:
            place = "" if isinstance(error, ConfigError) else f"{daemon.path}: neighbors: "
            return ReloadOutcome(False, problems=(f"{place}{error}",))
        if bake_s and before is not None:
            self._verdict, self._goes_back, loop = asyncio.Event(), False, asyncio.get_running_loop()
            trial = Trial(daemon.control, new, before, loop.time())
            self._baking = loop.create_task(self._bake(old, trial, bake_s), name="bake")
        return outcome

    async def _bake(self, old: Config, trial: Trial, bake_s: float) -> None:
        """Watch what is announced; go back as soon as a prefix is given up, or if at the end any is sent less."""
        loop = asyncio.get_running_loop()
        end_s, harm = loop.time() + bake_s, ""
        log_event(log, "reload_bakes", detail=f"{bake_s:g} s; anycastd reload --confirm keeps it")
        while not self._verdict.is_set() and loop.time() < end_s and not harm:
            harm = await trial.harm(loop.time())
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EACH_S):
                    await self._verdict.wait()
        if not self._verdict.is_set() and not harm:
            harm = await trial.verdict(loop.time())
        if harm and not await self._is_kept_meanwhile():
            await self._go_back(old, harm)
        else:
            log_event(log, "reload_kept", detail="confirmed" if self._verdict.is_set() else "nothing is announced less")
        if self._daemon.fleet is not None:
            await self._daemon.fleet.tried()

    async def _is_kept_meanwhile(self) -> bool:
        """Wait while announcements are frozen, also these; return whether the file was confirmed until then."""
        held = await self._daemon.orders.holds()
        while held and not self._verdict.is_set():
            await asyncio.sleep(LOOK_EACH_S)
            held = await self._daemon.orders.holds()
        self._goes_back = not self._verdict.is_set()
        return not self._goes_back

    async def _go_back(self, old: Config, harm: str) -> None:
        daemon = self._daemon
        async with self._lock:
            try:
                await daemon.apply(old, confirmed=True)
            except AnycastdError as error:
                why = f"it does harm ({harm}), and the one before cannot be applied: {error}"
            else:
                why = f"taken back: {harm}. The one before is in force; a restart would read the file as it is"
        self._ended(ReloadOutcome(False, problems=(f"{daemon.path}: {why}",)))

    def _ended(self, outcome: ReloadOutcome) -> None:
        daemon = self._daemon
        report = ReloadReport(daemon.path, daemon.circumstances, daemon.reported, daemon.scribe, daemon.metrics)
        report.ended(outcome, daemon.config.digest, dry_run=False)
