"""The gauges: made from `Status` when Prometheus asks, so that they cannot differ from what the API says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import fields

from prometheus_client.metrics_core import GaugeMetricFamily

from anycastd.model.address import NeighborName, TunnelId
from anycastd.model.attack import Rate
from anycastd.model.bgp import SessionState, SpeakerState
from anycastd.model.health import FaultScope, Health
from anycastd.model.status import Alarm, Status
from anycastd.telemetry import catalogue as c

Condition = tuple[str, bool, str]
Sample = tuple[tuple[str, ...], float]
_HEALTH = {
    Health.HEALTHY: 1.0,
    Health.DEGRADED: 0.5,
    Health.UNHEALTHY: 0.0,
    Health.UNKNOWN: -1.0,
    Health.INITIAL: -1.0,
}


def gauges(status: Status, ready: Iterable[Condition]) -> Iterator[GaugeMetricFamily]:
    """Yield every gauge that is a function of the state."""
    for source in (
        _daemon(status, list(ready)),
        _prefixes(status),
        _health(status),
        _bgp(status),
        _kernel(status),
        _orders(status),
        _attack(status),
    ):
        for spec, samples in source:
            family = GaugeMetricFamily(spec.name, spec.text, labels=spec.labels)
            for labels, value in samples:
                family.add_metric(labels, value)
            yield family


Source = Iterator[tuple[c.Spec, list[Sample]]]


def _one(value: float) -> list[Sample]:
    return [((), value)]


def _daemon(status: Status, ready: list[Condition]) -> Source:
    raised = Counter(view.alarm for view in status.alarms)
    config = status.config
    offset_s = status.wall_s - status.now_s
    yield c.INFO, [((config.pop.name, status.version, config.digest), 1.0)]
    yield c.START_TIME, _one(status.started_s + offset_s)
    yield c.STOPPING, _one(float(status.stopping))
    yield c.READY, _one(float(all(ok for _, ok, _ in ready)))
    yield c.READY_CONDITION, [((name,), float(ok)) for name, ok, _ in ready]
    yield c.ALARM, [((alarm.value,), float(raised[alarm])) for alarm in Alarm]
    yield c.CONFIG_LOADED, _one(status.config_loaded_s + offset_s)
    yield c.CONFIG_REFUSED, _one(float(bool(status.config_error)))
    lag = (("last", status.loop.lag_ms), ("max", status.loop.lag_max_ms))
    yield c.LOOP_LAG, [((which,), lag_ms / 1000.0) for which, lag_ms in lag]


def _prefixes(status: Status) -> Source:
    views = {str(prefix): view for prefix, view in status.prefixes.items()}
    offset_s = status.wall_s - status.now_s
    yield c.PREFIX_STATE, [((p, v.state.value), 1.0) for p, v in views.items()]
    yield c.PREFIX_PREFERENCE, [((p,), float(v.decision.level)) for p, v in views.items()]
    yield c.PREFIX_WANTED, [((p,), float(v.decision.wanted)) for p, v in views.items()]
    holds = ((p, v.decision.hold) for p, v in views.items())
    yield c.PREFIX_HOLD, [((p, hold.value), 1.0) for p, hold in holds if hold is not None]
    yield (
        c.PREFIX_NEIGHBORS,
        [
            ((p, which), float(len(names)))
            for p, v in views.items()
            for which, names in (("wanted", v.carriers), ("confirmed", v.confirmed))
        ],
    )
    yield c.PREFIX_SINCE, [((p,), v.decision.since_s + offset_s) for p, v in views.items()]


def _tunnel_labels(status: Status, id_: TunnelId) -> tuple[str, str]:
    return (status.health.tunnels[id_].region, id_.rpartition("/")[2])


def _health(status: Status) -> Source:
    health = status.health
    orders = status.tunnel_orders.values()
    yield (
        c.REGION_TUNNEL,
        [((*_tunnel_labels(status, o.tunnels[0]), f"ipv{o.version}"), 1.0) for o in orders if o.tunnels],
    )
    yield c.CHECK_HEALTH, [((id_,), _HEALTH[state.health]) for id_, state in status.checks.items()]
    # what was measured before a check went bad is no measurement of now: the series has a gap instead
    timed = ((id_, state.latency_ms) for id_, state in status.checks.items() if state.health.is_usable)
    yield c.CHECK_LATENCY, [((id_,), latency_ms / 1000.0) for id_, latency_ms in timed if latency_ms is not None]
    yield from _windows(status)
    notes = ((id_, state.last.note) for id_, state in status.checks.items() if state.last is not None)
    ends = ((id_, note.certificate_ends_s) for id_, note in notes if note is not None)
    yield c.CHECK_CERTIFICATE, [((id_,), ends_s) for id_, ends_s in ends if ends_s is not None]
    tunnels = {_tunnel_labels(status, id_): view for id_, view in health.tunnels.items()}
    yield c.TUNNEL_HEALTH, [(labels, _HEALTH[view.health]) for labels, view in tunnels.items()]
    timed_tunnels = ((labels, v.latency_ms) for labels, v in tunnels.items() if v.health.is_usable)
    yield c.TUNNEL_LATENCY, [(labels, ms / 1000.0) for labels, ms in timed_tunnels if ms is not None]
    backends = [((v.region, id_.rpartition("/")[2]), v.health) for id_, v in health.backends.items()]
    yield c.BACKEND_HEALTH, [(labels, _HEALTH[state]) for labels, state in backends]
    regions = health.regions.values()
    yield c.REGION_HEALTH, [((view.name,), _HEALTH[view.health]) for view in regions]
    yield (
        c.REGION_TUNNELS,
        [s for v in regions for s in _counts(v.name, v.total_tunnels, v.healthy_tunnels, v.degraded_tunnels)],
    )
    yield (
        c.REGION_BACKENDS,
        [s for v in regions for s in _counts(v.name, v.total_backends, v.healthy_backends, v.degraded_backends)],
    )
    yield c.FAULT, [((scope.value,), float(health.fault is scope)) for scope in FaultScope]
    yield c.SELF_SUSPECT, _one(float(health.self_test.suspect_until_s is not None))


def _windows(status: Status) -> Source:
    windows = status.measured.items()
    failures = ((id_, one.failures_percent) for id_, one in windows)
    yield c.CHECK_FAILURES, [((id_,), percent / 100.0) for id_, percent in failures if percent is not None]
    losses = ((id_, one.loss_percent) for id_, one in windows)
    yield c.CHECK_LOSS, [((id_,), percent / 100.0) for id_, percent in losses if percent is not None]
    jitters = ((id_, one.jitter_ms) for id_, one in windows)
    yield c.CHECK_JITTER, [((id_,), jitter_ms / 1000.0) for id_, jitter_ms in jitters if jitter_ms is not None]


def _counts(name: str, total: int, healthy: int, degraded: int) -> list[Sample]:
    return [
        ((name, which), float(count))
        for which, count in (("total", total), ("healthy", healthy), ("degraded", degraded))
    ]


def _bgp(status: Status) -> Source:
    bgp, offset_s = status.bgp, status.wall_s - status.now_s
    yield c.SPEAKER_STATE, [((state.value,), float(bgp.speaker is state)) for state in SpeakerState]
    configured = {name: bgp.sessions.get(name) for name in status.config.neighbors}
    yield (
        c.SESSION_ESTABLISHED,
        [((n,), float(s is not None and s.state is SessionState.ESTABLISHED)) for n, s in configured.items()],
    )
    yield c.SESSION_SINCE, [((n,), s.since_s + offset_s) for n, s in configured.items() if s is not None]
    yield c.NEIGHBOR_ROUTES, [sample for name in status.config.neighbors for sample in _routes(status, name)]
    yield c.UNWANTED_ROUTES, _one(float(len(status.unwanted)))
    yield c.COMMANDS_IN_FLIGHT, _one(float(len(bgp.in_flight)))


def _routes(status: Status, name: NeighborName) -> Iterator[Sample]:
    wanted = status.wanted_routes.get(name, {})
    yield (name, "desired"), float(len(wanted))
    if status.bgp.routes is None:
        return
    have = status.bgp.routes.get(name, {})
    yield (name, "observed"), float(len(have))
    yield (name, "as_wanted"), float(sum(have.get(prefix) == route for prefix, route in wanted.items()))


def _orders(status: Status) -> Source:
    orders, offset_s = status.orders, status.wall_s - status.now_s
    yield c.DRAIN_ACTIVE, [((one.scope.value, one.name, one.phase.value), 1.0) for one in orders.drains]
    yield c.OVERRIDE_ACTIVE, [((one.kind.value, one.name), 1.0) for one in orders.overrides]
    ends = [(f"drain {one.scope.value}", one.name, one.expires_s) for one in orders.drains]
    ends += [(f"override {one.kind.value}", one.name, one.expires_s) for one in orders.overrides]
    ends += [("freeze", "", orders.freeze.expires_s)] if orders.freeze else []
    yield c.ORDER_EXPIRES, [((kind, name), at_s + offset_s) for kind, name, at_s in ends if at_s is not None]
    yield c.FROZEN, _one(float(bool(orders.hold)))
    breaker = status.breaker
    yield c.BREAKER_TRIPPED, _one(float(breaker.tripped_s is not None))
    yield c.BREAKER_WITHDRAWALS, [(("went",), float(breaker.left)), (("limit",), float(breaker.limit))]


def _attack(status: Status) -> Source:
    subjects = [("pop", status.attack.pop), *((str(address), one) for address, one in status.attack.eips.items())]
    yield c.ATTACK_STATE, [((name,), float(one.state)) for name, one in subjects]
    rates = [(name, field.name, getattr(one.rate, field.name)) for name, one in subjects for field in fields(Rate)]
    yield c.ATTACK_RATE, [((name, what), value) for name, what, value in rates if value is not None]
    usual = [
        (name, what, getattr(one.usual, what)) for name, one in subjects for what in ("packets", "bits", "connections")
    ]
    yield c.ATTACK_USUAL, [((name, what), value) for name, what, value in usual if value is not None]


def _kernel(status: Status) -> Source:
    wanted = (("routes", len(status.wanted_kernel_routes)), ("rules", len(status.wanted_kernel_rules)))
    yield c.KERNEL_WANTED, [((what,), float(count)) for what, count in wanted]
    yield c.KERNEL_MISSING, _one(float(status.kernel_missing))
    yield c.FILTER_MISSING, _one(float(status.filter_missing))
    yield c.FILTER_STANDS, _one(float(status.filter_stands))
