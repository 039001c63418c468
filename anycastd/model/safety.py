"""How the fleet's safety rules are set (docs/safety.md). Times are seconds."""

from __future__ import annotations

from collections.abc import Mapping
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
class EffectConfig:
    """S22: how long after a change of level it is looked whether anything followed, and what must have.

    Traffic is judged from `traffic_after_s` on, and only of prefixes that had `measurable_bps`: it must have fallen by
    a share after DEPREF or GSHUT and after a withdrawal, and `returns_percent` of it must be there after a return.
    """

    looks_s: tuple[float, ...] = (10.0, 60.0, 300.0)
    traffic_after_s: float = 60.0
    measurable_bps: int = 1_000_000
    depref_falls_percent: int = 10
    withdrawn_falls_percent: int = 80
    returns_percent: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PopCapacity:
    """What another POP can carry, and what it usually carries, in bits a second."""

    capacity_bps: int
    usual_bps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityConfig:
    """S7: the other POPs, one of which takes `share_percent` of what this one leaves, up to `full_percent` of it."""

    pops: Mapping[str, PopCapacity] = field(default_factory=dict)
    share_percent: int = 65
    full_percent: int = 85


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyConfig:
    """The settings of the safety rules that have any."""

    breaker: BreakerConfig = field(default_factory=BreakerConfig)
    effect: EffectConfig = field(default_factory=EffectConfig)
    capacity: CapacityConfig = field(default_factory=CapacityConfig)


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
