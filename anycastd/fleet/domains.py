"""POPs of one failure domain fail together: of those that count, one of each domain does. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from anycastd.model.fleet import NotCounted, Others, Uncounted


def one_of_each(others: Others, domains: Mapping[str, str]) -> Others:
    """Return the others with at most one POP of each failure domain counted; `domains` are by the POP's name.

    A POP without a domain is its own. One that does not go first in a drain is kept rather than one that does.
    """
    kept: dict[str, str] = {}
    for pop in sorted(others.counted, key=lambda name: name in others.goes_first):
        kept.setdefault(domains.get(pop, "") or f"pop {pop}", pop)
    counted = tuple(pop for pop in others.counted if pop in kept.values())
    if len(counted) == len(others.counted):
        return others
    extra = tuple(Uncounted(pop, NotCounted.SAME_DOMAIN) for pop in others.counted if pop not in counted)
    first = tuple(pop for pop in others.goes_first if pop in counted)
    return replace(others, counted=counted, goes_first=first, uncounted=(*others.uncounted, *extra))
