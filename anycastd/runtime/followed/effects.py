"""Looks, some time after each change of a prefix's level, whether anything followed (S22). The judging is in policy."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from anycastd.model.address import Address, Prefix
from anycastd.model.bgp import SessionState
from anycastd.model.decision import Decision, Level
from anycastd.model.effect import Action, Effect, Look
from anycastd.model.safety import EffectConfig
from anycastd.model.status import Alarm
from anycastd.model.traffic import Sample
from anycastd.policy.effect import judge
from anycastd.runtime.alarms import Reported
from anycastd.runtime.control import Control
from anycastd.runtime.followed.drain_progress import is_said
from anycastd.telemetry.logs import log_event

EACH_S = 1.0
BITE = 1000
"""Addresses looked through before the loop is given back: 1 ms."""
LOOKED_AT = 50
"""Prefixes that are looked at, or begun with, before the loop is given back: 1 to 2 ms. 8,000 at once held it 34 ms."""
NAMED = 20
"""Prefixes with an alarm of their own; the others share one."""

log = logging.getLogger("anycastd")


@dataclass(frozen=True, slots=True)
class _Open:
    """An action that is looked at again: how many of the looks were had, when the next is due, what the last found."""

    action: Action
    looks: int
    due_s: float
    last: Effect | None = None


class Effects:
    """Follows every change until the last look, and one without effect until there is one or another change."""

    def __init__(
        self,
        control: Control,
        sample: Callable[[], Sample | None],
        reported: Reported,
        count: Callable[[Effect], None],
        clock: Callable[[], float],
    ) -> None:
        self._control, self._sample, self._reported = control, sample, reported
        self._count, self._clock = count, clock
        self._new: dict[Prefix, Action] = {}
        self._open: dict[Prefix, _Open] = {}
        self._normal_bps: dict[Prefix, float | None] = {}
        self._missing: dict[Prefix, str] = {}
        self._known = control.config

    def note(self, before: Decision | None, after: Decision, now_s: float) -> None:
        """Take a decision; one of another level than that before is followed."""
        if before is None or before.level is after.level:
            return
        prefix = after.prefix
        new = Action(prefix, before.level, after.level, now_s)
        known = self._new.get(prefix) or (self._open[prefix].action if prefix in self._open else None)
        if known is not None and _goes_on(known, new, self._spec.traffic_after_s):
            # the next step of the same way: what there was before the first one is what counts
            new = replace(new, before=known.before, baseline_bps=known.baseline_bps)
        self._new[prefix] = new
        self._open.pop(prefix, None)

    @property
    def _spec(self) -> EffectConfig:
        return self._control.config.safety.effect

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            await asyncio.sleep(EACH_S)
            await self.look()

    async def look(self) -> None:
        """Measure where each new action begins, and look at those that are due; changes may come in between."""
        now_s = self._clock()
        self._forget_unknown()
        due = [prefix for prefix, one in self._open.items() if one.due_s <= now_s]
        new = dict(self._new)
        rates = await rates_of({*due, *new}, self._sample()) if due or new else {}
        async for prefix in _by_and_by(new):
            if self._is_configured(prefix) and self._new.get(prefix) is new[prefix]:
                self._begin(self._new.pop(prefix), rates.get(prefix))
        async for prefix in _by_and_by(due):
            if self._is_configured(prefix) and prefix in self._open and prefix not in self._new:
                self._look_at(self._open[prefix], rates.get(prefix), now_s)
        kept = {p: words for p, words in self._missing.items() if p in self._open and self._is_configured(p)}
        if kept != self._missing or due:
            self._missing = kept
            self._tell()

    def _is_configured(self, prefix: Prefix) -> bool:
        return prefix in self._control.config.prefixes

    def _forget_unknown(self) -> None:
        """Drop what a reload took away; to look through thousands at every turn would cost more than all the rest."""
        if self._known is not (config := self._control.config):
            self._known = config
            self._open = {prefix: one for prefix, one in self._open.items() if self._is_configured(prefix)}
            self._new = {prefix: action for prefix, action in self._new.items() if self._is_configured(prefix)}
            self._normal_bps = {prefix: bps for prefix, bps in self._normal_bps.items() if self._is_configured(prefix)}

    def _begin(self, action: Action, rate_bps: float | None) -> None:
        prefix = action.prefix
        if action.baseline_bps is None:
            action = replace(action, baseline_bps=rate_bps)
        if action.before is Level.NORMAL:
            self._normal_bps[prefix] = action.baseline_bps
        self._missing.pop(prefix, None)
        action = replace(action, normal_bps=self._normal_bps.get(prefix))
        self._open[prefix] = _Open(action, 0, action.at_s + self._spec.looks_s[0])

    def _look_at(self, one: _Open, rate_bps: float | None, now_s: float) -> None:
        control, action, spec = self._control, one.action, self._spec
        prefix, decision = action.prefix, control.decisions.get(action.prefix)
        if decision is None:
            return
        sessions = control.announcer.observed.sessions
        carriers = (sessions.get(name) for name in control.config.prefixes[prefix].neighbors)
        established = sum(one is not None and one.state is SessionState.ESTABLISHED for one in carriers)
        look = Look(now_s - action.at_s, is_said(control, decision), established, rate_bps)
        effect, words = judge(action, look, spec)
        planned = one.looks < len(spec.looks_s) and look.after_s >= spec.looks_s[one.looks]
        if planned or effect is not one.last:
            self._count(effect)
            fields = {"prefix": str(prefix), "effect": effect.value, "detail": words}
            log_event(log, "effect", level=logging.WARNING if effect.is_missing else logging.INFO, **fields)
        if effect.is_missing:
            self._missing[prefix] = words
        else:
            self._missing.pop(prefix, None)
        self._plan(replace(one, looks=one.looks + planned, last=effect), now_s)

    def _plan(self, one: _Open, now_s: float) -> None:
        """Say when to look next: as configured, and soon while nothing follows, so that the alarm goes in time."""
        spec, times_s = self._spec, []
        if one.looks < len(spec.looks_s):
            times_s.append(one.action.at_s + spec.looks_s[one.looks])
        if one.last is not None and one.last.is_missing:
            times_s.append(now_s + spec.looks_s[0])
        if times_s:
            self._open[one.action.prefix] = replace(one, due_s=min(times_s))
        else:
            del self._open[one.action.prefix]

    def _tell(self) -> None:
        self._reported.clear(Alarm.EFFECT_MISSING)
        for prefix, words in islice(self._missing.items(), NAMED):
            self._reported.raise_(Alarm.EFFECT_MISSING, str(prefix), words)
        if (more := len(self._missing) - NAMED) > 0:
            self._reported.raise_(Alarm.EFFECT_MISSING, "others", f"{more} more prefixes")


def _goes_on(known: Action, new: Action, within_s: float) -> bool:
    """Return whether an action is the next step of one that is too young to have shown in traffic."""
    same_way = (known.after < known.before) is (new.after < new.before)
    return same_way and new.at_s - known.at_s < within_s


async def _by_and_by(prefixes: Collection[Prefix]) -> AsyncIterator[Prefix]:
    """Go through prefixes, and give the loop back after each few."""
    for number, prefix in enumerate(list(prefixes)):
        if number % LOOKED_AT == LOOKED_AT - 1:
            await asyncio.sleep(0)
        yield prefix


async def rates_of(prefixes: Collection[Prefix], sample: Sample | None) -> Mapping[Prefix, float]:
    """Return the bits a second that come in for the EIPs of each prefix; empty if nothing was measured yet."""
    if sample is None or not sample.interval_s:
        return {}
    rates, networks = dict.fromkeys(prefixes, 0.0), by_size(prefixes)
    for number, (address, traffic) in enumerate(list(sample.eips.items())):
        if number % BITE == BITE - 1:
            await asyncio.sleep(0)
        if (found := within(address, networks)) is not None:
            rates[found] += traffic.rates.in_bps
    return rates


BySize = Mapping[tuple[int, int], Mapping[int, Prefix]]


def by_size(prefixes: Collection[Prefix]) -> BySize:
    """Return prefixes by family and length, for `within`."""
    found: dict[tuple[int, int], dict[int, Prefix]] = {}
    for prefix in prefixes:
        shift = prefix.max_prefixlen - prefix.prefixlen
        found.setdefault((prefix.version, shift), {})[int(prefix.network_address) >> shift] = prefix
    return found


def within(address: Address, networks: BySize) -> Prefix | None:
    """Return the prefix that holds an address, None if none of them does."""
    for (version, shift), of_size in networks.items():
        if version == address.version and (found := of_size.get(int(address) >> shift)) is not None:
            return found
    return None
