"""Wanted against observed elements of the packet filter, to changes in an order in which no packet meets a gap. Pure.

An EIP is looked up in turn: its prefix, EIP, pool or slot, path. What a lookup leads to is put before what leads to
it, and goes after it. What makes packets be dropped on purpose is put first and goes once there is something better.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network

from anycastd.model.nft import DropElement, Elements, Key, NftChange, NftObserved, NftSet, PutElement, Value
from anycastd.reconcile.overlap import overlapping

ElementKey = tuple[NftSet, Key]

_PUTS: tuple[tuple[str, ...], ...] = (
    ("idle", "dark"),
    ("translated",),
    ("nat", "port", "hide"),
    ("slot", "pool"),
    ("in", "new", "out", "limin", "limout", "pong", "class"),
    # an EIP that becomes untracked must have left its translated paths before, and one that enters them be tracked
    ("-free",),
    ("eip",),
    ("free", "loose"),
    ("own",),
)
_DROPS: tuple[tuple[str, ...], ...] = (
    ("idle", "dark"),
    ("own",),
    ("eip",),
    ("in", "new", "out", "limin", "limout", "pong", "class"),
    ("slot", "pool"),
    ("nat", "port", "hide"),
    ("translated",),
)


def _ranks(groups: Iterable[tuple[str, ...]], sign: str = "") -> dict[NftSet, int]:
    ranks = {sign + name: rank for rank, names in enumerate(groups) for name in names}
    found = {one: ranks.get(sign + one.value.rstrip("46"), -1) for one in NftSet}
    return {one: rank for one, rank in found.items() if rank >= 0}


_PUT_RANK = _ranks(_PUTS)
_UNTRACKED = (NftSet.FREE4, NftSet.FREE6, NftSet.LOOSE4, NftSet.LOOSE6)
_DROP_RANK = _ranks(_DROPS) | dict.fromkeys(_UNTRACKED, -1)
_FREE_DROP_RANK = next(rank for rank, names in enumerate(_PUTS) if "-free" in names)
_FIRST, _CLEARED, _AGAIN, _LAST = range(4)


def diff(
    wanted: Elements,
    observed: NftObserved,
    keys: Iterable[ElementKey] | None = None,
    reassigned: frozenset[int] = frozenset(),
) -> tuple[NftChange, ...]:
    """Return what must be changed, in order; nothing before the first read. With `keys` only those are compared.

    `observed` holds only sets of ours, so nothing foreign is ever named. `reassigned` are pool numbers and path marks
    that stand for something else than before: they are used anew only when nothing leads to them any more.
    """
    if observed.elements is None:
        return ()
    return ordered(wanted, observed.elements, differing(wanted, observed.elements, keys), reassigned)


def differing(wanted: Elements, observed: Elements, keys: Iterable[ElementKey] | None = None) -> list[ElementKey]:
    """Return the keys, of `keys` or of all, whose wanted and observed elements are not the same."""
    if keys is not None:
        return [key for key in keys if not _same(wanted, observed, key)]
    found = []
    for name in NftSet:
        ours, theirs = wanted.get(name, {}), observed.get(name, {})
        if ours != theirs:
            found += [(name, key) for key in ours if key not in theirs or ours[key] != theirs[key]]
            found += [(name, key) for key in theirs if key not in ours]
    return found


def _same(wanted: Elements, observed: Elements, key: ElementKey) -> bool:
    ours, theirs = wanted.get(key[0], {}), observed.get(key[0], {})
    return (key[1] in ours) == (key[1] in theirs) and ours.get(key[1]) == theirs.get(key[1])


def ordered(
    wanted: Elements, observed: Elements, keys: Iterable[ElementKey], reassigned: frozenset[int] = frozenset()
) -> tuple[NftChange, ...]:
    """Return the changes of keys that differ, in order."""
    ranked: list[tuple[tuple[int, int], NftChange]] = []
    for name, key in keys:
        if key in wanted.get(name, {}):
            value = wanted[name][key]
            again = reassigned and not reassigned.isdisjoint(_numbers(name, key, value))
            ranked.append(((_AGAIN if again else _FIRST, _PUT_RANK[name]), PutElement(name, key, value)))
        else:
            ranked.append((_drop_rank(name, key, reassigned), DropElement(name, key)))
    ranked.sort(key=lambda pair: pair[0])
    return _apart(change for _, change in ranked)


def _drop_rank(name: NftSet, key: Key, reassigned: frozenset[int]) -> tuple[int, int]:
    if name in _UNTRACKED:
        return (_FIRST, _FREE_DROP_RANK)
    # an EIP that goes may still lead to a number that is another's in a moment
    cleared = name in _EIPS or not reassigned.isdisjoint(_numbers(name, key, None))
    return (_CLEARED if reassigned and cleared else _LAST, _DROP_RANK[name])


def _numbers(name: NftSet, key: Key, value: Value) -> tuple[int, ...]:
    """Return the pool numbers and path marks that an element is of or leads to."""
    first = key[0] if isinstance(key, tuple) else key
    led = value if name in _LEADING and isinstance(value, int) else None
    return tuple(one for one in (first, led) if isinstance(one, int))


_EIPS = frozenset({NftSet.EIP4, NftSet.EIP6})
_LEADING = _EIPS | {NftSet.POOL, NftSet.SLOT}


def _apart(changes: Iterable[NftChange]) -> tuple[NftChange, ...]:
    """Put the drop of a prefix right before the put of one that overlaps it: the kernel refuses both at once."""
    plan = list(changes)
    puts, drops = (
        {one.key for one in plan if isinstance(one, kind) and isinstance(one.key, IPv4Network | IPv6Network)}
        for kind in (PutElement, DropElement)
    )
    early = overlapping(drops, puts)
    if not early:
        return tuple(plan)
    firsts = [one for one in plan if isinstance(one, DropElement) and one.key in early]
    rest = [one for one in plan if not (isinstance(one, DropElement) and one.key in early)]
    at = next(number for number, one in enumerate(rest) if isinstance(one, PutElement) and one.key in puts)
    return (*rest[:at], *firsts, *rest[at:])
