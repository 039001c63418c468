"""What is believed of checks, tunnels, backends, regions and the POP, each with the reason it is believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from anycastd.model.address import BackendId, CheckId, RegionName, TunnelId
from anycastd.model.probe import ProbeResult


class Health(StrEnum):
    """INITIAL: no verdict yet. UNKNOWN: we cannot tell (our own fault); never taken for HEALTHY nor UNHEALTHY.

    DEGRADED: it works, but loses too much or is too slow: used where nothing HEALTHY is at hand.
    """

    INITIAL = "INITIAL"
    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    UNHEALTHY = "UNHEALTHY"
    UNKNOWN = "UNKNOWN"

    @property
    def is_verdict(self) -> bool:
        """Return whether this says something of the target."""
        return self in (Health.HEALTHY, Health.DEGRADED, Health.UNHEALTHY)

    @property
    def is_usable(self) -> bool:
        """Return whether packets may be sent there."""
        return self is Health.HEALTHY or self is Health.DEGRADED


class HealthReason(StrEnum):
    """Why a tunnel, backend, region or the POP is believed to be as it is. Never null."""

    CHECKS_PASS = "checks_pass"
    CHECKS_PENDING = "checks_pending"
    CHECK_FAILED = "check_failed"
    TOO_MANY_FAILURES = "too_many_failures"
    CHECK_DEGRADED = "check_degraded"
    CHECK_BROKEN = "check_broken"
    NO_USABLE_TUNNEL = "no_usable_tunnel"
    TUNNELS_UNKNOWN = "tunnels_unknown"
    TOO_FEW_BACKENDS = "too_few_backends"
    ENOUGH_BACKENDS = "enough_backends"
    TUNNELS_DEGRADED = "tunnels_degraded"
    BACKENDS_DEGRADED = "backends_degraded"
    RULE_HOLDS = "rule_holds"
    RULE_HOLDS_DEGRADED = "rule_holds_degraded"
    RULE_FAILS = "rule_fails"
    NO_CHECKS = "no_checks"
    # what an operator ordered
    DRAINED = "drained"
    OVERRIDDEN = "overridden"


class FaultScope(StrEnum):
    """Where a fault lies, smallest first: nothing, a backend, a tunnel, a region, the POP, or our own checker."""

    NONE = "none"
    BACKEND = "backend"
    TUNNEL = "tunnel"
    REGION = "region"
    POP = "pop"
    SELF = "self"


class Measure(StrEnum):
    """What a limit can be set to of the last results of a check."""

    FAILURES = "failures"
    LOSS = "loss"
    LATENCY = "latency"
    JITTER = "jitter"

    @property
    def unit(self) -> str:
        """Return the unit of its values."""
        return "%" if self in (Measure.FAILURES, Measure.LOSS) else "ms"


class Exceeded(NamedTuple):
    """A limit that is exceeded since `since_s`; `limit` in the measure's unit."""

    measure: Measure
    limit: float
    since_s: float


class Measured(NamedTuple):
    """What the results in a check's window add up to; times in microseconds.

    `lost` are the probes without an answer in time, a part of `failed`. `pairs` successive answered ones differ by
    `differences_us` in all.
    """

    results: int = 0
    failed: int = 0
    lost: int = 0
    answered: int = 0
    round_trips_us: int = 0
    pairs: int = 0
    differences_us: int = 0

    @property
    def failures_percent(self) -> float | None:
        """Return the share of probes that failed, None without a result."""
        return 100.0 * self.failed / self.results if self.results else None

    @property
    def loss_percent(self) -> float | None:
        """Return the share of probes that were lost, None without a result."""
        return 100.0 * self.lost / self.results if self.results else None

    @property
    def latency_ms(self) -> float | None:
        """Return the mean round trip, None without an answer."""
        return self.round_trips_us / self.answered / 1000.0 if self.answered else None

    @property
    def jitter_ms(self) -> float | None:
        """Return the mean absolute difference of successive round trips, None without two of them."""
        return self.differences_us / self.pairs / 1000.0 if self.pairs else None

    def of(self, measure: Measure) -> float | None:
        """Return the value of one measure in its unit."""
        return {
            Measure.FAILURES: self.failures_percent,
            Measure.LOSS: self.loss_percent,
            Measure.LATENCY: self.latency_ms,
            Measure.JITTER: self.jitter_ms,
        }[measure]


@dataclass(frozen=True, slots=True)
class CheckState:
    """The verdict on one check. `passed`, `failed`, `broken` are the lengths of the present streaks."""

    id: CheckId
    health: Health = Health.INITIAL
    since_s: float = 0.0
    passed: int = 0
    failed: int = 0
    broken: int = 0
    last: ProbeResult | None = None
    last_failure: ProbeResult | None = None
    latency_ms: float | None = None
    """Smoothed over the passing probes (weight 1/8, as RFC 6298 does for the round-trip time)."""
    exceeded: tuple[Exceeded, ...] = ()
    """The limits that the window exceeds now."""

    @property
    def fails_too_often(self) -> bool:
        """Return whether it is the share of failures in the window that makes it UNHEALTHY, not only a streak."""
        return any(one.measure is Measure.FAILURES for one in self.exceeded)

    @property
    def is_pending(self) -> bool:
        """Return whether the newest results disagree with the verdict, so that a change may follow."""
        if self.health.is_usable:
            return self.failed > 0 or self.broken > 0
        if self.health is Health.UNHEALTHY:
            return self.passed > 0 or self.broken > 0
        return True


@dataclass(frozen=True, slots=True)
class TunnelView:
    """One tunnel. `evidence` names the checks that decided. `healthy_backends` answer through it."""

    id: TunnelId
    region: RegionName
    device: str
    health: Health
    reason: HealthReason
    since_s: float
    evidence: tuple[CheckId, ...] = ()
    latency_ms: float | None = None
    healthy_backends: int = 0


@dataclass(frozen=True, slots=True)
class BackendView:
    """One backend; `paths` is what its checks say through each tunnel of the region."""

    id: BackendId
    region: RegionName
    health: Health
    reason: HealthReason
    since_s: float
    evidence: tuple[CheckId, ...] = ()
    paths: Mapping[TunnelId, Health] = field(default_factory=dict)
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class RegionView:
    """One region: HEALTHY means this POP can serve from it now; DEGRADED: so it can, but not well.

    `detail` says what a composed `usable_when` is made from, and what is missing.
    """

    name: RegionName
    health: Health
    reason: HealthReason
    since_s: float
    healthy_tunnels: int = 0
    healthy_backends: int = 0
    total_tunnels: int = 0
    total_backends: int = 0
    degraded_tunnels: int = 0
    degraded_backends: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SelfTestView:
    """S4: `suspect_until_s` is set while many failures at once are believed to be our own."""

    health: Health = Health.INITIAL
    suspect_until_s: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class HealthView:
    """Everything health tells policy, at one moment."""

    tunnels: Mapping[TunnelId, TunnelView]
    backends: Mapping[BackendId, BackendView]
    regions: Mapping[RegionName, RegionView]
    self_test: SelfTestView = field(default_factory=SelfTestView)
    fault: FaultScope = FaultScope.NONE
    fault_detail: str = ""
