"""What ExaBGP holds: as last read, and as acknowledged since. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from anycastd.actuators.exabgp.events import Acked, Refused, Requeued, Wedged
from anycastd.actuators.exabgp.link import (
    HelloSeen,
    LinkEvent,
    RoutesSeen,
    SessionSeen,
    SessionsSeen,
    Synced,
)
from anycastd.actuators.exabgp.queue import key_of
from anycastd.model.address import NeighborName, Prefix
from anycastd.model.bgp import (
    Announce,
    AnnounceFlow,
    FilterKey,
    FilterRoutes,
    FlowRoute,
    Route,
    Routes,
    Withdraw,
    WithdrawFlow,
)

Change = Announce | Withdraw | AnnounceFlow | WithdrawFlow

_OF_SOME = (Acked, Refused, Requeued)
_OF_ALL = (HelloSeen, Synced, RoutesSeen, SessionsSeen, SessionSeen, Wedged)


class Holdings:
    """The routes of every neighbor, and apart from them its filters; none are known before the first dump."""

    def __init__(self) -> None:
        self._routes: dict[NeighborName, dict[Prefix, Route]] | None = None
        self._filters: dict[NeighborName, dict[FilterKey, Route | FlowRoute]] = {}
        self.read_at_s: float | None = None

    @property
    def routes(self) -> Routes | None:
        """Return them, as of now, or None before they were read."""
        if self._routes is None:
            return None
        return {name: MappingProxyType(have) for name, have in self._routes.items()}

    @property
    def filters(self) -> FilterRoutes | None:
        """Return blackholes and flow rules, which announce no prefix, or None before they were read."""
        if self._routes is None:
            return None
        return {name: MappingProxyType(have) for name, have in self._filters.items()}

    def read(self, routes: Routes, flows: Mapping[NeighborName, Mapping[str, FlowRoute]], now_s: float) -> None:
        """Take what ExaBGP printed."""
        self._routes, self._filters, self.read_at_s = {}, {}, now_s
        for name, have in routes.items():
            self._routes[name] = {prefix: one for prefix, one in have.items() if not one.is_blackhole}
            filters: dict[FilterKey, Route | FlowRoute] = {p: one for p, one in have.items() if one.is_blackhole}
            filters.update(flows.get(name, {}))
            self._filters[name] = filters

    def forget(self) -> None:
        """Take note that nothing is known: ExaBGP is another, or has gone."""
        self._routes = None

    def set_neighbors(self, neighbors: Iterable[NeighborName]) -> None:
        """Hold routes of these neighbors only."""
        if self._routes is not None:
            names = tuple(neighbors)
            self._routes = {name: self._routes.get(name, {}) for name in names}
            self._filters = {name: self._filters.get(name, {}) for name in names}

    def take(self, action: Change) -> None:
        """Take an acknowledged change."""
        if self._routes is None:
            return
        have = self._routes.setdefault(action.neighbor, {})
        filters = self._filters.setdefault(action.neighbor, {})
        what = key_of(action)[1]
        filters.pop(what, None)
        if not isinstance(what, str):
            have.pop(what, None)
        if isinstance(action, AnnounceFlow):
            filters[what] = action.flow
        elif isinstance(action, Announce) and action.route.is_blackhole:
            filters[what] = action.route
        elif isinstance(action, Announce):
            have[action.route.prefix] = action.route


def touched(events: Iterable[LinkEvent]) -> frozenset[Prefix] | bool:
    """Return of which prefixes something else may be observed after these events; True: of all, False: of none.

    An answer says something of its own prefixes only: comparing thousands at each would hold up what is urgent.
    """
    prefixes: set[Prefix] = set()
    changed = False
    for event in events:
        if isinstance(event, _OF_ALL):
            return True
        if isinstance(event, _OF_SOME):
            changed = True
            what = key_of(event.action)[1]
            if not isinstance(what, str):
                prefixes.add(what)
    return changed and frozenset(prefixes)
