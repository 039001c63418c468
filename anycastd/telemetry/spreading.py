"""The metrics of playbooks and standbys, from what is in force at the moment of a scrape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from anycastd.model.spread import SpreadFacts
from anycastd.telemetry import catalogue as c


def spreading_families(facts: SpreadFacts) -> Iterator[Metric]:
    """Yield every metric; a playbook of which nothing is in force is there at 0."""
    yield _gauge(c.PLAYBOOK_STEPS, (((name,), count) for name, count in facts.steps.items()))
    yield _gauge(c.PLAYBOOK_PREFIXES, facts.doing.items())
    yield _gauge(c.STANDBYS, (((stage,), count) for stage, count in facts.standbys.items()))


def _gauge(spec: c.Spec, samples: Iterable[tuple[tuple[str, ...], int]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(spec.name, spec.text, labels=spec.labels)
    for labels, value in samples:
        family.add_metric(labels, float(value))
    return family
