"""Whether a new configuration does harm: what was announced before, and after. Pure (S10)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from anycastd.model.address import NeighborName, Prefix
from anycastd.model.decision import Level

NAMED = 3
Announced = Mapping[Prefix, Mapping[NeighborName, Level]]
"""The level that each neighbor has of each prefix, as ExaBGP says that it sends it."""


def gone(before: Announced, decided: Mapping[Prefix, Level], kept: Collection[Prefix]) -> tuple[Prefix, ...]:
    """Return the prefixes of the new file that somebody was sent before, and nobody is to be sent now."""
    return tuple(
        prefix
        for prefix in kept
        if any(level > Level.WITHDRAWN for level in before.get(prefix, {}).values())
        and decided.get(prefix, Level.WITHDRAWN) is Level.WITHDRAWN
    )


def less(before: Announced, after: Announced, kept: Mapping[Prefix, Collection[NeighborName]]) -> tuple[Prefix, ...]:
    """Return the prefixes that one of the neighbors they keep is sent less of than before.

    What the file itself takes away was judged, or confirmed, when it was read: that is no harm.
    """
    return tuple(
        prefix
        for prefix, neighbors in kept.items()
        for was, now in [(before.get(prefix, {}), after.get(prefix, {}))]
        if any(now.get(name, Level.WITHDRAWN) < level for name, level in was.items() if name in neighbors)
    )


def words_of(prefixes: Collection[Prefix], what: str) -> str:
    """Return what is wrong with some prefixes."""
    more = f" and {len(prefixes) - NAMED} more" if len(prefixes) > NAMED else ""
    return f"{', '.join(map(str, list(prefixes)[:NAMED]))}{more}: {what}"
