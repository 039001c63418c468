"""Which prefixes have addresses in common: against the library's own, two by two."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.model.address import Prefix
from anycastd.reconcile.overlap import overlapping


def _net(version: int, low: int, length: int) -> Prefix:
    # few bits, so that many of them meet
    if version == 4:
        return IPv4Network(((low << 24) & (0xFFFFFFFF << (32 - length)), length))
    bits = 128 - length
    return IPv6Network((((low << 120) >> bits) << bits, length))


PREFIXES = st.frozensets(st.builds(_net, st.sampled_from((4, 6)), st.integers(0, 255), st.integers(0, 12)), max_size=12)


@given(PREFIXES, PREFIXES)
@settings(max_examples=200)
def test_each_is_found_with_all_it_overlaps(some: frozenset[Prefix], others: frozenset[Prefix]) -> None:
    expected = {one: {other for other in others if _meet(one, other)} for one in some}
    found = {one: set(with_) for one, with_ in overlapping(some, others).items()}
    assert found == {one: with_ for one, with_ in expected.items() if with_}


def _meet(one: Prefix, other: Prefix) -> bool:
    return one.version == other.version and one.overlaps(other)
