"""A packet filter as far as the plane of EIPs is concerned: its elements, what changes make of them, and a lookup."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from anycastd.model.address import Address
from anycastd.model.nft import (
    BUCKETS,
    REGION_MASK,
    DropElement,
    Elements,
    Key,
    NftChange,
    NftObserved,
    NftSet,
    Value,
)
from anycastd.policy.elements import SETS

Tables = dict[NftSet, dict[Key, Value]]


def tables(elements: Elements | None = None) -> Tables:
    """Return a copy that can be changed."""
    return {name: dict((elements or {}).get(name, {})) for name in NftSet}


def apply(there: Tables, changes: Iterable[NftChange]) -> None:
    """Change the tables as the kernel would: a drop of what is not there, or an overlap of prefixes, is refused."""
    for change in changes:
        one = there[change.set]
        if isinstance(change, DropElement):
            del one[change.key]
        else:
            if change.set in (NftSet.OWN4, NftSet.OWN6):
                others = [prefix for prefix in one if prefix != change.key]
                assert not any(prefix.overlaps(change.key) for prefix in others), change  # type: ignore[union-attr,arg-type]
            one[change.key] = change.value


def observed(there: Elements, resync: int = 0) -> NftObserved:
    return NftObserved(there, True, resync)


@dataclass(frozen=True)
class Way:
    """Where a new connection to an EIP goes: a mark, the backend's address if it is translated, and ours if hidden."""

    mark: int
    backend: Address | None
    hidden_as: Address | None


def ways(there: Elements, address: Address) -> frozenset[Way] | None:
    """Return every way that a new connection to the EIP may take; None if any bucket's packets would be dropped.

    As the constant rules do it: own, idle, dark, let in, EIP, pool, else slot; translated paths need an address.
    """
    sets = SETS[address.version]
    if not any(address in prefix for prefix in there[sets.own]):  # type: ignore[operator]
        return None
    if address in there[sets.idle] or address in there[sets.dark] or address not in there[sets.let_in]:
        return None
    pool = there[sets.eip].get(address)
    if not isinstance(pool, int):
        return None
    single = there[NftSet.POOL].get(pool)
    marks = [single] if single is not None else [there[NftSet.SLOT].get((pool, one)) for one in range(BUCKETS)]
    found = {_way(there, mark, address) for mark in marks}
    return None if None in found else frozenset(way for way in found if way is not None)


def _way(there: Elements, mark: Value, address: Address) -> Way | None:
    if not isinstance(mark, int) or not mark & REGION_MASK:
        return None
    sets = SETS[address.version]
    if mark not in there[NftSet.TRANSLATED]:
        return Way(mark, None, None)
    backend, hidden = there[sets.nat].get(mark), there[sets.hide].get(mark)
    if address in there[sets.free] or backend is None or isinstance(backend, int | tuple):
        return None
    return Way(mark, backend, hidden)  # type: ignore[arg-type]
