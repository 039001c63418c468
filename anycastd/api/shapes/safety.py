"""The shapes of the API's answers about the safety rules."""

from __future__ import annotations

from anycastd.api.shapes.shape import Shape


class Breaker(Shape):
    """The circuit breaker: `withdrawals` of `limit` within `window_s`; `held` prefixes are kept on the air."""

    tripped: bool
    tripped_at: str | None
    withdrawals: int
    limit: int
    window_s: float
    held: int


class BreakerReset(Shape):
    """Whether it was tripped."""

    was_tripped: bool
