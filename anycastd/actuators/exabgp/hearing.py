"""What observers say, as ExaBGP prints it, into values: beacons are few, and whatever else comes costs next to nothing.

An observer may send anything: a whole table, what is malformed, the same a thousand times a second. No line is read
that is too long, or that comes when its observer has used up what it may say; each is counted. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from anycastd.actuators.exabgp.dump import SEQUENCE
from anycastd.model.address import Address, NeighborName, Prefix
from anycastd.model.bgp import Heard

LINE_LIMIT = 1 << 16
PER_S = 500.0
"""UPDATEs of one observer that are read in a second, or beacons, where they come several in one: 50 POPs that say 10
each. One takes some 0.2 ms."""
BURST = 1000.0
NLRI_LIMIT = 64
"""Prefixes of one UPDATE that are looked at; our beacons come one by one, or a few that are withdrawn together."""
_PEER = '"peer": "'
# a number that is too large is an OverflowError, brackets without end are a RecursionError
_OTHER_FORM = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, IndexError)


@dataclass(slots=True)
class Ear:
    """One observer: how much more it may say now, and what was made of what it said."""

    left: float = BURST
    at_s: float = 0.0
    heard: int = 0
    foreign: int = 0
    """UPDATEs without any beacon."""
    unreadable: int = 0
    flooded: int = 0
    """UPDATEs that were not read, because there were too many."""


class Hearing:
    """Listens to observers; `networks` are where beacons have their addresses."""

    def __init__(self, observers: Mapping[Address, NeighborName], networks: Collection[Prefix]) -> None:
        self.ears = {name: Ear() for name in observers.values()}
        self.configure(observers, networks)

    def configure(self, observers: Mapping[Address, NeighborName], networks: Collection[Prefix]) -> None:
        """Listen to these; what was counted of those that stay is kept."""
        self._observers, self._networks = dict(observers), tuple(networks)
        self.ears = {name: self.ears.get(name, Ear()) for name in observers.values()}

    def take(self, line: str, now_s: float) -> tuple[Heard, ...]:
        """Return what an UPDATE says of beacons."""
        peer = _peer(line)
        name = None if peer is None else self._observers.get(peer)
        if name is None:
            return ()
        ear = self.ears[name]
        if len(line) > LINE_LIMIT:
            ear.unreadable += 1
            return ()
        ear.left = min(ear.left + (now_s - ear.at_s) * PER_S, BURST)
        ear.at_s = now_s
        if ear.left < 1:
            ear.flooded += 1
            return ()
        ear.left -= 1
        try:
            found = tuple(self._read(name, json.loads(line)))
        except _OTHER_FORM:
            ear.unreadable += 1
            return ()
        if found:
            ear.heard += 1
            ear.left -= len(found) - 1
        else:
            ear.foreign += 1
        return found

    def _read(self, name: NeighborName, said: Any) -> Iterator[Heard]:
        """Yield what is said; raise something of _OTHER_FORM."""
        update = said["neighbor"]["message"].get("update", {})
        for of_family in update.get("withdraw", {}).values():
            for prefix in self._beacons(of_family):
                yield Heard(name, prefix, None)
        announced = [nlri for hops in update.get("announce", {}).values() for nlri in hops.values()]
        prefixes = [prefix for listed in announced for prefix in self._beacons(listed)]
        if not prefixes:
            return
        attribute = update["attribute"]
        communities = tuple(":".join(str(int(part)) for part in one) for one in attribute.get("large-community", ()))
        path, originator = _as_path(attribute.get("as-path", {})), str(attribute.get("originator-id", ""))
        for prefix in prefixes:
            yield Heard(name, prefix, communities, path, originator)

    def _beacons(self, listed: list[Any]) -> Iterator[Prefix]:
        for nlri in listed[:NLRI_LIMIT]:
            prefix = ip_network(str(nlri["nlri"]))
            if any(prefix.version == net.version and prefix.network_address in net for net in self._networks):
                yield prefix


def _peer(line: str) -> Address | None:
    """Return who said it, as ExaBGP itself writes before anything that was said."""
    _, found, rest = line[:LINE_LIMIT].partition(_PEER)
    try:
        return ip_address(rest[: rest.index('"')]) if found else None
    except ValueError:
        return None


def _as_path(segments: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the AS path; 0, which is no AS, stands for a set or confederation, of which we make none."""
    path: list[int] = []
    for number in sorted(segments, key=int):
        one = segments[number]
        path += map(int, one["value"]) if one["element"] == SEQUENCE else [0]
    return tuple(path)
