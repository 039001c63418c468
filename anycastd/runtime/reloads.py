"""Reloads: read and judge, apply; and one that bakes is watched, then kept or taken back (S10, S23)."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Protocol

from anycastd.api.ports import ReloadOutcome
from anycastd.errors import AnycastdError, ConfigError
from anycastd.model.address import NeighborName, Prefix
from anycastd.model.decision import Level
from anycastd.model.topology import Config
from anycastd.policy.bake import Announced, gone, less, words_of
from anycastd.policy.claims import established
from anycastd.policy.desired import level_of
from anycastd.runtime.alarms import Reported
from anycastd.runtime.control import Control
from anycastd.runtime.fleet_desk import FleetDesk
from anycastd.runtime.order_desk import OrderDesk
from anycastd.runtime.reload import reload_config
from anycastd.runtime.reload_report import ReloadReport
from anycastd.runtime.scribe import Scribe
from anycastd.runtime.state import Circumstances
from anycastd.telemetry.logs import log_event
from anycastd.telemetry.metrics import Metrics

log = logging.getLogger("anycastd")

LOOK_EACH_S = 0.5
GONE_FOR_S = 2.0
"""So long a prefix may be given up until the file is taken back."""


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
        self._baking: asyncio.Task[None] | None = None
        self._verdict = asyncio.Event()

    @property
    def is_baking(self) -> bool:
        """Return whether a file is on trial."""
        return self._baking is not None and not self._baking.done()

    async def reload(self, expected_removals: int | None, *, dry_run: bool, bake_s: float) -> ReloadOutcome:
        """Read the file and apply the difference, or refuse it whole; with `bake_s` go back to the old if it harms."""
        async with self._lock:
            outcome = await self._reload(expected_removals, dry_run=dry_run, bake_s=bake_s)
        if not dry_run:
            self._ended(outcome)
        return outcome

    def confirm(self) -> bool:
        """Keep the file that bakes; return whether one did."""
        if not self.is_baking:
            return False
        self._verdict.set()
        return True

    async def _reload(self, expected_removals: int | None, *, dry_run: bool, bake_s: float) -> ReloadOutcome:
        daemon = self._daemon
        if not dry_run and (why := await daemon.orders.holds()):
            held = f"frozen, and a new file could change announcements: {why}; anycastd unfreeze, then reload again"
            return ReloadOutcome(False, problems=(held,))
        if not dry_run and self.is_baking:
            return ReloadOutcome(False, problems=("a file bakes: anycastd reload --confirm, or wait",))
        spared = len(daemon.control.announcer.spared)
        expected = None if expected_removals is None else expected_removals - spared
        new, outcome = await reload_config(daemon.path, daemon.config, expected)
        if new is None or dry_run:
            return outcome
        old, before = daemon.config, announced(daemon.control)
        if bake_s and before is None:
            return ReloadOutcome(False, problems=("it is not known what is announced now, so no file can be tried",))
        if bake_s and daemon.fleet is not None and (why := await daemon.fleet.try_alone(bake_s)):
            return ReloadOutcome(False, problems=(why,))
        try:
            await daemon.apply(new, confirmed=expected_removals is not None)
        except AnycastdError as error:
            place = "" if isinstance(error, ConfigError) else f"{daemon.path}: neighbors: "
            return ReloadOutcome(False, problems=(f"{place}{error}",))
        if bake_s and before is not None:
            self._verdict = asyncio.Event()
            self._baking = asyncio.get_running_loop().create_task(self._bake(old, new, before, bake_s), name="bake")
        return outcome

    async def _bake(self, old: Config, new: Config, before: Announced, bake_s: float) -> None:
        """Watch what is announced; go back as soon as a prefix is given up, or if at the end any is sent less."""
        loop, control = asyncio.get_running_loop(), self._daemon.control
        kept = {prefix: frozenset(spec.neighbors) for prefix, spec in new.prefixes.items()}
        end_s, lost_since_s = loop.time() + bake_s, loop.time()
        log_event(log, "reload_bakes", detail=f"{bake_s:g} s; anycastd reload --confirm keeps it")
        harm = ""
        while not self._verdict.is_set() and loop.time() < end_s and not harm:
            lost = gone(before, control.levels, kept)
            if not lost:
                lost_since_s = loop.time()
            elif loop.time() >= lost_since_s + GONE_FOR_S:
                harm = words_of(lost, "not announced any more")
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EACH_S):
                    await self._verdict.wait()
        if not self._verdict.is_set() and not harm:
            after = announced(control)
            # what cannot be told is no good verdict
            harm = "it is not known what is announced" if after is None else ""
            if after is not None and (worse := less(before, after, kept)):
                harm = words_of(worse, "announced less than before")
        if harm:
            await self._go_back(old, harm)
        else:
            log_event(log, "reload_kept", detail="confirmed" if self._verdict.is_set() else "nothing is announced less")
        if self._daemon.fleet is not None:
            await self._daemon.fleet.tried()

    async def _go_back(self, old: Config, harm: str) -> None:
        daemon = self._daemon
        held = await daemon.orders.holds()
        while held:
            # a freeze keeps announcements as they are, also these
            await asyncio.sleep(LOOK_EACH_S)
            held = await daemon.orders.holds()
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


def announced(control: Control) -> Announced | None:
    """Return what every established upstream is sent now, as ExaBGP says; None while that is not known."""
    observed, config = control.announcer.observed, control.config
    if observed.routes is None:
        return None
    found: dict[Prefix, dict[NeighborName, Level]] = {prefix: {} for prefix in config.prefixes}
    for name in established(observed, config.neighbors):
        neighbor = config.neighbors[name]
        for prefix, route in observed.routes.get(name, {}).items():
            if not neighbor.is_observer and (spec := config.prefixes.get(prefix)) is not None:
                found[prefix][name] = level_of(neighbor, spec, route)
    return found
