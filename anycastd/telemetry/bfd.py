"""The metrics of the process that speaks BFD; none where there is no `bfd` check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from anycastd.model.bfd import BfdView
from anycastd.telemetry import catalogue as c

STATES = ("AdminDown", "Down", "Init", "Up", "unknown")


def bfd_families(view: BfdView | None) -> Iterator[Metric]:
    """Yield every metric of BFD. Counters begin anew with each process, as those of any program do."""
    if view is None:
        return
    yield _gauge(c.BFD_SESSIONS, {state: view.sessions.get(state, 0) for state in STATES})
    yield _gauge(c.BFD_LATE, {"last": view.late_s, "max": view.late_worst_s})
    yield GaugeMetricFamily(c.BFD_REALTIME.name, c.BFD_REALTIME.text, value=float(view.realtime))
    yield CounterMetricFamily(c.BFD_DOWNS.name, c.BFD_DOWNS.text, value=view.downs)
    yield _counter(c.BFD_PACKETS, {"sent": view.sent, "heard": view.heard, "unsent": view.unsent})
    yield _counter(c.BFD_DISCARDED, view.discarded)
    yield CounterMetricFamily(c.BFD_RESTARTS.name, c.BFD_RESTARTS.text, value=view.restarts)


def _gauge(spec: c.Spec, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(spec.name, spec.text, labels=spec.labels)
    for label, value in values.items():
        family.add_metric((label,), value)
    return family


def _counter(spec: c.Spec, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(spec.name, spec.text, labels=spec.labels)
    for label, value in values.items():
        family.add_metric((label,), value)
    return family
