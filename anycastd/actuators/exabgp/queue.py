"""Actions that wait to be written to ExaBGP: the most urgent first, the newest for each prefix, bulk in bunches. Pure.

Two changes of one prefix are kept apart, because ExaBGP 5.0.15 sorts what it has not yet sent by attributes: told A, B
and A again within one turn it sends A, then B, and prints A in its adj-rib-out (measured).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import count

from anycastd.model.address import NeighborName, Prefix
from anycastd.model.bgp import Announce, AnnounceFlow, BgpAction, EndOfRib, Priority, Route, WithdrawFlow

Key = tuple[NeighborName, Prefix | str]
"""A prefix, or in text the family of an End-of-RIB or the key of a flow rule."""

APART_S = 0.05
"""How long after the answer to a change of a prefix the next announcement of it waits; a withdrawal never waits."""
BUNCH = {Priority.WITHDRAW: 100, Priority.FAILOVER: 100}
"""Prefixes with equal attributes in one command; the rest goes in small bunches, as urgent ones wait behind it."""
BUNCH_ELSE = 16
PRUNE_ABOVE = 1000


def key_of(action: BgpAction) -> Key:
    """Return what an action is about; a newer action replaces an older one about the same."""
    if isinstance(action, Announce):
        return action.neighbor, action.route.prefix
    if isinstance(action, EndOfRib):
        return action.neighbor, action.family
    if isinstance(action, AnnounceFlow | WithdrawFlow):
        return action.neighbor, action.flow.key
    return action.neighbor, action.prefix


def priority_of(action: BgpAction) -> Priority:
    """Return an action's urgency; End-of-RIB comes after every route."""
    return Priority.BULK if isinstance(action, EndOfRib) else action.priority


@dataclass(slots=True, eq=False)
class Entry:
    """One action that waits or is under way."""

    action: BgpAction
    queued_s: float
    number: int
    alone: bool = False
    """Not to be bunched: a bunch with it was refused, and ExaBGP refuses a bunch for one bad member."""


class Unended(AbstractSet[tuple[NeighborName, Prefix]]):
    """The prefixes with an action not yet ended, as of now: a copy of thousands at each look would cost 4 ms."""

    def __init__(self, waiting: Mapping[Key, Entry], busy: Mapping[Key, Entry]) -> None:
        self._waiting, self._busy = waiting, busy

    def __contains__(self, key: object) -> bool:
        return key in self._waiting or key in self._busy

    def __iter__(self) -> Iterator[tuple[NeighborName, Prefix]]:
        for keys in (self._waiting, (key for key in self._busy if key not in self._waiting)):
            for name, what in keys:
                if not isinstance(what, str):
                    yield name, what

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return any(True for _ in self)


_Likeness = tuple[object, ...]


def _likeness(action: BgpAction) -> _Likeness:
    """Return what must be equal for two actions to share a command."""
    if isinstance(action, EndOfRib):
        return ("eor", action.neighbor, action.family)
    if isinstance(action, AnnounceFlow | WithdrawFlow):
        return ("flow", action)
    if isinstance(action, Announce):
        r: Route = action.route
        attributes = (r.next_hop, r.as_path, r.med, r.local_preference, r.communities, r.large_communities)
        return ("announce", action.neighbor, action.priority, r.prefix.version, *attributes)
    return ("withdraw", action.neighbor, action.priority, action.prefix.version, action.next_hop)


