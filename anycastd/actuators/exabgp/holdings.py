"""What ExaBGP holds: as last read, and as acknowledged since. Pure."""

from __future__ import annotations

from collections.abc import Iterable
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
from anycastd.model.bgp import Announce, Route, Routes, Withdraw

_OF_SOME = (Acked, Refused, Requeued)
_OF_ALL = (HelloSeen, Synced, RoutesSeen, SessionsSeen, SessionSeen, Wedged)


class Holdings:
    """The routes of every neighbor; none are known before the first dump."""

    def __init__(self) -> None:
        self._routes: dict[NeighborName, dict[Prefix, Route]] | None = None
        self.read_at_s: float | None = None

    @property
    def routes(self) -> Routes | None:
        """Return them, as of now, or None before they were read."""
        if self._routes is None:
            return None
        return {name: MappingProxyType(have) for name, have in self._routes.items()}

    def read(self, routes: Routes, now_s: float) -> None:
        """Take what ExaBGP printed."""
        self._routes, self.read_at_s = {name: dict(have) for name, have in routes.items()}, now_s

    def forget(self) -> None:
        """Take note that nothing is known: ExaBGP is another, or has gone."""
        self._routes = None

    def set_neighbors(self, neighbors: Iterable[NeighborName]) -> None:
        """Hold routes of these neighbors only."""
        if self._routes is not None:
            self._routes = {name: self._routes.get(name, {}) for name in neighbors}

    def take(self, action: Announce | Withdraw) -> None:
        """Take an acknowledged change."""
        if self._routes is None:
            return
        have = self._routes.setdefault(action.neighbor, {})
        if isinstance(action, Announce):
            have[action.route.prefix] = action.route
        else:
            have.pop(action.prefix, None)


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
