"""Who goes first when several POPs want to drain a prefix: an order that is the same on all of them, and differs from
prefix to prefix. Pure."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

from anycastd.model.address import Prefix


@lru_cache(maxsize=1 << 14)
def rank(prefix: Prefix, pop: int) -> tuple[bytes, int]:
    """Return the rank of a POP for a prefix; the lower goes first."""
    return blake2b(f"{prefix} {pop}".encode(), digest_size=8).digest(), pop