class ActionQueue:
    """What waits, by urgency and age."""

    def __init__(self) -> None:
        self._waiting: dict[Key, Entry] = {}
        self._heap: list[tuple[int, int, Entry]] = []
        self._deferred: list[tuple[float, int, Entry]] = []
        self._alike: dict[_Likeness, dict[Key, Entry]] = {}
        self._busy: dict[Key, Entry] = {}
        self._apart_until_s: dict[Key, float] = {}
        self._numbers = count()
        self.unended = Unended(self._waiting, self._busy)

    def __len__(self) -> int:
        return len(self._waiting)

    def last_word(self, action: BgpAction) -> BgpAction | None:
        """Return the newest action, not yet ended, about the same as this one."""
        key = key_of(action)
        entry = self._waiting.get(key) or self._busy.get(key)
        return entry.action if entry is not None else None

    def put(self, action: BgpAction, now_s: float, *, alone: bool = False) -> BgpAction | None:
        """Add an action; return the one it replaces, which was not yet written."""
        key = key_of(action)
        old = self._waiting.pop(key, None)
        if old is not None:
            self._forget_likeness(key, old)
        entry = Entry(action, now_s, next(self._numbers), alone)
        self._waiting[key] = entry
        if not alone:
            self._alike.setdefault(_likeness(action), {})[key] = entry
        if key not in self._busy:
            self._push(entry)
        return old.action if old is not None else None

    def put_back(
        self, entries: Iterable[Entry], now_s: float, *, alone: bool = False
    ) -> tuple[list[Entry], list[Entry]]:
        """End the way of written entries without an answer: queue again, but not over a newer action for the same.

        Return those queued again and those a newer action stands for.
        """
        again, superseded = [], []
        for entry in entries:
            key = key_of(entry.action)
            self._release(key)
            if key in self._waiting:
                superseded.append(entry)
            else:
                self.put(entry.action, now_s, alone=alone)
                self._waiting[key].queued_s = entry.queued_s
                again.append(entry)
        return again, superseded

    def top(self, now_s: float) -> BgpAction | None:
        """Return the most urgent of what may be written now, or None."""
        self._undefer(now_s)
        while self._heap:
            entry = self._heap[0][2]
            if self._may_go(entry, now_s):
                return entry.action
            heapq.heappop(self._heap)
        return None

    def take(self, now_s: float, room: int) -> list[Entry]:
        """Return entries for one command, at most `room` of them, the most urgent and others like it."""
        if self.top(now_s) is None:
            return []
        first = heapq.heappop(self._heap)[2]
        bunch = [first]
        if not first.alone and not isinstance(first.action, EndOfRib):
            limit = min(BUNCH.get(priority_of(first.action), BUNCH_ELSE), room)
            for entry in self._alike.get(_likeness(first.action), {}).values():
                if len(bunch) >= limit:
                    break
                if entry is not first and self._is_free(entry, now_s):
                    bunch.append(entry)
        for entry in bunch:
            key = key_of(entry.action)
            del self._waiting[key]
            self._forget_likeness(key, entry)
            self._busy[key] = entry
        return bunch

    def ended(self, entries: Iterable[Entry], now_s: float) -> None:
        """Take note that written entries were answered."""
        for entry in entries:
            key = key_of(entry.action)
            self._apart_until_s[key] = now_s + APART_S
            self._release(key)
        if len(self._apart_until_s) > PRUNE_ABOVE:
            self._apart_until_s = {k: at_s for k, at_s in self._apart_until_s.items() if at_s > now_s}

    def deadline_s(self) -> float | None:
        """Return when something deferred may go."""
        return self._deferred[0][0] if self._deferred else None

    def drop(self, neighbors: frozenset[NeighborName]) -> list[BgpAction]:
        """Forget what waits for these neighbors, which are no longer configured."""
        return self._forget([key for key in self._waiting if key[0] in neighbors])

    def drop_all(self) -> list[BgpAction]:
        """Forget all that waits: it was meant for an ExaBGP that is no more."""
        return self._forget(list(self._waiting))

    def _forget(self, gone: list[Key]) -> list[BgpAction]:
        entries = [self._waiting.pop(key) for key in gone]
        for key, entry in zip(gone, entries, strict=True):
            self._forget_likeness(key, entry)
        return [entry.action for entry in entries]

    def _release(self, key: Key) -> None:
        self._busy.pop(key, None)
        if (next_one := self._waiting.get(key)) is not None:
            self._push(next_one)

    def _push(self, entry: Entry) -> None:
        heapq.heappush(self._heap, (priority_of(entry.action), entry.number, entry))

    def _forget_likeness(self, key: Key, entry: Entry) -> None:
        likeness = _likeness(entry.action)
        alike = self._alike.get(likeness)
        if alike is not None and alike.get(key) is entry:
            del alike[key]
            if not alike:
                del self._alike[likeness]

    def _is_free(self, entry: Entry, now_s: float) -> bool:
        key = key_of(entry.action)
        apart = isinstance(entry.action, Announce | AnnounceFlow) and self._apart_until_s.get(key, 0.0) > now_s
        return self._waiting.get(key) is entry and key not in self._busy and not apart

    def _may_go(self, entry: Entry, now_s: float) -> bool:
        if self._is_free(entry, now_s):
            return True
        key = key_of(entry.action)
        if self._waiting.get(key) is entry and key not in self._busy:
            heapq.heappush(self._deferred, (self._apart_until_s[key], entry.number, entry))
        return False

    def _undefer(self, now_s: float) -> None:
        while self._deferred and self._deferred[0][0] <= now_s:
            entry = heapq.heappop(self._deferred)[2]
            if self._waiting.get(key_of(entry.action)) is entry:
                self._push(entry)
