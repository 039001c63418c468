"""The metrics of the fleet, from what status says of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from anycastd.model.fleet_view import Guard
from anycastd.model.status import Status
from anycastd.telemetry import catalogue as c


def fleet_families(status: Status) -> Iterator[Metric]:
    """Yield every metric of the fleet; without one they are empty, but for the guard."""
    seen = status.fleet
    guards = [((guard.value,), float(seen.guard is guard)) for guard in Guard]
    yield _gauge(c.GUARD, guards)
    counts = [
        ((str(prefix), which), float(len(names)))
        for prefix, found in seen.others.items()
        for which, names in (("counted", found.counted), ("normal", found.normal), ("present", found.present))
    ]
    yield _gauge(c.PREFIX_ANNOUNCERS, counts)
    yield _gauge(c.POP_HEARD, [((one.name,), float(one.why is None)) for one in seen.pops])
    moved = ((one.name, one.moved_s) for one in seen.pops)
    yield _gauge(c.BEACON_AGE, [((name,), max(status.now_s - at_s, 0.0)) for name, at_s in moved if at_s is not None])
    up = sum(one.established for one in seen.observers)
    yield _gauge(c.OBSERVERS, [(("configured",), float(len(seen.observers))), (("established",), float(up))])
    yield _gauge(c.BEACON_STORE, [] if seen.store is None else [((), float(seen.store))])
    updates = CounterMetricFamily(c.OBSERVER_UPDATES.name, c.OBSERVER_UPDATES.text, labels=c.OBSERVER_UPDATES.labels)
    for one in seen.observers:
        for what, count in (
            ("beacon", one.heard), ("foreign", one.foreign), ("unreadable", one.unreadable), ("flooded", one.flooded)
        ):  # fmt: skip
            updates.add_metric((one.name, what), count)
    yield updates


def _gauge(spec: c.Spec, samples: Sequence[tuple[tuple[str, ...], float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(spec.name, spec.text, labels=spec.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family
