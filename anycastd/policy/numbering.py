"""Numbers made from content: the same on every POP and after every restart, without any state; collisions told apart.

Each key wishes for a number. Of those that wish for the same one the first in order gets it; the others wish again
with another salt until they find one that nobody has. One key more or less changes the numbers of few others.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Renumbered(Generic[K]):
    """What one key more or less did to others: the numbers they had, and the numbers that changed hands by it."""

    had: dict[K, int] = field(default_factory=dict)
    changed_hands: frozenset[int] = frozenset()


class Numbering(Generic[K]):
    """The numbers of a set of keys. `wish(key, salt)` is a number, `order(key)` a text unlike that of any other key."""

    def __init__(self, wish: Callable[[K, int], int], order: Callable[[K], str], keys: Iterable[K] = ()) -> None:
        self._wish, self._order = wish, order
        self._by_wish: dict[int, list[K]] = {}
        self._others: dict[K, int] = {}
        self._first: dict[K, int] = {}
        for key in keys:
            self.add(key)

    def __getitem__(self, key: K) -> int:
        return self._first[key] if key in self._first else self._others[key]

    def __iter__(self) -> Iterator[K]:
        yield from self._first
        yield from self._others

    def __contains__(self, key: object) -> bool:
        return key in self._first or key in self._others

    def find(self, key: K) -> int | None:
        """Return the number of a key, or None if it is not known."""
        return self._first.get(key, self._others.get(key))

    def add(self, key: K) -> Renumbered[K]:
        """Take a key in that is not known yet."""
        wish = self._wish(key, 0)
        same = self._by_wish.setdefault(wish, [])
        if not same and not self._others:
            same.append(key)
            self._first[key] = wish
            return Renumbered()
        before = self._numbers({*same, *self._others})
        insort(same, key, key=self._order)
        self._tell_apart(same, wish)
        had = self._moved(before)
        now = {self[key], *(self[one] for one in had)}
        return Renumbered(had, frozenset(now.intersection(had.values())))

    def remove(self, key: K) -> Renumbered[K]:
        """Leave a known key out."""
        wish, freed = self._wish(key, 0), self[key]
        same = self._by_wish[wish]
        before = self._numbers({*same, *self._others} - {key})
        same.remove(key)
        self._first.pop(key, None)
        self._others.pop(key, None)
        if not same:
            del self._by_wish[wish]
        self._tell_apart(same, wish)
        had = self._moved(before)
        return Renumbered(had, frozenset({freed, *had.values()}.intersection(self[one] for one in had)))

    def _tell_apart(self, same: list[K], wish: int) -> None:
        for key in same:
            self._first.pop(key, None)
        if same:
            self._first[same[0]] = wish
        losers = {*(key for key in self._others if key not in self._first), *same[1:]}
        self._others, taken = {}, set[int]()
        for key in sorted(losers, key=self._order):
            salt, number = 1, self._wish(key, 1)
            while number in taken or number in self._by_wish:
                salt += 1
                number = self._wish(key, salt)
            taken.add(number)
            self._others[key] = number

    def _numbers(self, keys: Iterable[K]) -> dict[K, int]:
        return {key: self[key] for key in keys}

    def _moved(self, before: dict[K, int]) -> dict[K, int]:
        return {key: number for key, number in before.items() if self[key] != number}
