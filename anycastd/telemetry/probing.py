"""The metrics of the probe engine, from what it counts of itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from anycastd.model.probing import LATE_BOUNDS_S, ProbingFacts
from anycastd.telemetry import catalogue as c


def probing_families(facts: ProbingFacts) -> Iterator[Metric]:
    """Yield every metric of the probe engine. What is alarmed on is there at 0."""
    stats = facts.stats
    late = HistogramMetricFamily(c.PROBE_LATE.name, c.PROBE_LATE.text)
    bounds = (*map(str, LATE_BOUNDS_S), "+Inf")
    late.add_metric((), list(zip(bounds, accumulate(stats.late_counts), strict=True)), stats.late_sum_s)
    yield late
    yield GaugeMetricFamily(c.PROBE_LATE_MAX.name, c.PROBE_LATE_MAX.text, value=stats.late_max_s)
    running = GaugeMetricFamily(c.PROBES_RUNNING.name, c.PROBES_RUNNING.text, labels=c.PROBES_RUNNING.labels)
    running.add_metric(("probes",), stats.running)
    running.add_metric(("sockets",), stats.sockets_open)
    yield running
    skipped = CounterMetricFamily(c.PROBES_SKIPPED.name, c.PROBES_SKIPPED.text, labels=c.PROBES_SKIPPED.labels)
    skipped.add_metric(("late",), stats.skipped)
    skipped.add_metric(("descriptors",), stats.unopened)
    yield skipped
    yield CounterMetricFamily(c.PROBE_STALLED.name, c.PROBE_STALLED.text, value=stats.stalled_s)
    up = GaugeMetricFamily(c.PROBE_WORKER_UP.name, c.PROBE_WORKER_UP.text, labels=c.PROBE_WORKER_UP.labels)
    for worker, runs in facts.workers:
        up.add_metric((worker,), float(runs))
    yield up
    yield CounterMetricFamily(c.PROBE_WORKERS_LOST.name, c.PROBE_WORKERS_LOST.text, value=facts.lost)
