"""The one list of metrics: name, kind, labels, HELP. The collector and docs/metrics.md are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The metric types of Prometheus that are used."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Spec:
    """One metric. `values` says what the labels can hold, so that nobody has to guess their number."""

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()
    values: str = ""


def _gauge(name: str, text: str, *labels: str, values: str = "") -> Spec:
    return Spec(f"anycastd_{name}", Kind.GAUGE, text, labels, values)


def _counter(name: str, text: str, *labels: str, values: str = "") -> Spec:
    return Spec(f"anycastd_{name}_total", Kind.COUNTER, text, labels, values)


def _histogram(name: str, text: str, *labels: str) -> Spec:
    return Spec(f"anycastd_{name}", Kind.HISTOGRAM, text, labels)


INFO = _gauge("info", "1; the labels name the POP, the version and the configuration.", "pop", "version", "config")
START_TIME = _gauge("start_time_seconds", "Unix time at which the daemon started.")
STOPPING = _gauge("stopping", "1 while the daemon leaves.")
READY = _gauge("ready", "1 when /readyz answers 200.")
READY_CONDITION = _gauge(
    "ready_condition", "1 for each condition of /readyz that holds.", "condition", values="the conditions of /readyz"
)
ALARM = _gauge(
    "alarm", "How many subjects the alarm stands for; 0 is well. All alarms are always there.", "alarm",
    values="docs/reasons.md, alarms",
)  # fmt: skip

PREFIX_STATE = _gauge(
    "prefix_state", "1 for the prefix's state; the others are absent.", "prefix", "state",
    values="PENDING, ANNOUNCED, WITHDRAWING, WITHDRAWN, FAILED",
)  # fmt: skip
PREFIX_PREFERENCE = _gauge("prefix_preference", "What is decided: 0 WITHDRAWN, 1 GSHUT, 2 DEPREF, 3 NORMAL.", "prefix")
PREFIX_WANTED = _gauge("prefix_wanted_preference", "What health alone would do, in the same numbers.", "prefix")
PREFIX_HOLD = _gauge(
    "prefix_hold", "1 for the reason that holds a change back; absent when none does.", "prefix", "reason",
    values="docs/reasons.md, reasons that hold",
)  # fmt: skip
PREFIX_NEIGHBORS = _gauge(
    "prefix_neighbors", "Neighbors that should carry the prefix, and established ones that have it as wanted.",
    "prefix", "which", values="wanted, confirmed",
)  # fmt: skip
PREFIX_SINCE = _gauge("prefix_preference_since_seconds", "Unix time of the prefix's last change of level.", "prefix")

CHECK_HEALTH = _gauge(
    "check_health",
    "1 healthy, 0.5 degraded, 0 unhealthy, -1 not known.",
    "check",
    values="the configured checks, bound to targets",
)
CHECK_LATENCY = _gauge(
    "check_latency_seconds", "Smoothed time of the passing probes; absent unless it answers.", "check"
)
CHECK_FAILURES = _gauge("check_failures_ratio", "Share of the probes in the check's window that failed.", "check")
CHECK_LOSS = _gauge("check_loss_ratio", "Share of those that had no answer in time.", "check")
CHECK_JITTER = _gauge(
    "check_jitter_seconds", "Mean difference of successive times in the window; absent without two answers.", "check"
)
CHECK_CERTIFICATE = _gauge(
    "check_certificate_expiry_seconds",
    "Unix time at which the certificate that the check's last probe saw ends; absent where it saw none.",
    "check",
)
TUNNEL_HEALTH = _gauge("tunnel_health", "1 healthy, 0.5 degraded, 0 unhealthy, -1 not known.", "region", "tunnel")
TUNNEL_LATENCY = _gauge(
    "tunnel_latency_seconds", "Smoothed time of the tunnel's slowest check; absent unless usable.", "region", "tunnel"
)
BACKEND_HEALTH = _gauge("backend_health", "1 healthy, 0.5 degraded, 0 unhealthy, -1 not known.", "region", "backend")
REGION_HEALTH = _gauge("region_health", "1 usable, 0.5 usable but degraded, 0 not usable, -1 not known.", "region")
REGION_TUNNEL = _gauge(
    "region_tunnel", "1 for the tunnel that carries the region's packets.", "region", "tunnel", "family",
    values="family: ipv4, ipv6",
)  # fmt: skip
REGION_TUNNELS = _gauge(
    "region_tunnels", "Tunnels of the region.", "region", "which", values="total, healthy, degraded"
)
REGION_BACKENDS = _gauge(
    "region_backends", "Backends of the region.", "region", "which", values="total, healthy, degraded"
)
FAULT = _gauge(
    "fault", "1 for the scope in which a fault is seen.", "scope", values="none, backend, tunnel, region, pop, self"
)
SELF_SUSPECT = _gauge("self_suspect", "1 while many failures at once are believed to be our own.")

DRAIN_ACTIVE = _gauge(
    "drain_active", "1 for each drain in force, by its phase.", "scope", "name", "phase",
    values="scope: pop, neighbor, region, tunnel, backend; "
    "phase: DEPREF, GSHUT, WITHDRAW, LINGER, DRAINING, DRAINED",
)  # fmt: skip
OVERRIDE_ACTIVE = _gauge(
    "override_active", "1 for each override in force.", "kind", "name", values="kind: prefix, tunnel, backend"
)
ORDER_EXPIRES = _gauge(
    "order_expires_seconds", "Unix time at which a drain, override or freeze ends by itself; absent if it does not.",
    "order", "name", values="order: drain pop, drain neighbor, ..., override prefix, ..., freeze",
)  # fmt: skip
FROZEN = _gauge("frozen", "1 while announcements are frozen.")

ORDERS_REFUSED = _counter("orders_refused", "Orders of operators that were refused.", "code",
                          values="docs/reasons.md, refused orders; the codes of docs/api.md")  # fmt: skip
BREAKER_TRIPPED = _gauge("breaker_tripped", "1 while the circuit breaker keeps prefixes on the air.")
BREAKER_WITHDRAWALS = _gauge(
    "breaker_withdrawals", "Prefixes that health withdrew within the breaker's window, and how many may be.", "which",
    values="went, limit",
)  # fmt: skip

SPEAKER_STATE = _gauge(
    "speaker_state", "1 for ExaBGP's state, 0 for the others.", "state",
    values="absent, starting, syncing, ready, wedged",
)  # fmt: skip
SESSION_ESTABLISHED = _gauge("session_established", "1 when the BGP session is established.", "neighbor")
SESSION_SINCE = _gauge("session_since_seconds", "Unix time of the session's last change of state.", "neighbor")
NEIGHBOR_ROUTES = _gauge(
    "neighbor_routes", "Routes the neighbor should be sent, and is sent.", "neighbor", "which",
    values="desired, observed, as_wanted",
)  # fmt: skip
UNWANTED_ROUTES = _gauge("unwanted_routes", "Routes that ExaBGP sends and nobody wanted; must be 0.")
COMMANDS_IN_FLIGHT = _gauge("commands_in_flight", "Prefixes at neighbors with a command not yet acknowledged.")
KERNEL_WANTED = _gauge("kernel_wanted", "Routes and rules the kernel should hold.", "what", values="routes, rules")
KERNEL_MISSING = _gauge("kernel_missing", "Wanted routes and rules that the kernel should have and has not.")

GUARD = _gauge("guard", "1 for the way in which a prefix may leave.", "guard", values="echo, blind, static")
PREFIX_ANNOUNCERS = _gauge(
    "prefix_announcers", "Other POPs that count for the prefix: `counted` lets it leave, `present` keeps it away.",
    "prefix", "which", values="counted, normal, present",
)  # fmt: skip
POP_HEARD = _gauge("pop_heard", "1 while another POP's beacon is heard.", "pop", values="the POPs of the file")
BEACON_AGE = _gauge("beacon_age_seconds", "Since when another POP's beacon has not moved; absent before it was heard.",
                    "pop")  # fmt: skip
OBSERVERS = _gauge("observers", "Observers.", "which", values="configured, established")
BEACON_STORE = _gauge("beacon_store", "1 while beacons go through the fleet's store; absent where they are not to.")
OBSERVER_UPDATES = _counter(
    "observer_updates", "UPDATEs of an observer, by what they were.", "neighbor", "what",
    values="beacon, foreign, unreadable, flooded",
)  # fmt: skip

CONFIG_LOADED = _gauge("config_loaded_seconds", "Unix time at which the configuration in force was loaded.")
CONFIG_REFUSED = _gauge("config_refused", "1 while a newer configuration file is refused.")
LOOP_LAG = _gauge("loop_lag_seconds", "How late the event loop was last, and at most in the last minute.", "which",
                  values="last, max")  # fmt: skip

PROBES = _counter("probe_results", "Probe results.", "kind", "outcome", "why", values="docs/reasons.md, probe results")
VERDICTS = _counter("check_verdicts", "Checks that changed their verdict, by the new one.", "health",
                    values="INITIAL, HEALTHY, DEGRADED, UNHEALTHY, UNKNOWN")  # fmt: skip
DECISIONS = _counter(
    "decisions", "Decisions whose level, reason or hold changed.", "level", "reason", "hold",
    values="docs/reasons.md; hold is empty when nothing is held",
)  # fmt: skip
EFFECTS = _counter("effects", "Looks after changes of level, by what they found.", "effect",
                   values="docs/reasons.md, effects")  # fmt: skip
REROUTES = _counter("reroutes", "Regions whose packets were given another tunnel, by family.")
EIPS_MOVED = _counter("eips_moved", "EIPs whose packets were sent elsewhere.", "reason",
                      values="docs/reasons.md, placements")  # fmt: skip
FILTER_MISSING = _gauge("filter_missing", "Elements of the packet filter's sets that are not as wanted.")
FILTER_STANDS = _gauge("filter_stands", "1 while the packet filter's rules stand as installed.")
BGP_ACTIONS = _counter(
    "bgp_actions", "Changes ordered of ExaBGP.", "action", "neighbor", values="announce, withdraw, end_of_rib"
)
COMMANDS = _counter("commands", "Commands that ExaBGP answered.", "result", values="acknowledged, refused")
EXPORTS_REFUSED = _counter("exports_refused", "Routes that the export allow-list did not let out.", "why",
                           values="docs/reasons.md, refused routes")  # fmt: skip
SPEAKER_STARTS = _counter("speaker_starts", "Times that ExaBGP was started or replaced.")
RELOADS = _counter("reloads", "Reloads of the configuration.", "result", values="applied, refused")
RELOAD_TIME = _gauge("reload_last_success_seconds", "Unix time of the last applied reload; 0 = none yet.")
STAGE_FAILURES = _counter("stage_failures", "Stages of the daemon that failed and were started again.", "stage",
                          values="the daemon's own stages")  # fmt: skip
LOG_SUPPRESSED = _counter(
    "log_lines_suppressed", "Log lines left out because their reason said too much, or nobody read them."
)

SEEN_TO_DECIDED = _histogram("failover_decide_seconds", "From the probe result that tipped a verdict to the decision.")
DECIDED_TO_COMMANDED = _histogram("failover_command_seconds", "From the decision to the line written to ExaBGP.")
COMMANDED_TO_ACKED = _histogram("failover_acknowledge_seconds", "From the line written to ExaBGP's acknowledgement.")
FAILOVER = _histogram("failover_seconds", "From the probe result that tipped a verdict to the acknowledgement.")

EIP_BYTES = _counter("eip_bytes", "L3 bytes let through; `in` is from clients. `eip` is the address.", "eip",
                     "direction", values="in, out")  # fmt: skip
EIP_PACKETS = _counter("eip_packets", "Packets let through.", "eip", "direction", values="in, out")
EIP_DROPPED_BYTES = _counter(
    "eip_dropped_bytes", "L3 bytes dropped. `limit` is there while the EIP has a limit, or if it ever dropped.",
    "eip", "direction", "cause", values="in: limit, unbound, no_path; out: limit",
)  # fmt: skip
EIP_DROPPED_PACKETS = _counter(
    "eip_dropped_packets",
    "Packets dropped, likewise.",
    "eip",
    "direction",
    "cause",
    values="in: limit, unbound, no_path; out: limit",
)
EIP_LIMIT = _gauge("eip_limit_bits_per_second", "The bandwidth limit; absent without one.", "eip", "direction",
                   values="in, out")  # fmt: skip
EIP_SHAPED_DROPPED = _counter(
    "eip_shaped_dropped_packets",
    "Packets to clients that the queue of an EIP with `shaping: htb` dropped, of all uplinks; begins anew with the "
    "queue. A large segment (offload) is one.",
    "eip",
)
EIP_STATUS = _gauge(
    "eip_status", "1 for the EIP's status; the others are absent.", "eip", "status",
    values="CREATING, UNBIND, BINDING, BIND, UNBINDING, OFFLINING",
)  # fmt: skip
EIP_PLACEMENT = _gauge(
    "eip_placement", "Share of the EIP's new connections that goes to the backend, 0 to 1.", "eip", "region", "backend"
)
EIP_CONNECTIONS = _gauge("eip_connections", "Connections tracked; of EIPs that have some.", "eip")
PATH_CONNECTIONS = _gauge(
    "path_connections", "Connections that are pinned to the backend.", "region", "backend", "mode",
    values="mode: routed, dnat, masquerade; backend and mode are empty when no EIP is bound by that path any more",
)  # fmt: skip
POP_BYTES = _counter("pop_bytes", "L3 bytes of all EIPs let through, those gone included.", "direction",
                     values="in, out")  # fmt: skip
POP_PACKETS = _counter("pop_packets", "Packets of all EIPs let through.", "direction", values="in, out")
POP_DROPPED_BYTES = _counter(
    "pop_dropped_bytes", "L3 bytes to our prefixes that belong to no EIP's counter.", "cause",
    values="unbound4, unbound6: no EIP has the address; no_path: no usable route; untracked: of no known connection",
)  # fmt: skip
POP_DROPPED_PACKETS = _counter(
    "pop_dropped_packets",
    "Packets to our prefixes that belong to no EIP's counter.",
    "cause",
    values="unbound4, unbound6, no_path, untracked",
)
UNFORWARDED_PACKETS = _counter(
    "unforwarded_packets", "Packets that the kernel's routing did not pass on, of all that this machine routes.",
    "family", "cause",
    values="ipv4, ipv6; expired: TTL or hop limit; too_big: larger than the way on, not to be divided; no_route",
)  # fmt: skip
CONNTRACK_ENTRIES = _gauge("conntrack_entries", "Connections that the kernel tracks.")
CONNTRACK_LIMIT = _gauge("conntrack_limit", "How many it can (nf_conntrack_max).")
CONNTRACK_INSERT_FAILED = _counter(
    "conntrack_insert_failed", "Packets dropped because another connection had their addresses and ports."
)
CONNTRACK_DROP = _counter("conntrack_drop", "New connections that found the table full.")
CONNTRACK_EARLY_DROP = _counter("conntrack_early_drop", "Connections forgotten to make room for new ones.")

JOURNAL_ENTRIES = _counter("journal_entries", "Entries written to the journal.", "kind",
                           values="docs/reasons.md, entries of the journal")  # fmt: skip
JOURNAL_LOST = _counter(
    "journal_lost", "Entries that were not written, or for a reader of events: not sent.", "why",
    values="docs/reasons.md, losses of the journal",
)  # fmt: skip
JOURNAL_SIZE = _gauge("journal_size_bytes", "Size of the journal's file with its log; absent while there is none.")
JOURNAL_WAITING = _gauge("journal_waiting", "Entries that wait to be written.")
EVENT_READERS = _gauge("event_readers", "Readers of live events.")

FLEET: tuple[Spec, ...] = (GUARD, PREFIX_ANNOUNCERS, POP_HEARD, BEACON_AGE, OBSERVERS, BEACON_STORE, OBSERVER_UPDATES)
"""Made by `telemetry.fleet` from the state."""
PROBE_LATE = _histogram("probe_start_late_seconds", "How long after their time probes were begun.")
PROBE_LATE_MAX = _gauge("probe_start_late_max_seconds", "The latest start of a probe so far.")
PROBES_RUNNING = _gauge("probes_running", "Probes in flight, and sockets that they have open.", "which",
                        values="probes, sockets")  # fmt: skip
PROBES_SKIPPED = _counter(
    "probes_skipped", "Probes left out: we were too late or too many of the check were in flight; no descriptor left.",
    "cause", values="late, descriptors",
)  # fmt: skip
PROBE_STALLED = _counter("probe_stalled_seconds", "Time for which the probe engine's own loop stood still.")
PROBE_WORKER_UP = _gauge("probe_worker_up", "1 while the probe worker runs.", "worker", values="1 to probes.workers")
PROBE_WORKERS_LOST = _counter("probe_workers_lost", "Times that a probe worker was away.")

PROBING: tuple[Spec, ...] = (
    PROBE_LATE, PROBE_LATE_MAX, PROBES_RUNNING, PROBES_SKIPPED, PROBE_STALLED, PROBE_WORKER_UP, PROBE_WORKERS_LOST
)  # fmt: skip
"""Made by `telemetry.probing` when Prometheus asks."""

JOURNAL: tuple[Spec, ...] = (JOURNAL_ENTRIES, JOURNAL_LOST, JOURNAL_SIZE, JOURNAL_WAITING, EVENT_READERS)
"""Made by `telemetry.journal` when Prometheus asks."""

BFD_SESSIONS = _gauge("bfd_sessions", "BFD sessions by state; `unknown`: the process says nothing of them.", "state",
                      values="AdminDown, Down, Init, Up, unknown")  # fmt: skip
ATTACK_STATE = _gauge(
    "attack_state", "0 NORMAL, 1 ELEVATED, 2 ATTACK; EIPs that are NORMAL are absent.", "subject",
    values="pop, and EIPs that are not NORMAL",
)  # fmt: skip
ATTACK_RATE = _gauge(
    "attack_rate", "What comes in per second; EIPs that are NORMAL are absent.", "subject", "what",
    values="packets, bits, connections, dropped_packets",
)  # fmt: skip
ATTACK_USUAL = _gauge(
    "attack_usual_rate", "What is usual per second, as it was learnt.", "subject", "what",
    values="packets, bits, connections",
)  # fmt: skip

BFD_LATE = _gauge(
    "bfd_transmit_late_seconds",
    "How late the BFD process sent at worst, since its last report (each 250 ms) and since it started.",
    "which",
    values="last, max",
)
BFD_REALTIME = _gauge("bfd_realtime", "1 while the BFD process has real-time scheduling.")
BFD_DOWNS = _counter("bfd_downs", "BFD sessions that went down, as their process counts.")
BFD_PACKETS = _counter("bfd_packets", "BFD packets.", "what", values="sent, heard, unsent")
BFD_DISCARDED = _counter("bfd_discarded", "BFD packets that were discarded.", "why", values="docs/bfd.md, discarded")
BFD_RESTARTS = _counter("bfd_restarts", "BFD processes that ended or were replaced while the daemon ran.")

BFD: tuple[Spec, ...] = (
    BFD_SESSIONS, BFD_LATE, BFD_REALTIME, BFD_DOWNS, BFD_PACKETS, BFD_DISCARDED, BFD_RESTARTS,
)  # fmt: skip
"""Made by `telemetry.bfd` of what the process reports; only where there is one."""

TRAFFIC: tuple[Spec, ...] = (
    EIP_BYTES, EIP_PACKETS, EIP_DROPPED_BYTES, EIP_DROPPED_PACKETS, EIP_LIMIT, EIP_SHAPED_DROPPED,
    EIP_STATUS, EIP_PLACEMENT, EIP_CONNECTIONS, PATH_CONNECTIONS,
    POP_BYTES, POP_PACKETS, POP_DROPPED_BYTES, POP_DROPPED_PACKETS,
    UNFORWARDED_PACKETS,
    CONNTRACK_ENTRIES, CONNTRACK_LIMIT, CONNTRACK_INSERT_FAILED, CONNTRACK_DROP, CONNTRACK_EARLY_DROP,
)  # fmt: skip
"""Written by `telemetry.traffic`: with 10,000 EIPs they are 150,000 lines."""

_OF_FILTER = ("kind", "filter", "destination")
FILTERS = _gauge("filters", "Blackholes and flow rules that stand.", "kind", values="blackhole, flow")
FILTER_ENDS = _gauge("filter_ends_seconds", "Unix time at which a blackhole or flow rule ends by itself.", *_OF_FILTER)
FILTER_PACKETS = _counter("filter_dropped_packets", "Packets that it dropped in this POP.", *_OF_FILTER)
FILTER_BYTES = _counter("filter_dropped_bytes", "L3 bytes that it dropped in this POP.", *_OF_FILTER)

FILTERING: tuple[Spec, ...] = (FILTERS, FILTER_ENDS, FILTER_PACKETS, FILTER_BYTES)
"""Made by `telemetry.filters` when Prometheus asks."""

PLAYBOOK_STEPS = _gauge("playbook_steps", "Steps of the playbook that are in force, over all prefixes.", "playbook")
PLAYBOOK_PREFIXES = _gauge(
    "playbook_prefixes", "Prefixes for which the playbook does something, by what.", "playbook", "doing",
    values="docs/playbooks.md, how it runs",
)  # fmt: skip
STANDBYS = _gauge("standbys", "Prefixes that this POP is a standby for.", "stage", values="silent, joined, leaving")

SPREADING: tuple[Spec, ...] = (PLAYBOOK_STEPS, PLAYBOOK_PREFIXES, STANDBYS)
"""Made by `telemetry.spreading` when Prometheus asks."""

BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Around the budget of 10 ms from a failure seen to the UPDATE; +Inf is added by the client."""

CATALOGUE: tuple[Spec, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Spec))
