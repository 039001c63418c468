"""What a measurement is, and how a spread of them is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table; `missed` is a sentence when the budget is not met."""

    name: str
    measured: str
    baseline: str = ""
    ratio: str = ""
    budget: str = ""
    missed: str = ""


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of them lie (nearest rank); 0 of nothing."""
    ranked = sorted(values)
    return ranked[min(int(share * len(ranked)), len(ranked) - 1)] if ranked else 0.0


def spread_ms(values_s: Sequence[float]) -> str:
    """Return p50 / p90 / p99 in milliseconds, and how many there were."""
    shares = " / ".join(f"{percentile(values_s, share) * 1000:.1f}" for share in (0.5, 0.9, 0.99))
    return f"{shares} ms (n = {len(values_s)})"
