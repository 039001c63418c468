"""The shapes of the API's answers, for the OpenAPI document. The tests hold every view to them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anycastd.api.shapes.attack import AttackSummary
from anycastd.api.shapes.bfd import BfdProcess
from anycastd.api.shapes.orders import OrdersShape
from anycastd.api.shapes.probing import Probing
from anycastd.api.shapes.safety import Breaker
from anycastd.api.shapes.seen import OtherShape, SeenShape
from anycastd.api.shapes.shape import LevelName, Shape
from anycastd.model.bgp import SessionState, SpeakerState
from anycastd.model.checks import CheckKind
from anycastd.model.decision import PrefixState, Reason, Truth
from anycastd.model.fleet_view import Guard
from anycastd.model.health import FaultScope, Health, HealthReason, Measure
from anycastd.model.probe import Outcome, Why
from anycastd.model.status import Alarm
from anycastd.model.topology import Role


class Aged(Shape):
    """A state with its beginning: ISO 8601 UTC, and seconds ago."""

    since: str = Field(json_schema_extra={"format": "date-time"})
    age_s: float


class Count(Shape):
    """How many are healthy of how many."""

    healthy: int
    total: int


class GradedCount(Count):
    """Likewise, with those that are degraded."""

    degraded: int


class Way(Aged):
    """How packets get into a region; `tunnels` best first, `forwarding` whether the best route was read back."""

    family: str
    tunnels: list[str]
    reason: str
    via: str | None
    device: str | None
    forwarding: bool | None


class Carriers(Shape):
    """The neighbors that have the prefix as wanted, and those that should."""

    confirmed: list[str]
    wanted: list[str]


class Prefix(Aged):
    """One prefix. `level` is what is done, `wanted` what health alone would do, `hold` what parts them."""

    prefix: str
    family: str
    state: PrefixState
    level: LevelName
    preference: str
    wanted: LevelName
    reason: Reason
    hold: Reason | None
    why: str
    detail: str
    condition: Truth
    announce_when: str | None
    next_decision_s: float | None
    neighbors: Carriers
    relapses: int


class Prefixes(Shape):
    """Every prefix."""

    prefixes: list[Prefix]


class Result(Shape):
    """How one probe ended. `certificate_ends` is of a tls check; `warning`: it passed, and should be looked at.

    `late_ms`: how long after its time we began it, for which the target was given so much longer.
    """

    why: Why
    outcome: Outcome
    detail: str
    at: str
    latency_ms: float
    late_ms: float
    certificate_ends: str | None
    warning: str


class Exceeded(Aged):
    """A limit that a check's window exceeds."""

    measure: Measure
    value: float | None
    limit: float
    unit: Literal["%", "ms"]


class Window(Shape):
    """What the last results of a check add up to; shares of all its probes, times of those that were answered."""

    results: int
    failures_percent: float | None
    loss_percent: float | None
    latency_ms: float | None
    jitter_ms: float | None
    exceeded: list[Exceeded]


class Check(Aged):
    """One check of one target; `passed`, `failed` and `broken` are the lengths of the present streaks."""

    id: str
    check: str
    kind: CheckKind
    target: str
    source: str | None
    device: str | None
    region: str | None
    tunnel: str | None
    backend: str | None
    health: Health
    passed: int
    failed: int
    broken: int
    latency_ms: float | None
    window: Window
    last: Result | None
    last_failure: Result | None


class Checks(Shape):
    """Every check."""

    checks: list[Check]


class Link(Shape):
    """A network device as the kernel tells it."""

    up: bool
    carrier: bool
    operstate: str
    usable: bool


class Tunnel(Aged):
    """One tunnel; `backends` counts those that answer through it. Loss and jitter are those of its worst check."""

    tunnel: str
    region: str
    device: str
    health: Health
    reason: HealthReason
    why: str
    evidence: list[str]
    latency_ms: float | None
    loss_percent: float | None
    jitter_ms: float | None
    backends: Count
    link: Link | None
    carries: list[str]


class Tunnels(Shape):
    """Every tunnel."""

    tunnels: list[Tunnel]


class Backend(Aged):
    """One backend; `paths` is what its checks say through each tunnel."""

    backend: str
    region: str
    address: str
    health: Health
    reason: HealthReason
    why: str
    evidence: list[str]
    latency_ms: float | None
    paths: dict[str, Health]


class Backends(Shape):
    """Every backend."""

    backends: list[Backend]


class Region(Aged):
    """One region; HEALTHY means this POP can serve from it. The dial is the operator's, else the file's.

    `generation` is of the operator's dial; 0: the file's is in force.
    """

    region: str
    traffic_dial_percentage: int
    configured_percentage: int
    generation: int
    health: Health
    reason: HealthReason
    detail: str
    usable_when: str
    tunnels: GradedCount
    backends: GradedCount
    ways: list[Way]


