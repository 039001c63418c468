"""Calls on standbys by beacon: the second way beside the fleet's store, and the only one of a fleet without it."""

from __future__ import annotations

from typing import Protocol

from anycastd.model.address import Prefix
from anycastd.runtime.fleet.link import FleetLink


class Calls(Protocol):
    """How standbys are called on, and who calls."""

    def call(self, prefixes: frozenset[Prefix]) -> None:
        """Call on standbys for these prefixes, and for no others, from now on."""
        ...

    def callers(self, prefix: Prefix) -> tuple[str, ...] | None:
        """Return the other POPs that call on standbys for a prefix; None: it cannot be told."""
        ...

    def silent(self, prefix: Prefix) -> tuple[str, ...]:
        """Return the other POPs that carry a prefix and do not announce it: standbys are among them."""
        ...


class NoCalls:
    """No POP says beacons: nobody calls, and nobody hears us."""

    def call(self, prefixes: frozenset[Prefix]) -> None:
        """Say nothing."""

    def callers(self, prefix: Prefix) -> tuple[str, ...] | None:
        """Return nobody."""
        del prefix
        return ()

    def silent(self, prefix: Prefix) -> tuple[str, ...]:
        """Return nobody."""
        del prefix
        return ()


class BeaconCalls(NoCalls):
    """Calls by the fleet link; while it has no channel configured they are as without."""

    def __init__(self, link: FleetLink) -> None:
        self._link = link

    def call(self, prefixes: frozenset[Prefix]) -> None:
        """Have our beacons call for these prefixes."""
        self._link.call(prefixes)

    def callers(self, prefix: Prefix) -> tuple[str, ...] | None:
        """Return who calls by beacons that are not stale; None: nobody can be heard, or not yet."""
        return self._link.view().callers(prefix) if self._link.is_on else ()

    def silent(self, prefix: Prefix) -> tuple[str, ...]:
        """Return who says that it does not announce a prefix that it has."""
        return self._link.view().silent(prefix) if self._link.is_on else ()
