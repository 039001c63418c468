"""The wanted elements of the packet filter, kept up change by change, and which of them the kernel may lack. Pure."""

from __future__ import annotations

from collections.abc import Collection

from anycastd.model.nft import Elements, Key, NftChange, NftObserved, NftSet, Value
from anycastd.policy.elements import Wanted
from anycastd.reconcile.nft import ElementKey, differing, ordered

_NOTHING = object()


class WantedElements:
    """Elements that should be there. A key is dirty from its change until it was read back as wanted.

    What is wanted back before the change that led away from it was read back is asked for all the same: that change
    may still be on its way, and nobody would look again.
    """

    def __init__(self) -> None:
        self._sets: dict[NftSet, dict[Key, Value]] = {name: {} for name in NftSet}
        self._dirty: dict[ElementKey, None] = {}
        self._asked: dict[ElementKey, object] = {}
        self._seen: int | None = None
        self._reassigned: set[int] = set()
        self._let_go: set[ElementKey] = set()
        self.version = 0
        """Counts changes of what is wanted."""

    @property
    def elements(self) -> Elements:
        """Return what should be there: a live view."""
        return self._sets

    @property
    def dirty(self) -> Collection[ElementKey]:
        """Return the keys that were not read back as wanted yet: a live view."""
        return self._dirty.keys()

    @property
    def let_go(self) -> Collection[ElementKey]:
        """Return the keys that were wanted here and are not any more, until they were read back as gone: a live view.

        Anything else in the kernel that is not wanted was left by somebody before us.
        """
        return self._let_go

    @property
    def missing(self) -> int:
        """Return how many elements were not read back as wanted, without what somebody before us left."""
        return sum(key in self._let_go or key[1] in self._sets[key[0]] for key in self._dirty)

    def change(self, before: Wanted, after: Wanted) -> None:
        """Want `after` in the place of `before`."""
        if before == after:
            return
        self.version += 1
        for key in before:
            if key not in after:
                del self._sets[key[0]][key[1]]
                self._dirty[key] = None
                self._let_go.add(key)
        for key, value in after.items():
            if key not in before or before[key] != value:
                self._sets[key[0]][key[1]] = value
                self._dirty[key] = None

    def reassign(self, number: int) -> None:
        """Say that a pool number or path mark stands for something else from now on."""
        self._reassigned.add(number)
        self.version += 1

    def changes(self, observed: NftObserved) -> tuple[NftChange, ...]:
        """Return what must be changed, in order; everything is compared only when a full reading was unexpected."""
        if observed.elements is None:
            return ()
        keys = self._dirty if observed.resync == self._seen else None
        self._seen = observed.resync
        self._dirty = dict.fromkeys(differing(self._sets, observed.elements, keys))
        for key, asked in self._asked.items():
            if asked != self._value(key):
                self._dirty[key] = None
        self._asked = {key: self._value(key) for key in self._dirty}
        self._let_go &= self._dirty.keys()
        if not self._dirty:
            self._reassigned.clear()
        return ordered(self._sets, observed.elements, self._dirty, frozenset(self._reassigned))

    def _value(self, key: ElementKey) -> object:
        return self._sets[key[0]].get(key[1], _NOTHING)


def are_there(wanted: Wanted, observed: Elements) -> bool:
    """Return whether all of the elements are in the kernel."""
    for (name, key), value in wanted.items():
        there = observed.get(name, {})
        if key not in there or there[key] != value:
            return False
    return True
