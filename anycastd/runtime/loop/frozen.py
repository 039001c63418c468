"""What the neighbors are sent while announcements are frozen. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from anycastd.model.address import NeighborName, Prefix
from anycastd.model.bgp import BgpObserved, Route, Routes, SpeakerState
from anycastd.reconcile.bgp import Key

Shut = Mapping[Prefix, frozenset[NeighborName]]


@dataclass(frozen=True, slots=True)
class Frozen:
    """The routes of one moment, by neighbor."""

    kept: Mapping[NeighborName, Mapping[Prefix, Route]]

    @classmethod
    def now(cls, observed: BgpObserved, submitted: Mapping[Key, Route | None], wanted: Routes) -> Frozen:
        """Return what is sent now; a command that is on its way counts as done, for it cannot be called back.

        Of an ExaBGP that is away or still being told, what it should be sent is meant: it will be put back.
        """
        if observed.speaker is not SpeakerState.READY or observed.routes is None:
            return cls({name: dict(routes) for name, routes in wanted.items()})
        # what was wanted before and is not there yet is on its way: an ExaBGP of a moment ago may be half told
        names = {*wanted, *observed.routes}
        kept = {name: {**wanted.get(name, {}), **observed.routes.get(name, {})} for name in names}
        for name, prefix in observed.in_flight:
            if (name, prefix) not in submitted:
                continue
            if (route := submitted[name, prefix]) is None:
                kept.setdefault(name, {}).pop(prefix, None)
            else:
                kept.setdefault(name, {})[prefix] = route
        return cls(kept)

    def routes(self, wanted: Routes, shut: Shut) -> dict[NeighborName, dict[Prefix, Route]]:
        """Return what is to be sent: what is kept, and of prefixes that nobody was sent what the rules let through.

        `shut` are the neighbors that an operator's drain kept a prefix from: its end is not followed either.
        """
        known = {prefix for routes in self.kept.values() for prefix in routes}
        names = {*self.kept, *wanted}
        fresh = {
            name: {
                prefix: route
                for prefix, route in wanted.get(name, {}).items()
                if prefix not in known and name not in shut.get(prefix, ())
            }
            for name in names
        }
        return {name: {**self.kept.get(name, {}), **fresh[name]} for name in names}

    def follow(
        self, held: dict[NeighborName, dict[Prefix, Route]], wanted: Routes, shut: Shut, some: Iterable[Prefix]
    ) -> None:
        """Bring what `routes` made up to date with what is wanted of some prefixes; the rest costs nothing."""
        for prefix in some:
            if any(prefix in routes for routes in self.kept.values()):
                continue
            for name, routes in held.items():
                route = None if name in shut.get(prefix, ()) else wanted.get(name, {}).get(prefix)
                if route is None:
                    routes.pop(prefix, None)
                else:
                    routes[prefix] = route
