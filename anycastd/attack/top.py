"""The most frequent values of a stream in bounded memory: Metwally's Space-Saving, with each value's possible error."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from anycastd.model.attack import Share

T = TypeVar("T", bound=Hashable)


class Top(Generic[T]):
    """At most `capacity` values are counted; one that is new takes the place of the rarest, and its count as error."""

    __slots__ = ("_capacity", "_counts", "_errors", "total")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._counts: dict[T, int] = {}
        self._errors: dict[T, int] = {}
        self.total = 0

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, value: T) -> None:
        """Count a value."""
        self.total += 1
        counts = self._counts
        if value in counts:
            counts[value] += 1
        elif len(counts) < self._capacity:
            counts[value] = 1
        else:
            rarest = min(counts, key=counts.__getitem__)
            least = counts.pop(rarest)
            self._errors.pop(rarest, None)
            counts[value], self._errors[value] = least + 1, least

    def certain(self) -> dict[T, int]:
        """Return how often each value came at least."""
        return {value: count - self._errors.get(value, 0) for value, count in self._counts.items()}


def shares(tops: list[Top[T]], limit: int, least_percent: float) -> tuple[Share, ...]:
    """Return the largest values of several streams together, each with what it has at least of all."""
    total = sum(top.total for top in tops)
    found: dict[T, int] = {}
    for top in tops:
        for value, count in top.certain().items():
            found[value] = found.get(value, 0) + count
    ranked = sorted(found.items(), key=lambda item: (-item[1], str(item[0])))[:limit]
    percents = ((str(value), 100.0 * count / total) for value, count in ranked)
    return tuple(Share(value, round(percent, 1)) for value, percent in percents if percent >= least_percent)
