"""The BGP side of the control loop: wanted against observed, and what was asked meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from anycastd.model.address import Family, NeighborName, Prefix, family_of
from anycastd.model.bgp import Announce, BgpAction, BgpObserved, EndOfRib, Route, Routes, Withdraw
from anycastd.model.decision import Decision, Level, Reason
from anycastd.model.topology import Config
from anycastd.policy.desired import wanted_routes
from anycastd.reconcile.bgp import Key, diff, ends_of_rib, unwanted
from anycastd.runtime.ports import Bgp

UNDECIDED = frozenset({Reason.FIRST_CHECKS, Reason.OBSERVATION_MISSING, Reason.DATA_PLANE_NOT_READY})
REFUSED_AGAIN_AFTER_S = 10.0
ASKED_AGAIN_AFTER_S = 3.0


class Announcer:
    """Says what differs. Nothing is believed done until it is observed."""

    def __init__(self, bgp: Bgp, acted: Callable[[Iterable[BgpAction]], None]) -> None:
        self._bgp, self._acted = bgp, acted
        self._submitted: dict[Key, Route | None] = {}
        self._held_until_s: dict[Key, float] = {}
        self.spared: frozenset[Prefix] = frozenset()
        """Prefixes that ExaBGP holds, a restarted daemon's file lacks, and nobody confirmed yet (I4): not withdrawn."""
        self._eor_overdue_s = 0.0
        self._eor_asked_s: dict[EndOfRib, float] = {}
        self._wanted: dict[NeighborName, dict[Prefix, Route]] | None = None

    def configure(self, config: Config, now_s: float) -> None:
        """Take a configuration; End-of-RIB is overdue 10 s before the shortest restart time of a neighbor ends."""
        restart_s = [n.graceful_restart_s for n in config.neighbors.values() if n.graceful_restart_s]
        self._eor_overdue_s = now_s + max(min(restart_s, default=0) - 10.0, 0.0)
        self._wanted = None

    @property
    def observed(self) -> BgpObserved:
        """Return what ExaBGP says it holds."""
        return self._bgp.observed

    def refused(self, key: Key, now_s: float) -> None:
        """Do not repeat a refused command before some time has passed."""
        self._held_until_s[key] = now_s + REFUSED_AGAIN_AFTER_S

    def act(self, config: Config, levels: Mapping[Prefix, Level], changed: Collection[Prefix], now_s: float) -> None:
        """Compare just these prefixes and say what differs: a failover does not wait for the rest."""
        wanted = self._learn(config, levels, changed)
        observed = self._bgp.observed
        if observed.routes is None or not changed:
            return
        some = frozenset(changed)
        routes = {n: {p: have[p] for p in some if p in have} for n, have in observed.routes.items()}
        self._say(wanted, replace(observed, routes=routes), now_s)

    def _learn(self, config: Config, levels: Mapping[Prefix, Level], changed: Collection[Prefix]) -> Routes:
        """Take the levels of `changed` into what is wanted, and return their routes."""
        routes = wanted_routes(config, levels, changed)
        if self._wanted is not None:
            for name, every in self._wanted.items():
                for prefix in changed:
                    every.pop(prefix, None)
                every.update(routes[name])
        return routes

    def wanted(self, config: Config, levels: Mapping[Prefix, Level]) -> Routes:
        """Return every route every neighbor should be sent; built once, then kept up by what changes."""
        if self._wanted is None:
            self._wanted = wanted_routes(config, levels, config.prefixes)
        return self._wanted

    def act_on_all(
        self, config: Config, levels: Mapping[Prefix, Level], decisions: Mapping[Prefix, Decision], now_s: float
    ) -> None:
        """Compare everything, also what nobody wanted; with nothing left to say, send the End-of-RIBs that are due."""
        # also while ExaBGP is away: next_s() naming a time that is past would wake the loop a thousand times a second
        self._held_until_s = {key: end for key, end in self._held_until_s.items() if end > now_s}
        observed = self._bgp.observed
        if observed.routes is None:
            return
        owed = observed.eor_owed
        self._eor_asked_s = {e: at_s for e, at_s in self._eor_asked_s.items() if (e.neighbor, e.family) in owed}
        wanted = self.wanted(config, levels)
        if not self._say(wanted, observed, now_s) and observed.eor_owed:
            overdue = now_s >= self._eor_overdue_s
            ready = ends_of_rib(wanted, observed, _undecided(config, decisions), overdue=overdue)
            recent = {end for end, at_s in self._eor_asked_s.items() if now_s - at_s < ASKED_AGAIN_AFTER_S}
            unasked = [end for end in ready if end not in recent]
            self._eor_asked_s |= dict.fromkeys(unasked, now_s)
            if unasked:
                self._bgp.apply(unasked)

    def _say(self, wanted: Routes, observed: BgpObserved, now_s: float) -> bool:
        self._held_until_s = {key: end for key, end in self._held_until_s.items() if end > now_s}
        found = diff(wanted, observed, self._submitted, self._held_until_s)
        actions = [a for a in found if not (isinstance(a, Withdraw) and a.prefix in self.spared)]
        for action in actions:
            if isinstance(action, Announce):
                self._submitted[action.neighbor, action.route.prefix] = action.route
            elif isinstance(action, Withdraw):
                self._submitted[action.neighbor, action.prefix] = None
        if actions:
            self._acted(actions)
            self._bgp.apply(actions)
        return bool(actions)

    def unwanted(self, wanted: Routes) -> tuple[str, ...]:
        """Return, in words, what ExaBGP holds though nobody wants it."""
        return unwanted(wanted, self._bgp.observed, self._submitted)

    def is_due(self, now_s: float) -> bool:
        """Return whether a look at everything is wanted though nothing new was observed: to repeat, or to end a RIB."""
        held_s = self.next_s()
        return bool(self._bgp.observed.eor_owed) or (held_s is not None and held_s <= now_s)

    def next_s(self) -> float | None:
        """Return when a held command may be repeated."""
        return min(self._held_until_s.values(), default=None)


def _undecided(config: Config, decisions: Mapping[Prefix, Decision]) -> dict[NeighborName, frozenset[Family]]:
    found: dict[NeighborName, set[Family]] = {}
    for prefix, decision in decisions.items():
        if decision.hold in UNDECIDED:
            for name in config.prefixes[prefix].neighbors:
                found.setdefault(name, set()).add(family_of(prefix))
    return {name: frozenset(families) for name, families in found.items()}
