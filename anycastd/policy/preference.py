"""An order of things that may be used, best first, which does not change for a trifle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def settle(
    candidates: Iterable[T], before: Sequence[T], key: Callable[[T], Any], beats: Callable[[T, T], bool]
) -> tuple[T, ...]:
    """Return the candidates by `key`, but each place stays with whom it had unless `beats(other, present)`.

    `before` is the last order; names in it that are no candidates are passed over. Settling a result again gives
    the same result.
    """
    rest = sorted(candidates, key=key)
    known = [one for one in before if one in rest]
    chosen: list[T] = []
    while rest:
        best = rest[0]
        if known and best != known[0] and not beats(best, known[0]):
            best = known[0]
        chosen.append(best)
        rest.remove(best)
        if best in known:
            known.remove(best)
    return tuple(chosen)
