"""Wanted elements: what is asked for, and until when."""

from __future__ import annotations

import pytest

from anycastd.model.nft import DropElement, Key, NftChange, NftObserved, NftSet, PutElement, Value
from anycastd.policy.elements import Wanted
from anycastd.reconcile.wanted import WantedElements

KEY = (NftSet.POOL, 7)


def seen(mark: int | None) -> NftObserved:
    """Return what was read back: one pool, or none."""
    elements: dict[NftSet, dict[Key, Value]] = {name: {} for name in NftSet}
    if mark is not None:
        elements[NftSet.POOL][7] = mark
    return NftObserved(elements, rules=True)


def change_of(mark: int | None) -> NftChange:
    return DropElement(*KEY) if mark is None else PutElement(*KEY, mark)


def of(mark: int | None) -> Wanted:
    return {} if mark is None else {KEY: mark}


@pytest.mark.parametrize(("first", "other"), [(1, 2), (1, None), (None, 1)])
def test_what_is_wanted_back_while_a_change_is_on_its_way_is_asked_for(first: int | None, other: int | None) -> None:
    wanted = WantedElements()
    wanted.change({}, of(first))
    wanted.changes(seen(first))
    assert wanted.changes(seen(first)) == ()
    wanted.change(of(first), of(other))
    assert wanted.changes(seen(first)) == (change_of(other),)
    wanted.change(of(other), of(first))
    assert wanted.changes(seen(first)) == (change_of(first),), "the kernel may get the other one yet"
    assert wanted.changes(seen(first)) == ()


def test_a_change_is_asked_for_until_it_was_read_back() -> None:
    wanted = WantedElements()
    wanted.changes(seen(None))
    wanted.change({}, of(1))
    for _ in range(2):
        assert wanted.changes(seen(None)) == (change_of(1),)
        assert wanted.missing == 1
    assert wanted.changes(seen(1)) == ()
    assert wanted.missing == 0
