"""One file on trial: what was announced before it, what is now, and what of that was ordered meanwhile (S10)."""

from __future__ import annotations

import asyncio

from anycastd.model.address import NeighborName, Prefix
from anycastd.model.decision import Level
from anycastd.model.spread import Extra
from anycastd.model.topology import Config
from anycastd.policy.bake import Announced, excuses, gone, less, words_of
from anycastd.policy.claims import established
from anycastd.policy.desired import level_of
from anycastd.runtime.control import Control

GONE_FOR_S = 2.0
"""So long a prefix may be given up until the file is taken back."""
AT_ONCE = 250
"""Prefixes looked at before the loop is given back: 2 ms."""


class Trial:
    """Made before the file is applied (`before`: what was announced then), asked again and again while it bakes."""

    def __init__(self, control: Control, new: Config, before: Announced, now_s: float) -> None:
        self._control, self._before, self._lost_since_s = control, before, now_s
        self._kept = {prefix: frozenset(spec.neighbors) for prefix, spec in new.prefixes.items()}
        self._excused: dict[tuple[Prefix, NeighborName], Level] = {}

    async def harm(self, now_s: float) -> str:
        """Look once; return what speaks against the file at once, empty if nothing does."""
        await self._look(now_s)
        lost = gone(self._before, self._control.levels, self._kept, self._excused)
        if not lost:
            self._lost_since_s = now_s
        return words_of(lost, "not announced any more") if now_s >= self._lost_since_s + GONE_FOR_S else ""

    async def verdict(self, now_s: float) -> str:
        """Return what speaks against the file now that its time is over, empty if nothing does."""
        await self._look(now_s)
        after = announced(self._control)
        if after is None:
            # what cannot be told is no good verdict
            return "it is not known what is announced"
        worse = less(self._before, after, self._kept, self._excused)
        return words_of(worse, "announced less than before") if worse else ""

    async def _look(self, now_s: float) -> None:
        """Note what is excused now, prefix by prefix: of those that are told as much as ever nothing is."""
        control, found = self._control, dict[tuple[Prefix, NeighborName], Level]()
        helpless = control.beliefs.helpless(now_s)
        for number, (prefix, was) in enumerate(self._before.items(), 1):
            decision = control.decisions.get(prefix)
            if decision is not None and (decision.level is not Level.NORMAL or decision.drained):
                lowered = excuses(prefix, was, decision, self._excused, helpless=prefix in helpless)
                found |= {(prefix, name): level for name, level in lowered}
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        self._excused = found


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
                found[prefix][name] = level_of(neighbor, spec, route, _extra(control, prefix, name))
    return found


def _extra(control: Control, prefix: Prefix, name: NeighborName) -> Extra | None:
    """Return what a playbook adds to a neighbor's route: such a route is no less for it."""
    decision = control.decisions.get(prefix)
    extras = () if decision is None else decision.extras
    return next((one for one in extras if one.neighbor == name), None)
