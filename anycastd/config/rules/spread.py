"""Standbys: who can call on them, and who would be left without them."""

from __future__ import annotations

from anycastd.config.rules.findings import Findings
from anycastd.model.address import family_of
from anycastd.model.spread import Announce
from anycastd.model.store import StoreKind
from anycastd.model.topology import LastResort, Role


def standby_neighbors(found: Findings) -> None:
    """An observer is sent no prefixes, and every prefix has a neighbor that always carries it."""
    standby = set()
    for name, neighbor in found.root.neighbors.items():
        if neighbor.announce is Announce.STANDBY:
            standby.add(name)
            if neighbor.role is Role.OBSERVER:
                found.error(("neighbors", name, "announce"), "an observer is sent beacons only, and at all times")
    for path, prefix, section in found.prefixes():
        carriers = {
            name
            for name, one in found.root.neighbors.items()
            if family_of(prefix) in (one.families or (family_of(one.address),))
            and one.role is not Role.OBSERVER
            and (section.neighbors is None or name in section.neighbors)
        }
        if carriers and carriers <= standby and found.whole("neighbors"):
            found.error(path, f"only standby neighbors carry it: {', '.join(sorted(carriers))}", at_key=True)


def standby_prefixes(found: Findings) -> None:
    """A standby prefix is called on through the fleet's store or by beacons, and leaves by the word of others."""
    hears = found.root.fleet is not None and any(one.role is Role.OBSERVER for one in found.root.neighbors.values())
    for path, _, section in found.prefixes():
        if section.announce is not Announce.STANDBY:
            continue
        place = (*path, "announce")
        if found.root.store.kind is StoreKind.EMBEDDED and not hears:
            words = "no other POP can call on it: no fleet's store and no observer, so only an operator makes it join"
            found.warn(place, words)
        if found.root.fleet is None and section.last_resort is not LastResort.WITHDRAW:
            found.warn(
                place, "there is no fleet that could confirm others: once it has joined it never leaves by itself"
            )


RULES = (standby_neighbors, standby_prefixes)
