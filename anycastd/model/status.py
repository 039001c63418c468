"""Everything the daemon can say of itself at one moment: what the API, the metrics and the CLI are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from anycastd.model.address import CheckId, Prefix, RegionName
from anycastd.model.attack import AttackView
from anycastd.model.bfd import BfdView
from anycastd.model.bgp import BgpObserved, Routes
from anycastd.model.decision import Decision, Memory, PrefixState, TunnelOrder
from anycastd.model.fleet_view import FleetView
from anycastd.model.health import CheckState, HealthView, Measured
from anycastd.model.kernel import KernelObserved, KernelRoute, KernelRule
from anycastd.model.operator import Carried, Interventions
from anycastd.model.probing import ProbingFacts
from anycastd.model.safety import BreakerView
from anycastd.model.topology import Config


class Alarm(StrEnum):
    """Conditions that an operator must look at. The value is the metric label, log field and heading in the docs."""

    UNWANTED_ROUTES = "unwanted_routes"
    SPEAKER_ABSENT = "speaker_absent"
    SPEAKER_WEDGED = "speaker_wedged"
    SPEAKER_ONE_USER = "speaker_one_user"
    SPEAKER_DEGRADED = "speaker_degraded"
    COMMAND_REFUSED = "command_refused"
    EXPORT_REFUSED = "export_refused"
    KERNEL_REFUSED = "kernel_refused"
    KERNEL_NOT_AS_WANTED = "kernel_not_as_wanted"
    CHECK_BROKEN = "check_broken"
    NAME_NOT_RESOLVED = "name_not_resolved"
    CERTIFICATE_EXPIRES = "certificate_expires"
    CHECKER_SUSPECT = "checker_suspect"
    CIRCUIT_BREAKER = "circuit_breaker"
    SESSION_DOWN = "session_down"
    CONFIG_REFUSED = "config_refused"
    LOOP_LATE = "loop_late"
    STATE_NOT_SAVED = "state_not_saved"
    DEAD_MAN_FIRED = "dead_man_fired"
    STAGE_FAILED = "stage_failed"
    PREFIX_DARK = "prefix_dark"
    EFFECT_MISSING = "effect_missing"
    FILTER_REFUSED = "filter_refused"
    FILTER_NOT_AS_WANTED = "filter_not_as_wanted"
    ORDERS_UNREAD = "orders_unread"
    STORE_TROUBLE = "store_trouble"
    TRAFFIC_NOT_SAVED = "traffic_not_saved"
    ATTACK = "attack"
    TRAFFIC_ELEVATED = "traffic_elevated"
    CONNTRACK_FULL = "conntrack_full"
    CONNTRACK_SIZE = "conntrack_size"
    TUNNEL_DEVICE = "tunnel_device"
    SHAPING_REFUSED = "shaping_refused"
    EIP_FAIL_OPEN = "eip_fail_open"
    EIP_NO_PATH = "eip_no_path"
    JOURNAL_TROUBLE = "journal_trouble"
    FLEET_BUDGET = "fleet_budget"
    PLAYBOOK_WAITS = "playbook_waits"
    BFD_PROCESS = "bfd_process"
    OBSERVERS_BLIND = "observers_blind"
    BEACON_UNREADABLE = "beacon_unreadable"
    BEACON_REFUSED = "beacon_refused"
    BEACON_REPLAYED = "beacon_replayed"
    POP_TWICE = "pop_twice"
    OWN_NUMBER_TAKEN = "own_number_taken"
    UNKNOWN_POP = "unknown_pop"
    NAME_SHARED = "name_shared"
    PROBE_WORKER = "probe_worker"
    KERNEL_EVENTS = "kernel_events"
    FILTER_ENDS = "filter_ends"


@dataclass(frozen=True, slots=True)
class AlarmView:
    """One raised alarm; `since_s` is monotonic, `detail` says what to look at."""

    alarm: Alarm
    subject: str
    since_s: float
    detail: str


@dataclass(frozen=True, slots=True)
class FailoverTimer:
    """One change followed through the daemon; monotonic seconds, None = not (yet) reached.

    `seen_s` the probe result that tipped the verdict, `decided_s` the decision, `commanded_s` the line written to
    ExaBGP, `acknowledged_s` its answer.
    """

    prefix: Prefix
    change: str
    seen_s: float
    decided_s: float
    commanded_s: float | None = None
    acknowledged_s: float | None = None


@dataclass(frozen=True, slots=True)
class PrefixView:
    """One prefix as status and explain show it."""

    prefix: Prefix
    state: PrefixState
    decision: Decision
    memory: Memory
    confirmed: tuple[str, ...] = ()
    """Established neighbors to which it is acknowledged as wanted."""
    carriers: tuple[str, ...] = ()
    """All neighbors that should carry it."""


@dataclass(frozen=True, slots=True)
class LoopView:
    """The event loop's own health: lateness in milliseconds."""

    lag_ms: float = 0.0
    lag_max_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Status:
    """The daemon's whole state. `now_s` is monotonic, `wall_s` Unix time at the same moment (display only)."""

    now_s: float
    wall_s: float
    started_s: float
    version: str
    config: Config
    config_loaded_s: float
    config_error: str
    checks: Mapping[CheckId, CheckState]
    health: HealthView
    prefixes: Mapping[Prefix, PrefixView]
    wanted_routes: Routes
    bgp: BgpObserved
    unwanted: tuple[str, ...]
    """Routes in ExaBGP's adj-rib-out that are not wanted, in words; empty or an alarm."""
    kernel: KernelObserved
    wanted_kernel_routes: frozenset[KernelRoute]
    wanted_kernel_rules: frozenset[KernelRule]
    tunnel_orders: Mapping[tuple[RegionName, int], TunnelOrder] = field(default_factory=dict)
    """The tunnels of each region and IP version, best first."""
    filter_stands: bool = True
    """Whether the packet filter's rules were read back as installed."""
    filter_missing: int = 0
    """How many elements of its sets are not as wanted."""
    alarms: tuple[AlarmView, ...] = ()
    timers: tuple[FailoverTimer, ...] = ()
    loop: LoopView = field(default_factory=LoopView)
    probing: ProbingFacts = field(default_factory=ProbingFacts)
    """What the probe engine says of itself."""
    stopping: bool = False
    fleet: FleetView = field(default_factory=FleetView)
    measured: Mapping[CheckId, Measured] = field(default_factory=dict)
    """What the last results of each check add up to."""
    orders: Interventions = field(default_factory=Interventions)
    """Drains, overrides and the freeze."""
    carried: Mapping[str, Carried] = field(default_factory=dict)
    """What is still carried by what is drained, by the id of the drain."""
    breaker: BreakerView = field(default_factory=BreakerView)
    """The circuit breaker."""
    bfd: BfdView | None = None
    """The process that speaks BFD; None without a `bfd` check."""
    attack: AttackView = field(default_factory=AttackView)
    """Whether traffic is unusual."""
    dials: Mapping[RegionName, int] = field(default_factory=dict)
    """What an operator set at run time; other regions have their configured dial."""
    dial_generations: Mapping[RegionName, int] = field(default_factory=dict)
    """Of these dials: the number of the store's change that set each."""

    @property
    def kernel_missing(self) -> int:
        """Return how many wanted routes and rules the kernel lacks; a route over a device that is down is not one."""
        up = {view.device for view in self.health.tunnels.values() if view.health.is_usable}
        missing = self.wanted_kernel_routes - (self.kernel.routes or frozenset())
        expected = sum(route.device is None or route.device in up for route in missing)
        return expected + len(self.wanted_kernel_rules - self.kernel.rules)
