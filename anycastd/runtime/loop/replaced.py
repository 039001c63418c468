"""Prefixes that left the file while others of it have their addresses: withdrawn when these are announced.

As when a /24 becomes two /25: without a wait its addresses would have no route until the kernel has the new ones' and
they were read back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from anycastd.model.address import NeighborName, Prefix
from anycastd.model.bgp import Routes
from anycastd.model.decision import Decision, Level
from anycastd.model.topology import Config, PrefixTimers
from anycastd.reconcile.overlap import overlapping
from anycastd.runtime.loop.due import UNDECIDED


class Replaced:
    """What ExaBGP holds of prefixes that others take the place of; none waits longer than its packets are carried."""

    def __init__(self) -> None:
        self._linger_s: Mapping[Prefix, float] = {}
        self._since_s, self._is_due = 0.0, False
        self._by: dict[Prefix, tuple[Prefix, ...]] = {}
        self._olds: dict[Prefix, list[Prefix]] = {}
        self._until_s: dict[Prefix, float] = {}
        self._coming: set[Prefix] = set()

    def configure(self, linger_s: Mapping[Prefix, float], now_s: float) -> None:
        """Take note of a new file; `linger_s` says how long packets of what left it are still carried."""
        self._linger_s, self._since_s, self._is_due = linger_s, now_s, True

    def look(self, config: Config, routes: Routes | None) -> None:
        """Find what the new file replaces among the routes that ExaBGP holds, as soon as these are known."""
        if not self._is_due or routes is None:
            return
        self._is_due = False
        gone = gone_of(config, routes)
        self._by = {old: tuple(new) for old, new in overlapping(gone, config.prefixes.keys()).items()}
        default_s = PrefixTimers().linger_s
        ends_s = {old: self._since_s + self._linger_s.get(old, default_s) for old in self._by}
        self._until_s = ends_s | {old: end_s for old, end_s in self._until_s.items() if old in ends_s}
        self._olds = {}
        for old, news in self._by.items():
            for new in news:
                self._olds.setdefault(new, []).append(old)
        self._coming = set(self._olds)

    def note(self, decisions: Mapping[Prefix, Decision], changed: Collection[Prefix]) -> Iterable[Prefix]:
        """Take the newest decisions; return what is to be compared again for them."""
        found: list[Prefix] = []
        for prefix in changed if self._olds else ():
            if prefix in self._olds:
                one = decisions[prefix]
                coming = one.hold in UNDECIDED or one.wanted is not Level.WITHDRAWN
                if coming is not (prefix in self._coming):
                    (self._coming.add if coming else self._coming.discard)(prefix)
                    found += self._olds[prefix]
        return found

    def of(self, prefixes: Collection[Prefix]) -> list[Prefix]:
        """Return what waits for these, of which something was heard."""
        return [old for prefix in prefixes for old in self._olds.get(prefix, ())] if self._olds else []

    def waits(self, neighbor: NeighborName, prefix: Prefix, config: Config, wanted: Routes, routes: Routes) -> bool:
        """Return whether a neighbor is to keep a prefix, for it does not have what takes its place, and will."""
        want, have = wanted.get(neighbor, {}), routes.get(neighbor, {})
        return any(
            new not in have and neighbor in config.prefixes[new].neighbors and (new in want or new in self._coming)
            for new in self._by.get(prefix, ())
            if new in config.prefixes
        )

    def over(self, now_s: float) -> list[Prefix]:
        """Return what has waited for long enough, and let go of it."""
        ended = [old for old, end_s in self._until_s.items() if end_s <= now_s]
        for old in ended:
            del self._until_s[old], self._by[old]
        return ended

    def next_s(self) -> float | None:
        """Return when one has waited for long enough."""
        return min(self._until_s.values(), default=None)


def gone_of(config: Config, routes: Routes) -> set[Prefix]:
    """Return the prefixes that ExaBGP holds, other than beacons, and the file does not name."""
    observers = {name for name, neighbor in config.neighbors.items() if neighbor.is_observer}
    return {p for name, have in routes.items() if name not in observers for p in have if p not in config.prefixes}
