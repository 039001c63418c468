"""Sees an attack: the POP's totals each second, every EIP when they jump, a few packets of what is not NORMAL.

`view` is always the newest; `listeners` are told when a state or its reasons changed. Whoever forces a state (an
operator) does it by `order`. Nothing here acts: what follows from a state is for those who listen.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from anycastd.actuators.nft.bites import rest
from anycastd.attack.assess import Track
from anycastd.attack.eips import EipWatch
from anycastd.attack.hurts import Hurts, Vitals
from anycastd.attack.opened import Opened
from anycastd.attack.pop import PopCounts, PopWatch
from anycastd.attack.words import detail
from anycastd.errors import ActuatorTransient
from anycastd.model.address import Address
from anycastd.model.attack import AttackReason, AttackState, AttackView, Rate, Shape, Standing
from anycastd.model.attack_config import AttackConfig
from anycastd.model.conntrack import ConntrackStats
from anycastd.model.nft import Count, PopCounter, PopTotals
from anycastd.model.status import Alarm
from anycastd.model.traffic import Sample
from anycastd.runtime.alarms import Reported
from anycastd.runtime.attack.alert import Alert, Sources
from anycastd.runtime.attack.packet_look import PacketLook
from anycastd.runtime.kept import usual_file
from anycastd.runtime.kept.disk import StateFile
from anycastd.runtime.traffic.letting_go import let_go_of

FILE = "usual.json"
SAVE_EACH_S = 300.0
NAMED = 20
"""EIPs with an alarm of their own; the others are one."""

Listener = Callable[[AttackView, float], None]
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Told:
    """Who is told: the alarms, and `changed` with what a subject (None: the POP) was and is."""

    reported: Reported
    changed: Callable[[Address | None, AttackState, Standing], None]
    pop: str
    listeners: list[Listener] = field(default_factory=list)


class AttackWatch:
    """One of a POP. `clock` is monotonic."""

    def __init__(
        self,
        config: AttackConfig,
        sources: Sources,
        told: Told,
        look: PacketLook,
        directory: str,
        clock: Callable[[], float],
    ) -> None:
        self._config, self._sources, self._told, self._look, self._clock = config.detect, sources, told, look, clock
        self._file = StateFile(Path(directory) / FILE, told.reported)
        pop, eips, complaint = usual_file.load(self._file.path, clock())
        if complaint:
            self._file.not_understood(f"{complaint}; what is usual is learnt anew")
        self._pop, self._eips = PopWatch(pop), EipWatch(eips)
        self._pop.track = Track(since_s=clock())
        self._hurts, self._pains = Hurts(), tuple[AttackReason, ...]()
        self._alert, self._saved_s = Alert(sources, look.suspects, clock), clock()
        self._opened = Opened()
        self._sample: Sample | None = None
        self._come, self._ordered = asyncio.Event(), dict[Address | None, tuple[AttackState, float]]()
        self._said: dict[Address | None, tuple[AttackState, tuple[AttackReason, ...]]] = {}
        self.view = AttackView(at_s=clock(), pop=Standing(since_s=clock()))

    @property
    def listeners(self) -> list[Listener]:
        """Return who is told when a state or its reasons changed: add to it."""
        return self._told.listeners

    def configure(self, config: AttackConfig) -> None:
        """Take on changed settings; what is usual stays."""
        self._config = config.detect

    def order(self, subject: Address | None, state: AttackState | None) -> None:
        """Force the state of an EIP, or of the POP (None), until it is taken back by None; told at once."""
        if state is None:
            self._ordered.pop(subject, None)
        else:
            self._ordered[subject] = (state, self._clock())
        self._tell()

    def take(self, sample: Sample) -> None:
        """Take a reading of every EIP; looked at soon."""
        self._sample = sample
        self._come.set()

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            begun_s = self._clock()
            await self.look()
            span_s = self._alert.pace(self._clock()) * self._config.interval_s
            # what a look takes is of its interval; a machine that is behind gets a rest all the same
            due_s = max(begun_s + span_s, self._clock() + span_s / 4)
            while (left_s := due_s - self._clock()) > 0.0:
                try:
                    await asyncio.wait_for(self._come.wait(), left_s)
                except TimeoutError:
                    break
                await self.look_at_eips()

    async def look(self) -> None:
        """Read the POP's totals and vitals, and judge; what cannot be read changes no state."""
        if not self._config.enabled:
            self._forget_all()
            return
        try:
            totals = await self._sources.totals()
        except ActuatorTransient as error:
            log.warning("totals not read: %s", error, extra={"reason": "counters_not_read"})
            return
        vitals = await self._vitals(totals.at_s)
        self._pains = self._hurts.feed(vitals, self._pop.rate.packets, self._config)
        self._pop.feed(_counts(totals), self._pains, self._config)
        self._opened.note(self._pop.rate.connections)
        now_s = self._clock()
        self._alert.note(self._pop, totals.at_s, now_s)
        self._sample_packets(now_s)
        await self._alert.look(self._pop, self._eips, self._pains, self._config)
        self._tell()
        if now_s - self._saved_s >= SAVE_EACH_S:
            await self.save()

    async def look_at_eips(self) -> None:
        """Judge every EIP by the last reading of theirs."""
        self._come.clear()
        sample, self._sample = self._sample, None
        if sample is None or not self._config.enabled:
            return
        for _ in self._eips.steps(sample, self._pains, self._config, await self._opened_by_eip()):
            await rest()
        self._sample_packets(self._clock())
        self._tell()
        for counters in self._opened.take_left():
            await let_go_of(counters)

    async def _opened_by_eip(self) -> Mapping[Address, float] | None:
        """Return the new connections of each EIP a second; None: not known, or too few in all to matter."""
        if not self._opened.matter(self._config):
            return None
        try:
            return self._opened.rates(await self._sources.read_opened())
        except ActuatorTransient as error:
            log.warning("new connections not read: %s", error, extra={"reason": "counters_not_read"})
            return None

    async def _vitals(self, at_s: float) -> Vitals:
        device = softirq = None
        conntrack: ConntrackStats | None = None
        try:
            device, softirq = await asyncio.to_thread(self._sources.losses)
            conntrack = await self._sources.conntrack()
        except (OSError, ActuatorTransient):
            # a kernel without connection tracking has no such table; what is not known hurts nobody
            pass
        return Vitals(at_s, device, softirq, conntrack, self._sources.latency_ms())

    def _sample_packets(self, now_s: float) -> None:
        eips = {address: self._eips.rates[address].packets for address in self._eips.tracks}
        wide = self._alert.is_on(now_s)
        pop = self._pop.rate.packets if wide or not self._pop.track.is_plain else None
        self._look.look(pop, eips, self._config.samples_per_s, now_s, wide=wide)

    def _forget_all(self) -> None:
        self._pop, self._eips, self._pains = PopWatch(self._pop.usual), EipWatch(self._eips.usual), ()
        self._alert.end()
        self._sample_packets(self._clock())
        self._tell()

    def _tell(self) -> None:
        """Make the view anew, and tell of what is not as it was told last."""
        now_s, before = self._clock(), self.view
        pop = self._standing(None, self._pop.track, self._pop.rate, self._pop.usual_rate(), self._look.pop())
        found = {address: self._of_eip(address) for address in (*self._eips.tracks, *self._ordered) if address}
        eips = {address: one for address, one in found.items() if one.state is not AttackState.NORMAL}
        self.view = AttackView(now_s, pop, eips)
        new: dict[Address | None, Standing] = {None: pop}
        new.update((address, one) for address, one in eips.items())
        changed = [one for one in new if (new[one].state, new[one].reasons) != self._said.get(one, (_NORMAL, ()))]
        gone = [one for one in self._said if one not in new]
        for subject in (*changed, *gone):
            was = self._said.get(subject, (_NORMAL, ()))[0]
            is_ = new.get(subject, Standing(since_s=now_s))
            if was is not is_.state:
                self._told.changed(subject, was, is_)
        self._said = {one: (standing.state, standing.reasons) for one, standing in new.items()}
        if changed or gone or eips or before.eips or pop.state is not _NORMAL:
            self._report()
        if changed or gone:
            for listener in self.listeners:
                listener(self.view, now_s)

    def _of_eip(self, address: Address) -> Standing:
        usual = self._eips.usual.get(address)
        rate = self._eips.rates.get(address, Rate())
        normal = Rate()
        if usual is not None:
            counted = None if rate.connections is None else usual.connections
            normal = Rate(usual.packets, usual.bits, counted)
        return self._standing(address, self._eips.tracks.get(address, Track()), rate, normal, self._look.of(address))

    def _standing(
        self, subject: Address | None, track: Track, rate: Rate, usual: Rate, shape: Shape | None
    ) -> Standing:
        ordered = self._ordered.get(subject)
        if ordered is not None:
            track = replace(track, state=ordered[0], since_s=ordered[1], reasons=(AttackReason.ORDERED,))
        if track.state is _NORMAL:
            return Standing(_NORMAL, track.since_s, track.reasons, rate, usual)
        words = detail(rate, usual, track.reasons, shape)
        return Standing(track.state, track.since_s, track.reasons, rate, usual, words, shape)

    def _report(self) -> None:
        reported, wanted = self._told.reported, dict[tuple[Alarm, str], str]()
        if self.view.pop.state is not _NORMAL:
            wanted[_ALARMS[self.view.pop.state], self._told.pop] = self.view.pop.detail
        worst = sorted(self.view.eips.items(), key=lambda item: (-item[1].state, -item[1].rate.packets, int(item[0])))
        for address, standing in worst[:NAMED]:
            wanted[_ALARMS[standing.state], str(address)] = standing.detail
        if more := worst[NAMED:]:
            wanted[_ALARMS[more[0][1].state], "others"] = f"{len(more)} more EIPs: anycastd attack status"
        for alarm, subject in [key for key in reported.details if key[0] in _ALARMS.values()]:
            if (alarm, subject) not in wanted:
                reported.clear(alarm, subject)
        for (alarm, subject), words in wanted.items():
            reported.raise_(alarm, subject, words)

    async def save(self) -> None:
        """Save what is usual."""
        self._saved_s = self._clock()
        await self._file.save(partial(usual_file.encode, self._pop.usual, dict(self._eips.usual)))

    async def close(self) -> None:
        """Save, and look at no packets any more."""
        self._look.close()
        await self.save()
        self._file.disk.close()


_NORMAL = AttackState.NORMAL
_ALARMS = {AttackState.ELEVATED: Alarm.TRAFFIC_ELEVATED, AttackState.ATTACK: Alarm.ATTACK}


def _counts(totals: PopTotals) -> PopCounts:
    def of(name: PopCounter) -> Count:
        return totals.counts.get(name, Count())

    arrived = of(PopCounter.ARRIVED4) + of(PopCounter.ARRIVED6)
    dropped = totals.dropped_packets + of(PopCounter.LIMITED).packets
    return PopCounts(totals.at_s, arrived.packets, arrived.bytes, of(PopCounter.OPENED).packets, dropped)
