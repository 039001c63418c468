"""Buckets: exact quotas, the same everywhere, and few of them move."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.model.address import BackendId, RegionName
from anycastd.model.eip import Mode, Path, Share
from anycastd.model.nft import BUCKETS
from anycastd.policy.slots import fill


def paths(count: int, name: str = "b") -> list[Path]:
    return [Path(BackendId(f"eu/{name}{n}"), RegionName("eu"), Mode.DNAT, (), 1, n + 1) for n in range(count)]


def equal(them: list[Path]) -> list[Share]:
    least, more = divmod(BUCKETS, len(them))
    return [Share(path, least + (n < more)) for n, path in enumerate(them)]


def moved(one: tuple[Path, ...], other: tuple[Path, ...]) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


@st.composite
def quotas(draw: st.DrawFn) -> list[Share]:
    cuts = sorted(draw(st.sets(st.integers(1, BUCKETS - 1), max_size=7)))
    sizes = [end - start for start, end in zip([0, *cuts], [*cuts, BUCKETS], strict=True)]
    return [Share(path, size) for path, size in zip(paths(len(sizes)), sizes, strict=True)]


@given(quotas(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_quotas_are_exact_and_the_order_of_the_shares_does_not_matter(shares: list[Share], luck: object) -> None:
    filled = fill(shares)
    assert Counter(filled) == {share.path: share.buckets for share in shares}
    assert fill(reversed(shares)) == filled


def test_the_same_on_every_pop_and_after_every_upgrade() -> None:
    filled = fill(equal(paths(4)))
    assert (
        "".join(path.backend[-1] for path in filled)
        == "1111001223213030200002211113130123320321003022333211233002321203"
    )


def test_the_number_of_a_path_does_not_decide_its_buckets() -> None:
    """Numbers told apart after a collision may differ between POPs."""
    shares = equal(paths(3))
    other = [Share(replace(share.path, number=share.path.number + 1000), share.buckets) for share in shares]
    assert [path.backend for path in fill(shares)] == [path.backend for path in fill(other)]


@pytest.mark.parametrize(("count", "besides"), [(2, 0), (3, 4), (4, 5), (8, 7), (16, 9), (32, 10)])
def test_when_one_of_equals_leaves_little_else_moves(count: int, besides: int) -> None:
    for draw in range(10):
        them = paths(count, f"{draw}-")
        before, after = fill(equal(them)), fill(equal(them[1:]))
        assert moved(before, after) <= Counter(before)[them[0]] + besides


def test_a_change_of_weight_moves_just_the_difference_between_two() -> None:
    one, other = paths(2)
    before, after = fill([Share(one, 32), Share(other, 32)]), fill([Share(one, 38), Share(other, 26)])
    assert moved(before, after) == 6
