"""Which limits a check's window exceeds, with hysteresis. Pure.

Shares are counted of the whole window even while it fills: what has not happened yet is no failure. Means are compared
once half the window was answered; with fewer answers the last verdict on them stands.
"""

from __future__ import annotations

from anycastd.health.window import Window
from anycastd.model.checks import Limit, Limits
from anycastd.model.health import Exceeded, Measure

Limited = tuple[tuple[Measure, Limit], ...]


def limited(limits: Limits) -> Limited:
    """Return the measures that have a limit."""
    found = (
        (Measure.FAILURES, limits.failures),
        (Measure.LOSS, limits.loss),
        (Measure.LATENCY, limits.latency_ms),
        (Measure.JITTER, limits.jitter_ms),
    )
    return tuple((measure, limit) for measure, limit in found if limit is not None)


def exceeded(before: tuple[Exceeded, ...], limits: Limited, window: Window, now_s: float) -> tuple[Exceeded, ...]:
    """Return the limits that are exceeded now: `before` itself if nothing changed."""
    after = None
    for measure, limit in limits:
        known = next((one for one in before if one.measure is measure), None) if before else None
        bound = limit.above if known is None else limit.until
        is_over = _is_above(measure, window, bound, otherwise=known is not None)
        if is_over is (known is None):
            rest = before if after is None else after
            added = (Exceeded(measure, limit.above, now_s),) if known is None else ()
            after = tuple(one for one in rest if one is not known) + added
    return before if after is None else after


def _is_above(measure: Measure, window: Window, bound: float, *, otherwise: bool) -> bool:
    """Return whether a measure is above a bound in its unit; `otherwise` if too little is known to say."""
    if measure is Measure.FAILURES:
        return 100.0 * window.failed > bound * window.size
    if measure is Measure.LOSS:
        return 100.0 * window.lost > bound * window.size
    if measure is Measure.LATENCY:
        enough = 2 * window.answered >= window.size
        return window.round_trips_us > bound * 1000.0 * window.answered if enough else otherwise
    enough = 2 * window.pairs >= window.size - 1
    return window.differences_us > bound * 1000.0 * window.pairs if enough else otherwise
