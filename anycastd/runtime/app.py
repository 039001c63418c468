"""The composition root: makes the real probes, ExaBGP, kernel and API, and lets the control loop drive them."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from enum import Enum
from functools import partial
from importlib import import_module
from pathlib import Path

from anycastd import __version__
from anycastd.actuators.dataplane.netlink import Kernel
from anycastd.actuators.exabgp.speaker import Speaker
from anycastd.actuators.nft.table import NftTable
from anycastd.api.door.tokens import Door
from anycastd.api.ports import Clocks, ReloadOutcome
from anycastd.attack.filtered import with_filtered
from anycastd.errors import AnycastdError
from anycastd.hollow import hollow
from anycastd.model.address import Prefix
from anycastd.model.bgp import DeadManStage
from anycastd.model.probe import ProbeResult
from anycastd.model.status import Alarm, PrefixView, Status
from anycastd.model.topology import Config
from anycastd.policy.desired import nft_settings
from anycastd.reconcile.bgp import Key
from anycastd.runtime.alarms import Alarms, Reported
from anycastd.runtime.attack.start import watch_of
from anycastd.runtime.attack.watch import AttackWatch
from anycastd.runtime.bgp.dead_man import stages
from anycastd.runtime.bgp.export_gate import ExportGate
from anycastd.runtime.bgp.speaker_events import SpeakerEvents
from anycastd.runtime.control import Control
from anycastd.runtime.eips.part import Eips
from anycastd.runtime.fleet.start import fleet_of, linked
from anycastd.runtime.followed.effects import Effects
from anycastd.runtime.journal.follow import Followed
from anycastd.runtime.journal.journal import JOURNAL, Journal
from anycastd.runtime.journal.recorder import Recorder
from anycastd.runtime.journal.scribe import Scribe
from anycastd.runtime.kept.memories import Memories
from anycastd.runtime.kernel.tunnel_devices import TunnelDevices
from anycastd.runtime.loop.schedule import Soon, Wake
from anycastd.runtime.loop.touched import Touched
from anycastd.runtime.orders.desk import OrderDesk
from anycastd.runtime.orders.filter_desk import FilterDesk
from anycastd.runtime.orders.leaving import leave, longest_gshut_s
from anycastd.runtime.probing import probe_engine, probing_facts
from anycastd.runtime.process.closing import closed
from anycastd.runtime.process.garbage import Garbage
from anycastd.runtime.process.lag import LagMeter
from anycastd.runtime.process.notify import Notify
from anycastd.runtime.process.supervise import Supervisor
from anycastd.runtime.process.unit import Unit
from anycastd.runtime.reloading.reloads import Reloads
from anycastd.runtime.spread.desk import spread_of
from anycastd.runtime.state import Circumstances, build, views
from anycastd.telemetry.logs import log_event, set_up
from anycastd.telemetry.metrics import Metrics

log = logging.getLogger("anycastd")

ALARMS_EACH_S = 1.0
VIEWS_AT_ONCE = 100
"""Made in 1 ms."""
GIL_S = 0.0005
"""How long the event loop waits for a thread that is busy with Python: the default of 5 ms is paid at each system
call, so a failover that met the saving of 8,000 memories took 20 ms longer (measured)."""


class End(Enum):
    """How the daemon was told to end."""

    LEAVE = "leave"
    HAND_OVER = "hand over"


class App:
    """One running daemon."""

    def __init__(self, path: str, config: Config) -> None:
        self.path, self.config, self.door = path, config, Door(config.api, path)
        self.loop = asyncio.get_running_loop()
        now_s = self.loop.time()
        self.reported, self.alarms = Reported(), Alarms()
        self.metrics = Metrics()
        set_up(config.logging, suppressed=self.metrics.log_suppressed)
        self.followed = Followed(self.metrics.failover)
        trouble = partial(self.reported.tell, Alarm.JOURNAL_TROUBLE)
        self.journal = Journal(Path(config.state_dir) / JOURNAL, config.journal, trouble)
        self.scribe = Scribe(self.journal)
        self.metrics.watch_journal(self.journal.facts)
        self.recorder = Recorder(self.metrics, self.followed, self.scribe)
        self.circumstances = Circumstances(__version__, now_s, now_s)
        self.supervisor = Supervisor(self._stage_failed, self._stage_recovered)
        self.loop.set_exception_handler(self.supervisor.loop_failed)
        self.memories = Memories(config.state_dir, self.reported)
        self.filters = FilterDesk(config, self.reported, self._clocks)
        self.orders = OrderDesk(config, self.reported, self._clocks)
        self.events = SpeakerEvents(self.metrics, self.followed, self.reported, self._refused, self.scribe)
        self.beacons = linked(config, self.reported, self.loop, lambda: self._bgp_changed(frozenset()))
        self.events.on_session = self.beacons.session
        self.kernel = Kernel(
            config.kernel,
            on_change=lambda: self._soon.ask(),
            on_links=self._links_changed,
            on_refused=partial(self.reported.tell, Alarm.KERNEL_REFUSED),
            on_events=self.reported.of_kernel_events,
        )
        self.devices = TunnelDevices(config, self.reported, self._clamp_anew)
        self.speaker = Speaker(
            config.bgp, config.pop, config.neighbors, on_change=self._bgp_changed, on_event=self.events.take
        )
        self.exports = ExportGate(config, self.reported, self.metrics.export_refused)
        self.speaker.may_leave, self.events.on_exited = self.exports.may_leave, self.exports.begin_anew
        self.engine = probe_engine(config, self.loop, self._result, lambda: self.kernel.observed.links, self.reported)
        self.speaker.on_update = self.beacons.hear
        self.lag, self._garbage = LagMeter(self.loop), Garbage(now_s)
        self._soon = Soon(self.loop, self._follow)
        self._wake = Wake(self.loop, self._fell_due)
        self._ending = self.loop.create_future()
        self.reloads = Reloads(self)
        self.orders.on_trial = self.filters.on_trial = lambda: self.reloads.on_trial
        self._stages: tuple[DeadManStage, ...] = ()
        self._started = self._reload_asked = False
        self._touched = Touched()
        self.unit = Unit(Notify.of(os.environ, os.getpid()), self.loop.time, self._tick_s)
        self.control: Control
        self.nft: NftTable
        self.eips: Eips
        self.attack: AttackWatch

    async def run(self) -> End:
        """Run until told to end; what is in the kernel and in ExaBGP is taken over, not begun anew."""
        self._take_signals()
        self._alive = self.loop.create_task(self.unit.run(), name="unit")
        await self.devices.start()
        await self.kernel.start()
        self.nft = NftTable(
            nft_settings(self.config, self.devices.mtus, self.filters.local),
            on_change=self._filter_changed,
            on_refused=self._filter_refused,
        )
        await self.nft.start()
        self.control = Control(
            self.config,
            self.memories.loaded,
            probes=self.engine,
            bgp=self.speaker,
            kernel=self.kernel,
            nft=self.nft,
            record=self.recorder,
            wake=self._wake.at,
            now_s=self.loop.time(),
        )
        self.beacons.begin(self.control)
        steering = self.control.forwarder.steering
        self.eips = Eips(self.config, steering, self.nft, self.reported, act=self._act, clocks=self._clocks)
        self.attack = watch_of(self.control, self.nft, self.eips, self.reported, self.scribe, self.loop.time)
        told = (self.circumstances, self.reported, self.alarms.count, self._clocks)
        self.fleet = fleet_of(self.control, self.eips, self.beacons, *told)
        if self.fleet is not None:
            self.orders.ask_fleet, self.orders.may_leave = self.fleet.ask, self.fleet.may_leave
            self.orders.loads_bps = self.fleet.loads_bps
        self.orders.begin(self.control, self.eips.carried_by)
        self.control.attacks.ask(lambda: self.eips.meter.sample, lambda: self.orders.loads_bps())
        told_of = (self.reported, self.scribe, self._clocks, self.beacons)
        self.spread = spread_of(self.control, self.eips, self.fleet, *told_of)
        self.metrics.watch_spread(self.spread.facts)
        self.spread.view, self.speaker.is_held = lambda: self.attack.view, lambda: bool(self.control.orders.hold)
        self.eips.desk.frozen = lambda: self.orders.orders.eips_hold
        self.metrics.watch_traffic(self.eips.traffic_facts)
        self._begin_filters()
        self._begin_journal()
        await self.eips.start()
        self._started = True
        self._set_dead_man()
        self.control.step(self.loop.time())
        await self.speaker.start()
        self._start_stages()
        self._garbage.started()
        sys.setswitchinterval(GIL_S)
        log_event(log, "started", version=__version__, pop=self.config.pop.name, config=self.config.digest)
        if self._reload_asked:
            self._reload_soon()
        end: End = await self._ending
        if end is End.LEAVE and (held := await self.orders.holds()):
            # to leave would withdraw everything; ExaBGP goes on with what it was told
            log_event(log, "leaving_frozen", level=logging.WARNING, detail=held)
            end = End.HAND_OVER
        await self._end_as(end)
        return end

    async def _end_as(self, end: End) -> None:
        log_event(log, "ending", how=end.value)
        self.unit.stopping(end.value, longest_gshut_s(self.config))
        await self.reloads.stop()
        self.scribe.stop(self.config.pop.name, end.value)
        if end is End.LEAVE and not await leave(self.control, self.speaker):
            end = End.HAND_OVER
        await self.supervisor.stop()
        self.engine.close(leave=end is End.LEAVE)
        try:
            self.filters.stop()
            if end is End.HAND_OVER:
                await self.speaker.hand_over()
            else:
                await self.speaker.stop(withdraw=True)
        finally:
            await self._close()

    def _start_stages(self) -> None:
        self.effects = Effects(
            self.control, lambda: self.eips.meter.sample, self.reported, self.metrics.effect, self.loop.time
        )
        self.recorder.on_decided = self.effects.note
        self.orders.on_refused = self.metrics.order_refused
        self.supervisor.start("api", self._serve)
        self.supervisor.start("tick", self._tick)
        self.supervisor.start("watch", self._watch)
        self.supervisor.start("memories", partial(self.memories.run, lambda: self.control.memories, self._alarms_s))
        self.supervisor.start("lag", self.lag.run)
        self.supervisor.start("orders", self.orders.run)
        self.supervisor.start("eips", self.eips.tick)
        self.supervisor.start("connection table", self.eips.look_at_connections)
        self.supervisor.start("store", self.eips.follow)
        for name, stage in self.fleet.stages.items() if self.fleet is not None else ():
            self.supervisor.start(name, stage)
        self.supervisor.start("traffic", self.eips.measure)
        self.supervisor.start("attack", self.attack.run)
        self.supervisor.start("connections", self.eips.connections.run)
        self.supervisor.start("conntrack", self.eips.tracking.run)
        self.supervisor.start("devices", self.devices.run)
        self.supervisor.start("shaping", self.eips.shaping.run)
        self.supervisor.start("effects", self.effects.run)
        self.supervisor.start("spread", self.spread.run)
        self.supervisor.start("filters", self.filters.run)
        self.supervisor.start("filter counters", partial(self.filters.count, self.nft.filter_counters))

    def _begin_filters(self) -> None:
        self.filters.attack = lambda: self.attack.view
        self.eips.meter.on_sample = lambda one: self.attack.take(with_filtered(one, self.filters.filtered))
        self.eips.meter.filtered = self.filters.filtered_of
        self.filters.on_note, self.filters.on_refused = self.scribe.filtered, self.metrics.order_refused
        self.metrics.watch_filters(self.filters.facts)
        hold, on_local, on_ends = lambda: self.orders.orders.hold, self._clamp_anew, self._set_dead_man
        self.filters.begin(self.speaker, hold=hold, on_local=on_local, on_ends=on_ends)

    def _begin_journal(self) -> None:
        self.eips.desk.on_changed = self.scribe.eip_changed
        self.orders.on_changed = self.scribe.ordered
        self.scribe.health, self.scribe.fleet = lambda: self.control.beliefs.view, self.beacons.report
        self.scribe.start(self.config.pop.name, __version__, self.config.digest)
        self.supervisor.start("journal", self.journal.run)

    async def _close(self) -> None:
        """Save what must outlive us and let go of the kernel, of which everything stays."""
        on_disk = {"attack": self.attack.close(), "memories": self.memories.save(self.control.memories)}
        on_disk |= {"orders": self.orders.close(), "filters": self.filters.close(), "eips": self.eips.close()}
        await closed(on_disk | {"spread": self.spread.close()})
        self.memories.close()
        await closed({"journal": self.journal.close()})
        # what is still heard of must not be acted upon with what is closed
        self._started = False
        await closed({"nft": self.nft.close(), "devices": self.devices.close(), "kernel": self.kernel.close()})
        self.unit.close()

    def _take_signals(self) -> None:
        """Take signals before anything else: the default action of SIGHUP would end us in the middle of a start."""
        for number, how in ((signal.SIGTERM, End.LEAVE), (signal.SIGINT, End.LEAVE), (signal.SIGUSR2, End.HAND_OVER)):
            self.loop.add_signal_handler(number, self._end, how)
        self.loop.add_signal_handler(signal.SIGHUP, self._reload_soon)

    async def _serve(self) -> None:
        """Serve the API. That it cannot be had is an alarm, no reason to leave announcements unattended."""
        # its libraries are a fifth of all that a start imports, and no route waits for them; aiohttp serves only
        hollow("aiohttp")
        api = await asyncio.to_thread(import_module, "anycastd.api.app")
        parts = (self.eips.desk, self.eips.meter, self.door, self.journal, self.orders, self.fleet, self.spread)
        server = await api.serve(self, self.config.api, self.metrics, *parts, filters=self.filters)
        try:
            await asyncio.Future()
        finally:
            await server.close()

    def _end(self, end: End) -> None:
        if not self._ending.done():
            self._ending.set_result(end)

    def _result(self, result: ProbeResult) -> None:
        self.control.on_result(result, self.loop.time())

    def _bgp_changed(self, prefixes: frozenset[Prefix] | None) -> None:
        self._touched.add(prefixes)
        self._soon.ask()

    def _filter_changed(self) -> None:
        if self._started:
            self.eips.desk.on_read_back()
            # the next look of the loop may be seconds away: after much, it rests
            if self.control.forwarder.steering.held and not self.nft.busy:
                self._act()
        self._soon.ask()

    def _clamp_anew(self) -> None:
        if self._started:
            self.supervisor.once("nft settings", self._set_filter())

    async def _set_filter(self) -> None:
        """Have the packet filter's rules follow configuration and devices; what fails is tried again at each tick."""
        try:
            await self.nft.set_settings(nft_settings(self.config, self.devices.mtus, self.filters.local))
        except AnycastdError as error:
            self.reported.raise_(Alarm.FILTER_REFUSED, "settings", f"the rules stay as they were: {error}")
        else:
            self.reported.clear(Alarm.FILTER_REFUSED, "settings")

    def _links_changed(self, names: frozenset[str]) -> None:
        self.engine.link_changed(names)
        self.devices.look()
        if self._started:
            self.eips.shaping.links_changed(names)
        self._soon.ask()

    def _follow(self) -> None:
        if self._started:
            self.control.on_observed(self.loop.time(), self._touched.take())
            self.filters.follow(self.loop.time())
            self.eips.desk.on_observed()
            self._garbage.step()

    def _act(self) -> None:
        if self._started:
            self.control.forwarder.act(self.control.beliefs, self.loop.time())

    def _clocks(self) -> Clocks:
        return Clocks(self.loop.time(), time.time())

    def _fell_due(self) -> None:
        if self._started:
            self.control.on_due(self.loop.time())
            self._garbage.step()

    def _filter_refused(self, subject: str, detail: str | None) -> None:
        self.reported.tell(Alarm.FILTER_REFUSED, subject, detail)
        if self._started:
            self.eips.filter_refused(subject, detail)

    def _refused(self, key: Key) -> None:
        self.control.announcer.refused(key, self.loop.time())

    def _set_dead_man(self) -> None:
        held = self.control.orders.hold or not self.control.adopted
        wanted = (*(() if held else stages(self.config, self.control.decisions)), *self.filters.stages())
        if wanted != self._stages:
            self._stages = wanted
            self.speaker.set_dead_man(self.exports.permitted(wanted))

    async def _tick(self) -> None:
        """Look at everything anew, whether or not something was heard of."""
        while True:
            await asyncio.sleep(self._tick_s())
            try:
                await self.kernel.refresh()
                await self.nft.refresh()
            finally:
                # one that cannot be read keeps nothing else from being put right
                self.control.step(self.loop.time())
                self.unit.turned()
            await self._set_filter()
            self.eips.look_at_refusals()

    def _tick_s(self) -> float:
        return min(self.config.kernel.reconcile_s, self.config.bgp.reconcile_s)

    def _alarms_s(self) -> float:
        # with many prefixes a look costs much: 100 ms at 8,000 (measured), so it is taken less often
        return ALARMS_EACH_S * max(len(self.config.prefixes) / 1000, 1.0)

    async def _watch(self) -> None:
        """Raise, clear and log alarms."""
        known: dict[tuple[Alarm, str], str] = {}
        while True:
            await asyncio.sleep(self._alarms_s())
            self.circumstances.loop = self.lag.view
            status = await self.status_by_and_by()
            self.unit.see(status)
            standing = {(view.alarm, view.subject): view.detail for view in status.alarms}
            for key in standing.keys() - known.keys():
                log_event(log, "alarm", level=logging.ERROR, alarm=key[0].value, subject=key[1], detail=standing[key])
                self.scribe.alarm(key[0].value, key[1], standing[key])
            for key in known.keys() - standing.keys():
                log_event(log, "alarm_cleared", alarm=key[0].value, subject=key[1])
                self.scribe.alarm_cleared(key[0].value, key[1])
            known = standing
            self.scribe.look()
            self._set_dead_man()
            self._garbage.everything(self.loop.time())

    def _stage_failed(self, name: str, detail: str) -> None:
        self.reported.raise_(Alarm.STAGE_FAILED, name, detail)
        self.metrics.stage_failed(name)

    def _stage_recovered(self, name: str) -> None:
        self.reported.clear(Alarm.STAGE_FAILED, name)

    def _reload_soon(self) -> None:
        if self._started:
            self.supervisor.once("reload", self.reload())
        else:
            self._reload_asked = True

    async def reload(
        self, *, expected_removals: int | None = None, dry_run: bool = False, bake_s: float = 0.0
    ) -> ReloadOutcome:
        """Read the configuration again and apply the difference, or refuse it whole; with `bake_s` on trial."""
        with self.unit.reloading():
            return await self.reloads.reload(expected_removals, dry_run=dry_run, bake_s=bake_s)

    async def apply(self, new: Config, *, confirmed: bool) -> None:
        """Put a configuration in the place of the one in force; AnycastdError: nothing was done."""
        keys, kin = await self.reloads.read(lambda: (self.door.read(new.api), self.beacons.read(new)))
        await self.speaker.reconfigure(new.neighbors)
        self.config = new
        await self.reloads.in_time(lambda: self.door.take(keys))
        self.speaker.set_pace(new.bgp)
        if confirmed:
            self.control.announcer.spared = frozenset()
        self.exports.configure(new)
        self.filters.configure(new)
        self.beacons.configure(new, kin)
        self.control.configure(new, self.loop.time())
        self.eips.configure(new)
        self.devices.configure(new)
        self.journal.configure(new.journal)
        self.attack.configure(new.attack)
        await self._set_filter()
        self._set_dead_man()
        self.circumstances.config_loaded_s = self.loop.time()
        self._soon.ask()

    def confirm(self) -> bool:
        """Keep the file that is on trial; return whether one was."""
        return self.reloads.confirm()

    def reset_breaker(self, owner: str) -> bool:
        """Let as many prefixes be withdrawn again as may; return whether the circuit breaker was tripped."""
        tripped = self.control.breaker.is_tripped
        self.control.breaker.reset()
        log_event(log, "breaker_reset", level=logging.WARNING, owner=owner, was_tripped=tripped)
        self.control.step(self.loop.time())
        return tripped

    def status(self) -> Status:
        """Return the whole state at this moment."""
        return self._status(None)

    def _status(self, prefixes: dict[Prefix, PrefixView] | None) -> Status:
        self.circumstances.attack, self.circumstances.dial_generations = (
            self.attack.view,
            self.eips.desk.dial_generations,
        )
        self.circumstances.carried, self.circumstances.bfd = self.orders.carried, self.engine.bfd
        self.circumstances.probing = probing_facts(self.engine)
        now_s, parts = self.loop.time(), (self.circumstances, self.followed, self.alarms, self.reported)
        return build(self.control, *parts, now_s, time.time(), prefixes)

    async def status_by_and_by(self) -> Status:
        """Return the state, made with pauses: what is urgent does not wait for thousands of views."""
        while True:
            config, prefixes = self.control.config, dict[Prefix, PrefixView]()
            for view in views(self.control):
                prefixes[view.prefix] = view
                if len(prefixes) % VIEWS_AT_ONCE == 0:
                    await asyncio.sleep(0)
                    if self.control.config is not config:
                        break
            else:
                return self._status(prefixes)
