"""What is large is freed in pieces, and others have their turns between."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from anycastd.runtime.traffic.letting_go import FREED_AT_ONCE, let_go


@pytest.mark.parametrize("make", [lambda n: list(range(n)), lambda n: dict.fromkeys(range(n))])
@pytest.mark.parametrize("size", [0, 1, FREED_AT_ONCE, 3 * FREED_AT_ONCE + 1])
async def test_a_pile_goes_a_piece_a_turn(make: Any, size: int) -> None:
    pile, seen = make(size), []
    going = asyncio.ensure_future(let_go(pile))
    while not going.done():
        seen.append(len(pile))
        await asyncio.sleep(0)
    assert not pile
    assert all(before - after <= FREED_AT_ONCE for before, after in pairwise(seen))
    assert len(seen) > size // FREED_AT_ONCE
