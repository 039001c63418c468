"""Incidents as files: a story, what happens step by step, and what must hold, played by real control loops.

Each POP has the real configuration loader, control loop, policy and reload guard; ExaBGP, kernel, routers and time are
simulated. `never_dark` is looked at after every UPDATE.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from random import Random
from typing import Any

import yaml

from anycastd.config.values.eip import read_rate
from anycastd.config.values.fields import read_duration
from anycastd.model.address import Prefix
from anycastd.model.bgp import Route
from tests.simulation.site import OBSERVERS, Site

POPS = ("fra", "ams", "lon")
REFLECTED_S = 0.02
FOREVER_S = 40 * 3600.0


@dataclass
class Incident:
    """One file, and the POPs that live through it."""

    path: Path
    directory: Path
    sites: dict[str, Site] = field(default_factory=dict)
    was_announced: set[Prefix] = field(default_factory=set)
    dark: list[str] = field(default_factory=list)
    looked: int = 0

    def __post_init__(self) -> None:
        text = self.path.read_text(encoding="utf-8")
        self.told: dict[str, Any] = _typed(yaml.load(text, yaml.BaseLoader))
        assert {"incident", "what_happened", "what_must_hold", "steps"} <= self.told.keys(), self.path
        self.never_dark = [ip_network(name) for name in self.told.get("never_dark", ())]

    async def live(self) -> None:
        """Play every step; whatever does not hold is an AssertionError that names it."""
        loop, rng = asyncio.get_running_loop(), Random(1)
        for number, name in enumerate(POPS, start=1):
            site = Site(name, number, self.directory, loop, rng, self._look, self._reflect)
            site.write(self.told["prefixes"], self.told)
            self.sites[name] = site
        for site in self.sites.values():
            site.start()
        for number, step in enumerate(self.told["steps"]):
            (verb, what), *more = step.items()
            await getattr(self, f"_{verb}")(what, dict(more), f"{self.path.name}, step {number + 1} ({verb})")
            assert self.dark == [], f"{self.path.name}, step {number + 1}"
        errors = [error for site in self.sites.values() for error in site.errors]
        assert errors == []

    def _look(self) -> None:
        """Note every prefix that nobody announces, once somebody had."""
        self.looked += 1
        seen = {prefix for site in self.sites.values() for prefix in site.announced()}
        self.was_announced |= seen
        now_s = asyncio.get_running_loop().time()
        self.dark += [f"{p} is dark at {now_s:.3f}" for p in self.never_dark if p in self.was_announced - seen]

    def _reflect(self, sender: Site, observer: str, prefix: Prefix, route: Route | None) -> None:
        """Pass on to the others what a POP told an observer."""
        loop, originator = asyncio.get_running_loop(), f"10.0.0.{1 + list(self.sites).index(sender.name)}"
        for site in self.sites.values():
            if site is not sender:
                loop.call_later(REFLECTED_S, site.hear, observer, prefix, route, originator)

    def _at(self, names: str) -> list[Site]:
        return [self.sites[name.strip()] for name in names.split(",")]

    async def _wait(self, what: str, more: dict[str, Any], where: str) -> None:
        await asyncio.sleep(read_duration(what))

    async def _cut(self, what: str, more: dict[str, Any], where: str) -> None:
        rng, within_s = Random(2), read_duration(more.get("within", 0))
        for site in self._at(more["at"]):
            await asyncio.sleep(rng.uniform(0.0, within_s / len(POPS)))
            if what in OBSERVERS:
                self._lose_observer(site, what)
            else:
                site.cut(what)

    def _lose_observer(self, site: Site, observer: str) -> None:
        """Cut a POP off an observer, which then takes its beacon back from the others."""
        gone = site.beacons(observer)
        site.cut_observer(observer)
        for prefix in gone:
            self._reflect(site, observer, prefix, None)

    async def _mend(self, what: str, more: dict[str, Any], where: str) -> None:
        for site in self._at(more["at"]):
            site.mend(what)

    async def _reload(self, what: dict[str, Any], more: dict[str, Any], where: str) -> None:
        for site in self._at(more["at"]):
            site.write(what["prefixes"], self.told)
            problems = site.reload()
            if "refused" in more:
                assert any(more["refused"] in problem for problem in problems), f"{where}: {problems}"
            else:
                assert problems == (), where

    async def _kill(self, what: str, more: dict[str, Any], where: str) -> None:
        for site in self._at(more["at"]):
            {"daemon": site.kill, "exabgp": site.kill_exabgp}[what]()

    async def _lose(self, what: str, more: dict[str, Any], where: str) -> None:
        assert what == "state"
        for site in self._at(more["at"]):
            site.lose_state()

    async def _drain(self, what: str, more: dict[str, Any], where: str) -> None:
        for site in self._at(more["at"]):
            problems = site.drain(read_rate(what))
            if "refused" in more:
                assert any(more["refused"] in problem for problem in problems), f"{where}: {problems}"
            else:
                assert problems == (), where

    async def _start(self, what: str, more: dict[str, Any], where: str) -> None:
        assert what == "daemon"
        for site in self._at(more["at"]):
            if "with" in more:
                site.write(more["with"]["prefixes"], self.told)
            site.start()

    async def _expect(self, what: Iterable[str], more: dict[str, Any], where: str) -> None:
        for sentence in what:
            self._holds(sentence, where)

    def _holds(self, sentence: str, where: str) -> None:
        for pattern, check in _SENTENCES:
            if (found := re.fullmatch(pattern, sentence)) is not None:
                assert check(self, **found.groupdict()), f"{where}: {sentence}\n{self.state()}"
                return
        raise AssertionError(f"{where}: {sentence!r} is no sentence that is understood")

    def state(self) -> str:
        """Return everything, for a person who must understand why a sentence does not hold."""
        return "\n".join(line for site in self.sites.values() for line in site.state())


def _typed(tree: Any) -> Any:
    """Return a tree with its numbers as a POP's file has them; everything else is text there too."""
    if isinstance(tree, dict):
        return {key: _typed(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_typed(value) for value in tree]
    return int(tree) if isinstance(tree, str) and tree.isdigit() else tree


def _level(world: Incident, prefix: str, level: str, pops: str) -> bool:
    return all(site.level(ip_network(prefix)) == level for site in world._at(pops))


def _held(world: Incident, prefix: str, reason: str, pops: str) -> bool:
    return all(site.hold(ip_network(prefix)) == reason for site in world._at(pops))


def _announced(world: Incident, prefix: str, pops: str) -> bool:
    wanted = set() if pops == "nobody" else {name.strip() for name in pops.split(",")}
    return {name for name, site in world.sites.items() if ip_network(prefix) in site.announced()} == wanted


def _count(world: Incident, count: str, pop: str) -> bool:
    return len(world.sites[pop].announced()) == int(count)


def _normal(world: Incident, count: str, pop: str) -> bool:
    return world.sites[pop].levels().count("NORMAL") == int(count)


def _alarm(world: Incident, alarm: str, pops: str) -> bool:
    return all(alarm in site.alarms() for site in world._at(pops))


def _breaker(world: Incident, no: str | None, pops: str) -> bool:
    return all(site.breaker_is_tripped() is (no is None) for site in world._at(pops))


def _eips(world: Incident, pops: str) -> bool:
    return all(site.carries_every_eip() for site in world._at(pops))


_SENTENCES: tuple[tuple[str, Callable[..., bool]], ...] = (
    (r"(?P<prefix>\S+) (?P<level>NORMAL|DEPREF|GSHUT|WITHDRAWN) at (?P<pops>.+)", _level),
    (r"(?P<prefix>\S+) held by (?P<reason>\S+) at (?P<pops>.+)", _held),
    (r"(?P<count>\d+) prefixes announced by (?P<pop>\S+)", _count),
    (r"(?P<count>\d+) prefixes NORMAL at (?P<pop>\S+)", _normal),
    (r"(?P<prefix>\S+) announced by (?P<pops>.+)", _announced),
    (r"alarm (?P<alarm>\S+) at (?P<pops>.+)", _alarm),
    (r"breaker (?P<no>not )?tripped at (?P<pops>.+)", _breaker),
    (r"eips carried at (?P<pops>.+)", _eips),
)
