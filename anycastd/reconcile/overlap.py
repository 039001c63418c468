"""Which prefixes have addresses in common. Pure."""

from __future__ import annotations

from collections.abc import Collection

from anycastd.model.address import Prefix


def overlapping(some: Collection[Prefix], others: Collection[Prefix]) -> dict[Prefix, list[Prefix]]:
    """Return those of `some` that lie in, around, or are one of `others`, each with these; one pass over both."""
    if not some or not others:
        return {}
    sides = {prefix: (prefix in some, prefix in others) for prefix in {*some, *others}}
    found: dict[Prefix, list[Prefix]] = {}
    around: list[Prefix] = []
    for prefix in sorted(sides, key=lambda one: (one.version, int(one.network_address), one.prefixlen)):
        while around and not _holds(around[-1], prefix):
            around.pop()
        around.append(prefix)
        for wider in around:
            for one, other in {(wider, prefix), (prefix, wider)}:
                if sides[one][0] and sides[other][1]:
                    found.setdefault(one, []).append(other)
    return found


def _holds(wider: Prefix, prefix: Prefix) -> bool:
    bits = wider.max_prefixlen - wider.prefixlen
    return wider.version == prefix.version and (
        int(wider.network_address) >> bits == int(prefix.network_address) >> bits
    )
