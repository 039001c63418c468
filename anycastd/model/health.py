"""What is believed of checks, tunnels, backends, regions and the POP, each with the reason it is believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from anycastd.model.address import BackendId, CheckId, RegionName, TunnelId
from anycastd.model.probe import ProbeResult


class Health(StrEnum):
    """INITIAL: no verdict yet. UNKNOWN: we cannot tell (our own fault); never taken for HEALTHY nor UNHEALTHY."""

    INITIAL = "INITIAL"
    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"
    UNKNOWN = "UNKNOWN"

    @property
    def is_verdict(self) -> bool:
        """Return whether this says something of the target."""
        return self in (Health.HEALTHY, Health.UNHEALTHY)


class HealthReason(StrEnum):
    """Why a tunnel, backend, region or the POP is believed to be as it is. Never null."""

    CHECKS_PASS = "checks_pass"
    CHECKS_PENDING = "checks_pending"
    CHECK_FAILED = "check_failed"
    CHECK_BROKEN = "check_broken"
    NO_USABLE_TUNNEL = "no_usable_tunnel"
    TUNNELS_UNKNOWN = "tunnels_unknown"
    TOO_FEW_BACKENDS = "too_few_backends"
    ENOUGH_BACKENDS = "enough_backends"
    NO_CHECKS = "no_checks"


class FaultScope(StrEnum):
    """Where a fault lies, smallest first: nothing, a backend, a tunnel, a region, the POP, or our own checker."""

    NONE = "none"
    BACKEND = "backend"
    TUNNEL = "tunnel"
    REGION = "region"
    POP = "pop"
    SELF = "self"


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

    @property
    def is_pending(self) -> bool:
        """Return whether the newest results disagree with the verdict, so that a change may follow."""
        if self.health is Health.HEALTHY:
            return self.failed > 0 or self.broken > 0
        if self.health is Health.UNHEALTHY:
            return self.passed > 0 or self.broken > 0
        return True


@dataclass(frozen=True, slots=True)
class TunnelView:
    """One tunnel. `evidence` names the checks that decided. `healthy_backends` were seen healthy through it."""

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
    """One region: HEALTHY means this POP can serve from it now."""

    name: RegionName
    health: Health
    reason: HealthReason
    since_s: float
    healthy_tunnels: int = 0
    healthy_backends: int = 0
    total_tunnels: int = 0
    total_backends: int = 0


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
