"""The BGP side of the control loop: wanted against observed, and what was asked meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from anycastd.model.address import Family, NeighborName, Prefix, family_of
from anycastd.model.bgp import Announce, BgpAction, BgpObserved, EndOfRib, Route, Routes, Withdraw
from anycastd.model.decision import Decision, Level, Memory, Penalty, Reason
from anycastd.model.topology import Config
from anycastd.policy.budget import charged
from anycastd.policy.desired import level_of, next_hop_of, wanted_routes
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
        self._eor_overdue_s = 0.0
        self._eor_asked_s: dict[EndOfRib, float] = {}
        self._next_hops: dict[NeighborName, dict[int, str]] = {}

    def configure(self, config: Config, now_s: float) -> None:
        """Take a configuration; End-of-RIB is overdue 10 s before the shortest restart time of a neighbor ends."""
        restart_s = [n.graceful_restart_s for n in config.neighbors.values() if n.graceful_restart_s]
        self._eor_overdue_s = now_s + max(min(restart_s, default=0) - 10.0, 0.0)
        self._next_hops = {name: {} for name in config.neighbors}
        for spec in config.prefixes.values():
            for name in spec.neighbors:
                self._next_hops[name].setdefault(spec.prefix.version, next_hop_of(config.neighbors[name], spec.prefix))

    @property
    def observed(self) -> BgpObserved:
        """Return what ExaBGP says it holds."""
        return self._bgp.observed

    def refused(self, key: Key, now_s: float) -> None:
        """Do not repeat a refused command before some time has passed."""
        self._held_until_s[key] = now_s + REFUSED_AGAIN_AFTER_S

    def act(self, config: Config, levels: Mapping[Prefix, Level], changed: Collection[Prefix], now_s: float) -> None:
        """Compare just these prefixes and say what differs: a failover does not wait for the rest."""
        observed = self._bgp.observed
        if observed.routes is None or not changed:
            return
        some = frozenset(changed)
        routes = {n: {p: have[p] for p in some if p in have} for n, have in observed.routes.items()}
        self._say(wanted_routes(config, levels, changed), replace(observed, routes=routes), now_s)

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
        wanted = wanted_routes(config, levels, config.prefixes)
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
        actions = diff(wanted, observed, self._submitted, self._next_hops, self._held_until_s)
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


def adopted(
    config: Config,
    observed: BgpObserved,
    saved: Mapping[Prefix, Memory],
    now_s: float,
    only: Collection[Prefix] | None = None,
) -> dict[Prefix, Memory]:
    """Return the memories with the level that ExaBGP holds, which outranks what was saved.

    A prefix that is absent although it was last decided NORMAL was lost with ExaBGP, not taken down by health: it
    begins afresh, so that a peer that kept the route over our restart sees it come back unchanged.
    """
    memories: dict[Prefix, Memory] = {}
    for prefix in config.prefixes if only is None else only:
        spec = config.prefixes[prefix]
        old = saved.get(prefix, Memory())
        routes = {n: (observed.routes or {}).get(n, {}).get(prefix) for n in spec.neighbors}
        levels = [level_of(config.neighbors[n], spec, route) for n, route in routes.items() if route is not None]
        if levels:
            level = max(levels)
            since_s = old.level_since_s if level is old.level else now_s
            penalty = _charged(old, level, spec.timers.half_life_s, now_s)
            memories[prefix] = replace(old, level=level, level_since_s=since_s, was_announced=True, penalty=penalty)
        else:
            by_health = old.was_announced and old.level is not Level.NORMAL
            penalty = _charged(old, Level.WITHDRAWN, spec.timers.half_life_s, now_s) if by_health else old.penalty
            memories[prefix] = replace(
                old, level=Level.WITHDRAWN, level_since_s=now_s, was_announced=by_health, penalty=penalty
            )
    return memories


def _charged(old: Memory, level: Level, half_life_s: float, now_s: float) -> Penalty:
    """Return the penalty with a change that neighbors saw and the memory does not know: the dead man's, or the last.

    The memory is saved each second, so a daemon that was killed may have said more than its memory holds (I7).
    """
    if not old.was_announced:
        return old.penalty
    return charged(old.penalty, old.level, level, was_announced=True, now_s=now_s, half_life_s=half_life_s)
