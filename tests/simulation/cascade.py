"""A flood against three POPs, each with a capacity: what becomes of them with absorption, and without.

Each POP has the real configuration loader, control loop and policy. The world around them is a model: a POP that is
sent more than it can carry loses the share that is too much, and of its checks the same share, unless they ride in a
class of their own. What a POP sheds moves as it did on the real sites that were measured (docs/safety.md): DEPREF sheds
79 % of a catchment, and 65 % of what moves lands on one neighbor. Routes take `ROUTES_S` to spread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from anycastd.model.attack import AttackReason, AttackState, AttackView, Rate, Standing
from anycastd.model.checks import ProbeSpec
from anycastd.model.decision import Level
from anycastd.model.probe import ProbeResult, Why
from anycastd.simulation.clock import run
from tests.simulation.site import LATENCY_S, OBSERVERS, Site

POPS = ("fra", "ams", "lon")
PREFIX = ip_network("203.0.113.0/24")
CAPACITY = 10.0
"""Of each POP, in Gbit/s."""
USUAL = {"fra": 4.0, "ams": 3.0, "lon": 3.0}
FLOOD = {"fra": 100.0, "ams": 5.0, "lon": 4.0}
"""By whose catchment it comes from: ten times what the first POP can carry."""
BEGINS_S, ENDS_S, LASTS_S = 60.0, 360.0, 900.0
DEPREF_SHEDS, ONE_TAKES = 0.79, 0.65
ROUTES_S = 5
SEEN_AFTER_S = 2.0
"""How long a flood takes to be seen: `attack.detect.interval` and `confirm` at their defaults."""
CALM_S = 60.0
REFLECTED_S = 0.02


@dataclass(frozen=True)
class Scenario:
    """What is switched on: absorption (policy), and a class of its own for checks (data plane)."""

    title: str
    absorb: bool
    protected: bool
    prefix: Mapping[str, Any] = field(default_factory=dict)
    fleet: bool = False


@dataclass(frozen=True)
class Second:
    """One second: how each POP announces, what it is sent and what it loses, and how much of the usual is served."""

    at_s: float
    levels: Mapping[str, Level]
    load: Mapping[str, float]
    loss: Mapping[str, float]
    served: float


class FloodedSite(Site):
    """A POP whose checks are lost as its packets are."""

    loss = 0.0

    def _probe(self, spec: ProbeSpec) -> None:
        if self.control is not None:
            now_s = self._loop.time()
            why = Why.TIMEOUT if self._rng.random() < self.loss else Why.ANSWERED
            self.control.on_result(ProbeResult(spec.id, why, now_s - LATENCY_S, now_s), now_s)


def shares(levels: Mapping[str, Level]) -> dict[str, dict[str, float]]:
    """Return what part of each POP's catchment lands where."""
    found = {}
    best = max(levels.values())
    for home, level in levels.items():
        # all at the same lower level is as if none were: the lab showed it (docs/never-dark.md)
        stays = 0.0 if level < Level.GSHUT else 1.0 if level is best else 1 - DEPREF_SHEDS
        others = [name for name in _after(home) if levels[name] is best and name != home and best > Level.WITHDRAWN]
        part = {home: stays} if stays else {}
        for place, name in enumerate(others if stays < 1.0 else ()):
            share = 1.0 if len(others) == 1 else ONE_TAKES if place == 0 else (1 - ONE_TAKES) / (len(others) - 1)
            part[name] = part.get(name, 0.0) + (1 - stays) * share
        found[home] = part
    return found


def _after(name: str) -> list[str]:
    at = POPS.index(name)
    return [*POPS[at:], *POPS[:at]]


