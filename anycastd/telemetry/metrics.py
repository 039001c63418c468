"""Counters and histograms fed by events, and with the gauges of the state what Prometheus scrapes."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from anycastd.model.address import CheckId
from anycastd.model.bgp import Announce, BgpAction, EndOfRib
from anycastd.model.checks import CheckKind
from anycastd.model.decision import Decision
from anycastd.model.health import Health
from anycastd.model.probe import ProbeResult, Why
from anycastd.model.status import FailoverTimer, Status
from anycastd.model.topology import Config
from anycastd.telemetry import catalogue as c
from anycastd.telemetry.collector import Condition, gauges


class Metrics(Collector):
    """Everything that is counted. One for a daemon; nothing global, so that tests can have their own."""

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self, *, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._registry = CollectorRegistry(auto_describe=False)
        self._probes: Tally[tuple[CheckId, Why]] = Tally()
        self._kinds: dict[CheckId, CheckKind] = {}
        self._config: Config | None = None
        self._scraped: tuple[Status, tuple[Condition, ...]] | None = None
        self._verdicts = self._counter(c.VERDICTS)
        self._decisions = self._counter(c.DECISIONS)
        self._reroutes = self._counter(c.REROUTES)
        self._actions = self._counter(c.BGP_ACTIONS)
        self._commands = self._counter(c.COMMANDS)
        self._starts = self._counter(c.SPEAKER_STARTS)
        self._reloads = self._counter(c.RELOADS)
        self._reload_time = Gauge(c.RELOAD_TIME.name, c.RELOAD_TIME.text, registry=self._registry)
        self._stages = self._counter(c.STAGE_FAILURES)
        self._suppressed = self._counter(c.LOG_SUPPRESSED)
        self._decide, self._command = self._histogram(c.SEEN_TO_DECIDED), self._histogram(c.DECIDED_TO_COMMANDED)
        self._ack, self._whole = self._histogram(c.COMMANDED_TO_ACKED), self._histogram(c.FAILOVER)
        self._always_there()
        self._registry.register(self)

    def _counter(self, spec: c.Spec) -> Counter:
        return Counter(spec.name, spec.text, spec.labels, registry=self._registry)

    def _histogram(self, spec: c.Spec) -> Histogram:
        return Histogram(spec.name, spec.text, spec.labels, registry=self._registry, buckets=c.BUCKETS_S)

    def _always_there(self) -> None:
        """Show at 0 what is alarmed on: a rate over a series that begins at 1 misses the first event."""
        for result in ("acknowledged", "refused"):
            self._commands.labels(result)
        for result in ("applied", "refused"):
            self._reloads.labels(result)
        for health in Health:
            self._verdicts.labels(health.value)

    def probe(self, result: ProbeResult) -> None:
        """Count one probe result: the hot path, so only a dictionary is touched."""
        self._probes[result.check, result.why] += 1

    def verdict(self, health: Health) -> None:
        """Count a check that changed its verdict to `health`."""
        self._verdicts.labels(health.value).inc()

    def decision(self, decision: Decision) -> None:
        """Count a decision that differs from the one before."""
        hold = decision.hold.value if decision.hold else ""
        self._decisions.labels(decision.level.name, decision.reason.value, hold).inc()

    def rerouted(self) -> None:
        """Count a prefix that takes another tunnel."""
        self._reroutes.inc()

    def action(self, action: BgpAction) -> None:
        """Count a change ordered of ExaBGP."""
        kind = "end_of_rib" if isinstance(action, EndOfRib) else "withdraw"
        self._actions.labels("announce" if isinstance(action, Announce) else kind, action.neighbor).inc()

    def command_acknowledged(self, count: int = 1) -> None:
        """Count commands that ExaBGP took."""
        self._commands.labels("acknowledged").inc(count)

    def command_refused(self, count: int = 1) -> None:
        """Count commands that ExaBGP refused."""
        self._commands.labels("refused").inc(count)

    def speaker_started(self) -> None:
        """Count a start or replacement of ExaBGP."""
        self._starts.inc()

    def reload(self, applied: bool) -> None:
        """Count a reload."""
        self._reloads.labels("applied" if applied else "refused").inc()
        if applied:
            self._reload_time.set(self._wall())

    def stage_failed(self, stage: str) -> None:
        """Count a stage of the daemon that failed."""
        self._stages.labels(stage).inc()

    def log_suppressed(self, count: int) -> None:
        """Count log lines that were left out."""
        self._suppressed.inc(count)

    def failover(self, timer: FailoverTimer) -> None:
        """Take the times of a change that was acknowledged."""
        self._decide.observe(max(timer.decided_s - timer.seen_s, 0.0))
        if timer.commanded_s is None or timer.acknowledged_s is None:
            return
        self._command.observe(max(timer.commanded_s - timer.decided_s, 0.0))
        self._ack.observe(max(timer.acknowledged_s - timer.commanded_s, 0.0))
        self._whole.observe(max(timer.acknowledged_s - timer.seen_s, 0.0))

    def expose(self, status: Status, ready: Iterable[Condition]) -> bytes:
        """Return every metric in Prometheus' text format; `ready` are the conditions of /readyz."""
        self._learn(status.config)
        self._scraped = (status, tuple(ready))
        try:
            return generate_latest(self._registry)
        finally:
            self._scraped = None

    def _learn(self, config: Config) -> None:
        if config is not self._config:
            self._config = config
            # never forgotten: a counter must not shrink when a check is removed
            self._kinds |= {p.id: p.check.kind for p in (*config.probes, *config.self_test.probes)}

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges and the probe results; called by the registry while `expose` runs."""
        if self._scraped is None:
            return
        yield from gauges(*self._scraped)
        yield self._probe_results()

    def _probe_results(self) -> CounterMetricFamily:
        by_kind: Tally[tuple[CheckKind, Why]] = Tally()
        for (check, why), count in self._probes.items():
            if kind := self._kinds.get(check):
                by_kind[kind, why] += count
        family = CounterMetricFamily(c.PROBES.name, c.PROBES.text, labels=c.PROBES.labels)
        for (kind, why), count in sorted(by_kind.items()):
            family.add_metric((kind.value, why.outcome.value, why.value), count)
        return family