class Regions(Shape):
    """Every region."""

    regions: list[Region]


class Route(Shape):
    """One route to one neighbor."""

    prefix: str
    next_hop: str
    as_path: list[int]
    med: int | None
    local_preference: int | None
    communities: list[str]
    large_communities: list[str]


class RouteCount(Shape):
    """How many routes a neighbor should have, has, and has as wanted; `observed` null = not known."""

    desired: int
    observed: int | None
    as_wanted: int


class Neighbor(Aged):
    """One BGP session."""

    neighbor: str
    role: Role
    address: str
    asn: int
    local_address: str
    local_asn: int
    families: list[str]
    state: SessionState
    why: str
    routes: RouteCount


class NeighborRoutes(Neighbor):
    """One BGP session with its routes."""

    desired: list[Route]
    observed: list[Route] | None
    differences: list[str]


class Neighbors(Shape):
    """Every session; `unwanted` are routes that ExaBGP sends and nobody wanted."""

    speaker: SpeakerState
    observed_at: str | None
    in_flight: int
    unwanted: list[str]
    neighbors: list[NeighborRoutes]


class RaisedAlarm(Aged):
    """One standing alarm."""

    alarm: Alarm
    subject: str
    detail: str


class PopShape(Shape):
    """This POP."""

    name: str
    asn: int
    router_id: str


class ConfigShape(Shape):
    """The configuration in force; `error` is why a newer one was refused."""

    path: str
    digest: str
    loaded_at: str
    age_s: float
    error: str
    warnings: list[str]


class Fault(Shape):
    """Where a fault lies."""

    scope: FaultScope
    detail: str


class SelfTest(Shape):
    """Whether we suspect ourselves."""

    health: Health
    suspect: bool
    detail: str


class Loop(Shape):
    """How late the event loop is."""

    lag_ms: float
    lag_max_ms: float


class Overview(Shape):
    """The whole POP."""

    pop: PopShape
    state: Literal["serving", "partly", "silent", "stopping"]
    version: str
    now: str
    started_at: str
    uptime_s: float
    config: ConfigShape
    speaker: SpeakerState
    guard: Guard
    fleet: SeenShape
    fault: Fault
    self_test: SelfTest
    probing: Probing
    loop: Loop
    bfd: BfdProcess | None
    alarms: list[RaisedAlarm]
    prefixes: list[Prefix]
    regions: list[Region]
    tunnels: list[Tunnel]
    neighbors: list[Neighbor]
    unwanted: list[str]
    orders: OrdersShape
    breaker: Breaker
    attack: AttackSummary


class Rule(Shape):
    """What one rule said."""

    rule: str
    reason: Reason
    before: LevelName
    after: LevelName
    holds: bool
    evidence: str


class ExplainedSelfTest(SelfTest):
    """Whether we suspect ourselves, and until when."""

    suspect_until: str | None


class ExplainedHealth(Shape):
    """The POP or a region, in words."""

    subject: str
    health: str
    text: str


class Timer(Shape):
    """One change followed through the daemon."""

    change: str
    seen_at: str
    decided_at: str
    commanded_at: str | None
    acknowledged_at: str | None


class Sent(Shape):
    """A route and who is sent it, or the last change."""

    neighbors: list[str] | None = None
    route: Route | None = None
    timer: Timer | None = None
    text: str


class Observed(Shape):
    """What one neighbor is sent, against what is wanted."""

    neighbor: str | None
    as_wanted: bool | None
    established: bool | None = None
    text: str


class WayInto(Way):
    """The way into one region."""

    region: str


class KernelFacts(Shape):
    """What the kernel holds for a prefix; null = not known."""

    blackhole: bool | None
    filter: bool
    regions: list[WayInto]


class Explanation(Shape):
    """Why one prefix is announced as it is; `text` is the same for a terminal, `advice` what can be done about it."""

    prefix: Prefix
    headline: str
    advice: list[str]
    checks: list[Check]
    self_test: ExplainedSelfTest
    health: list[ExplainedHealth]
    rules: list[Rule]
    others: list[OtherShape]
    sent: list[Sent]
    observed: list[Observed]
    kernel: KernelFacts
    would_change: list[str]
    text: list[str]


class ReadyCondition(Shape):
    """One condition of readiness."""

    condition: str
    ok: bool
    reason: str


class Readiness(Shape):
    """Whether the POP is ready: every condition holds."""

    ready: bool
    conditions: list[ReadyCondition]


class Alive(Shape):
    """The process runs its event loop."""

    alive: bool


class Reloaded(Shape):
    """What a reload did, or with `dry_run` would do."""

    applied: bool
    dry_run: bool
    changes: list[str]
    problems: list[str]


class ErrorBody(Shape):
    """What went wrong; `problems` only where a configuration was refused."""

    code: str
    message: str
    problems: list[str] | None = None


class Error(Shape):
    """Every answer from 400 on."""

    error: ErrorBody