class World:
    """The POPs, and what they are sent second by second."""

    def __init__(self, scenario: Scenario, directory: Path) -> None:
        self.scenario, self.directory = scenario, directory
        self.sites: dict[str, FloodedSite] = {}
        self.seconds: list[Second] = []
        self._spread: deque[dict[str, Level]] = deque(maxlen=ROUTES_S + 1)
        self._above_since_s: dict[str, float] = {}
        self._seen_s: dict[str, float] = {}

    def live(self) -> list[Second]:
        """Live through it in virtual time."""
        run(self._live(), start_s=50_000.0)
        return self.seconds

    async def _live(self) -> None:
        loop, rng = asyncio.get_running_loop(), Random(7)
        more: dict[str, Any] = {"attack": {"absorb": {"enabled": self.scenario.absorb}}}
        if self.scenario.fleet:
            more["fleet"] = list(POPS)
        for number, name in enumerate(POPS, start=1):
            site = FloodedSite(name, number, self.directory, loop, rng, lambda: None, self._reflect)
            site.write({str(PREFIX): dict(self.scenario.prefix)}, more)
            self.sites[name] = site
        for site in self.sites.values():
            site.start()
        await asyncio.sleep(120.0)
        begun_s = loop.time()
        while loop.time() < begun_s + LASTS_S:
            self._second(loop.time() - begun_s)
            await asyncio.sleep(1.0)
        for site in self.sites.values():
            site.kill()
        assert [error for site in self.sites.values() for error in site.errors] == []

    def _reflect(self, sender: Site, observer: str, prefix: Any, route: Any) -> None:
        loop, originator = asyncio.get_running_loop(), f"10.0.0.{1 + POPS.index(sender.name)}"
        for site in self.sites.values():
            if site is not sender and observer in OBSERVERS:
                loop.call_later(REFLECTED_S, site.hear, observer, prefix, route, originator)

    def _second(self, at_s: float) -> None:
        levels = {name: site.control.levels[PREFIX] for name, site in self.sites.items() if site.control is not None}
        self._spread.append(levels)
        landed, flood = shares(self._spread[0]), FLOOD if BEGINS_S <= at_s < ENDS_S else {}
        load = dict.fromkeys(POPS, 0.0)
        for home, parts in landed.items():
            for name, part in parts.items():
                load[name] += part * (USUAL[home] + flood.get(home, 0.0))
        loss = {name: max(0.0, 1 - CAPACITY / max(load[name], 1e-9)) for name in POPS}
        served = sum(
            part * USUAL[home] * (1 - loss[name]) for home, parts in landed.items() for name, part in parts.items()
        )
        self.seconds.append(Second(at_s, levels, load, loss, served / sum(USUAL.values())))
        for name, site in self.sites.items():
            site.loss = 0.0 if self.scenario.protected else loss[name]
            self._tell(site, name, at_s, load[name])

    def _tell(self, site: FloodedSite, name: str, at_s: float, load: float) -> None:
        """Have the POP see what its detection would: an attack some seconds after it begins, and calm after it ends."""
        assert site.control is not None
        if load > 2 * USUAL[name] + 1:
            self._above_since_s.setdefault(name, at_s)
            if at_s - self._above_since_s[name] >= SEEN_AFTER_S:
                self._seen_s[name] = at_s
        else:
            self._above_since_s.pop(name, None)
        on = name in self._seen_s and at_s - self._seen_s[name] < CALM_S
        state = AttackState.ATTACK if on else AttackState.NORMAL
        reasons = (AttackReason.BITS_ABOVE_USUAL,) if on else ()
        now_s = asyncio.get_running_loop().time()
        standing = Standing(state=state, reasons=reasons, rate=Rate(bits=load * 1e9))
        site.control.take_attack(AttackView(at_s=now_s, pop=standing), now_s)


LAST_RESORT = {"last_resort": "withdraw"}
HASTY = LAST_RESORT | {"timers": {"settle": "0s", "return_after": "10s", "half_life": "1s"}}
"""As a plain health check does it: it leaves at once, comes back at once, and counts no changes."""
PLAIN = Scenario("a plain health check: no absorption, no pace", absorb=False, protected=False, prefix=HASTY)
OFF = Scenario("no absorption, default pace", absorb=False, protected=False, prefix=LAST_RESORT)
OFF_FLEET = Scenario("no absorption, never-dark guard between the POPs", absorb=False, protected=False, fleet=True)
HELD = Scenario("absorption, but checks are lost like all packets", absorb=True, protected=False, prefix=LAST_RESORT)
WHOLE = Scenario("absorption, and checks in a class of their own", absorb=True, protected=True, prefix=LAST_RESORT)
SCENARIOS = (PLAIN, OFF, OFF_FLEET, HELD, WHOLE)


@dataclass(frozen=True)
class Figures:
    """What the page tells of one scenario. `served`: of the usual traffic, on average while the flood is on.

    `left_s`: when each POP first left, counted from the flood. `moving_s`: how long a POP was not NORMAL.
    """

    served: float
    least: float
    left_s: Mapping[str, float | None]
    changes: int
    dark_s: int
    moving_s: int


def figures(seconds: list[Second]) -> Figures:
    """Return the figures of a scenario."""
    since = [one for one in seconds if one.at_s >= BEGINS_S]
    during = [one for one in since if one.at_s < ENDS_S]
    left_s = {
        name: next((one.at_s - BEGINS_S for one in since if one.levels[name] is Level.WITHDRAWN), None) for name in POPS
    }
    changes = sum(before.levels[name] is not after.levels[name] for before, after in pairwise(seconds) for name in POPS)
    return Figures(
        served=round(sum(one.served for one in during) / len(during), 3),
        least=round(min(one.served for one in since), 3),
        left_s=left_s,
        changes=changes,
        dark_s=sum(set(one.levels.values()) == {Level.WITHDRAWN} for one in since),
        moving_s=sum(any(level is not Level.NORMAL for level in one.levels.values()) for one in since),
    )
