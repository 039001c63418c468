"""The BGP side of the control loop: wanted against observed, and what was asked meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from anycastd.model.address import Family, NeighborName, Prefix, family_of
from anycastd.model.bgp import Announce, BgpAction, BgpObserved, EndOfRib, Route, Routes, Withdraw
from anycastd.model.decision import Decision, Level
from anycastd.model.topology import Config
from anycastd.policy.desired import wanted_routes
from anycastd.reconcile.bgp import Key, diff, ends_of_rib, only, unwanted
from anycastd.reconcile.sweep import Sweep
from anycastd.runtime.loop.backlog import Backlog
from anycastd.runtime.loop.frozen import Frozen
from anycastd.runtime.loop.ports import Bgp, Fleet, NoFleet
from anycastd.runtime.loop.replaced import Replaced

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
        self._replaced = Replaced()
        self._eor_overdue_s = 0.0
        self._eor_asked_s: dict[EndOfRib, float] = {}
        self._wanted: dict[NeighborName, dict[Prefix, Route]] = {}
        self._frozen: Frozen | None = None
        self._held: dict[NeighborName, dict[Prefix, Route]] | None = None
        self._shut: dict[Prefix, frozenset[NeighborName]] = {}
        self._beacons: dict[NeighborName, dict[Prefix, Route]] = {}
        self.fleet: Fleet = NoFleet()
        """Is told what was decided before it is said, so that a lower claim goes out before the UPDATE."""
        self._suspects = Backlog()
        self._sweep: Sweep | None = None
        self._sweep_again = False

    def configure(self, config: Config, gone_linger_s: Mapping[Prefix, float], now_s: float) -> None:
        """Take a configuration, of which every prefix is then to be learned anew; and what left it.

        End-of-RIB is overdue 10 s before the shortest restart time of a neighbor ends.
        """
        restart_s = [n.graceful_restart_s for n in config.neighbors.values() if n.graceful_restart_s]
        self._eor_overdue_s = now_s + max(min(restart_s, default=0) - 10.0, 0.0)
        self._replaced.configure(gone_linger_s, now_s)
        self._config, old, known = config, self._wanted, config.prefixes
        self._beacons = {name: self._beacons.get(name, {}) for name, one in config.neighbors.items() if one.is_observer}
        # what came back into the file follows health again: held for ever it could not be withdrawn
        self.spared = self.spared.difference(known)
        self._wanted = {n: {p: r for p, r in old.get(n, {}).items() if p in known} for n in config.neighbors}
        self._wanted |= self._beacons
        self._hold()

    @property
    def observed(self) -> BgpObserved:
        """Return what ExaBGP says it holds."""
        return self._bgp.observed

    @property
    def wanted(self) -> Routes:
        """Return every route every neighbor should be sent, as far as it was learned; while frozen what it is sent."""
        return self._wanted if self._held is None else self._held

    def freeze(self, frozen: bool) -> None:
        """Hold, or follow again, what the neighbors are sent; what is on its way to ExaBGP counts as sent."""
        if frozen == (self._frozen is not None) or (frozen and self._bgp.observed.routes is None):
            return
        self._frozen = Frozen.now(self._bgp.observed, self._submitted, self._wanted) if frozen else None
        self._hold()
        self._sweep_again = True

    def _hold(self) -> None:
        # a beacon goes on: what a frozen POP announces counts for the others
        held = None if self._frozen is None else self._frozen.routes(self._wanted, self._shut) | self._beacons
        self._held = held

    def refused(self, key: Key, now_s: float) -> None:
        """Do not repeat a refused command before some time has passed."""
        self._held_until_s[key] = now_s + REFUSED_AGAIN_AFTER_S

    def learn(self, config: Config, decisions: Mapping[Prefix, Decision], changed: Collection[Prefix]) -> None:
        """Take the decisions on `changed` into what is wanted."""
        self._replaced.look(config, self._bgp.observed.routes)
        self._suspects.add(self._replaced.note(decisions, changed), 0.0)
        levels = {prefix: decisions[prefix].level for prefix in changed}
        drained, eased = {p: decisions[p].drained for p in changed}, {p: decisions[p].prepend for p in changed}
        extras = {prefix: decisions[prefix].extras for prefix in changed}
        routes = wanted_routes(config, levels, changed, drained, eased, extras)
        for name, every in self._wanted.items():
            for prefix in changed:
                if prefix not in routes[name]:
                    every.pop(prefix, None)
            every.update(routes[name])
        self._note_shut(decisions, changed)
        self.fleet.decided(decisions, changed)
        if self._frozen is not None and self._held is not None:
            # not _hold(), which takes 10 ms with 10,000 prefixes, and this is done for each bite of 25
            self._frozen.follow(self._held, self._wanted, self._shut, changed)

    def _note_shut(self, decisions: Mapping[Prefix, Decision], changed: Collection[Prefix]) -> None:
        """Note which neighbors a drain keeps prefixes from; while frozen none is forgotten when its drain ends."""
        for prefix in changed:
            less = decisions[prefix].drained
            shut = frozenset(one.neighbor for one in less if one.level is Level.WITHDRAWN and one.hold is None)
            if self._frozen is not None:
                shut |= self._shut.get(prefix, frozenset())
            if shut:
                self._shut[prefix] = shut
            else:
                self._shut.pop(prefix, None)

    def act(self, changed: Collection[Prefix], now_s: float, *, many: bool) -> None:
        """Compare just these prefixes and say what differs: a failover does not wait for the rest."""
        if self._bgp.observed.routes is not None and changed:
            self._say(changed, now_s, many=many)

    def carry(self, beacons: Mapping[NeighborName, dict[Prefix, Route]], now_s: float) -> None:
        """Take the routes of our beacon for the observers, and say them at once, in this order."""
        known = dict.fromkeys(p for routes in (*beacons.values(), *self._beacons.values()) for p in routes)
        self._beacons = {name: beacons.get(name, {}) for name in self._beacons}
        self._wanted |= self._beacons
        if self._held is not None:
            self._held |= self._beacons
        for prefix in known if self._bgp.observed.routes is not None else ():
            self._say((prefix,), now_s, many=False)

    def look_at(self, prefixes: Collection[Prefix] | None) -> Collection[Prefix]:
        """Have these prefixes compared soon, of which something was heard; or everything, also what nobody wanted.

        Return the prefixes that are to be decided anew, because of what other POPs announce.
        """
        if prefixes is None:
            self._sweep_again = True
        else:
            self._suspects.add((*prefixes, *self._replaced.of(prefixes)), 0.0)
        self.fleet.observed(prefixes)
        return self.fleet.stirred()

    @property
    def _is_busy(self) -> bool:
        return bool(self._suspects) or self._sweep is not None or self._sweep_again

    def work(self, config: Config, undecided: Iterable[Prefix], now_s: float) -> bool:
        """Compare a bite of what is to be compared; with nothing left, send the End-of-RIBs that are due.

        Return whether anything is left to compare.
        """
        self._let_go(now_s)
        observed = self._bgp.observed
        if observed.routes is None:
            # it will be all compared when it is known again
            self._suspects, self._sweep, self._sweep_again = Backlog(), None, False
            return False
        owed = observed.eor_owed
        self._eor_asked_s = {e: at_s for e, at_s in self._eor_asked_s.items() if (e.neighbor, e.family) in owed}
        if self._sweep is None and self._sweep_again:
            self._sweep, self._sweep_again = Sweep(self.wanted, observed), False
        if self._sweep is not None and not self._suspects:
            self._suspects.add(self._sweep.bite(self.wanted, observed), now_s)
            self._sweep = self._sweep or None
        if self._suspects:
            self._say(self._suspects.bite(), now_s, many=self._suspects.is_many)
        if not self._is_busy and owed:
            self._end_ribs(_families(config, undecided), observed, now_s)
        return self._is_busy

    def _let_go(self, now_s: float) -> None:
        """Compare again what was refused, and held for its time."""
        # also while ExaBGP is away: next_s() naming a time that is past would wake the loop a thousand times a second
        for key in [key for key, end_s in self._held_until_s.items() if end_s <= now_s]:
            del self._held_until_s[key]
            self._suspects.add((key[1],), now_s)
        self._suspects.add(self._replaced.over(now_s), now_s)

    def _end_ribs(
        self, undecided: Mapping[NeighborName, frozenset[Family]], observed: BgpObserved, now_s: float
    ) -> None:
        ready = ends_of_rib(self.wanted, observed, undecided, overdue=now_s >= self._eor_overdue_s)
        recent = {end for end, at_s in self._eor_asked_s.items() if now_s - at_s < ASKED_AGAIN_AFTER_S}
        unasked = [end for end in ready if end not in recent]
        self._eor_asked_s |= dict.fromkeys(unasked, now_s)
        if unasked:
            self._bgp.apply(unasked)

    def _say(self, some: Collection[Prefix], now_s: float, *, many: bool) -> None:
        """Say what differs of some prefixes."""
        wanted, observed = only(some, self.wanted, self._bgp.observed)
        held = {key for key, end_s in self._held_until_s.items() if end_s > now_s}
        found = diff(wanted, observed, self._submitted, held, many=many)
        actions = [a for a in found if not (isinstance(a, Withdraw) and self._stays(a))]
        for action in actions:
            if isinstance(action, Announce):
                self._submitted[action.neighbor, action.route.prefix] = action.route
            elif isinstance(action, Withdraw):
                self._submitted[action.neighbor, action.prefix] = None
        if actions:
            self._acted(actions)
            self._bgp.apply(actions)

    def _stays(self, gone: Withdraw) -> bool:
        routes = self._bgp.observed.routes or {}
        return gone.prefix in self.spared or self._replaced.waits(
            gone.neighbor, gone.prefix, self._config, self.wanted, routes
        )

    def unwanted(self, wanted: Routes) -> tuple[str, ...]:
        """Return, in words, what ExaBGP holds though nobody wants it."""
        return unwanted(wanted, self._bgp.observed, self._submitted)

    def next_s(self) -> float | None:
        """Return when a held command may be repeated, or what is replaced has waited for long enough."""
        due = (*self._held_until_s.values(), self._replaced.next_s())
        return min((at_s for at_s in due if at_s is not None), default=None)


def _families(config: Config, prefixes: Iterable[Prefix]) -> dict[NeighborName, frozenset[Family]]:
    """Return which families of which neighbors these prefixes are announced in."""
    found: dict[NeighborName, set[Family]] = {}
    for prefix in prefixes:
        for name in config.prefixes[prefix].neighbors:
            found.setdefault(name, set()).add(family_of(prefix))
    return {name: frozenset(families) for name, families in found.items()}
