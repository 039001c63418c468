"""How often connections are counted. Pure."""

from __future__ import annotations

SHARE = 0.02
"""Of one core, on average."""


def period_s(interval_s: float, cost_s: float) -> float:
    """Return the time from one count to the next, when the last took `cost_s` of processor time."""
    return max(interval_s, cost_s / SHARE)
