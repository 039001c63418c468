"""How the fleet's safety rules are set (docs/safety.md). Times are seconds."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerConfig:
    """S28: how many prefixes health may take off the air within `window_s`: `withdrawals`, or `percent` if more.

    Once more want to go, none goes until for `quiet_s` none wanted to, or an operator resets it.
    """

    withdrawals: int = 3
    percent: int = 10
    window_s: float = 60.0
    quiet_s: float = 60.0

    def limit(self, prefixes: int) -> int:
        """Return how many of so many prefixes may go within the window."""
        return max(self.withdrawals, prefixes * self.percent // 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyConfig:
    """The settings of the safety rules that have any."""

    breaker: BreakerConfig = field(default_factory=BreakerConfig)


@dataclass(frozen=True, slots=True)
class BreakerView:
    """The circuit breaker at a moment: `left` of `limit` went within the window, `held` prefixes are kept.

    `tripped_s` is monotonic, None = it lets through.
    """

    tripped_s: float | None = None
    left: int = 0
    limit: int = 0
    window_s: float = 0.0
    held: int = 0
