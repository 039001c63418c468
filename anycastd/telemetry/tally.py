"""Counters and histograms as plain numbers: one dictionary look-up an event, and no series that nobody asked for."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric

from anycastd.telemetry.catalogue import BUCKETS_S, Spec


class Tally:
    """One counter and its label values."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.counts: Counter[tuple[str, ...]] = Counter()

    def add(self, *labels: str, count: int = 1) -> None:
        """Count `count` more."""
        self.counts[labels] += count

    def family(self) -> Metric:
        """Return the counter as Prometheus reads it."""
        family = CounterMetricFamily(self.spec.name, self.spec.text, labels=self.spec.labels)
        for labels, count in sorted(self.counts.items()):
            family.add_metric(labels, count)
        return family


class Spread:
    """One histogram of seconds, with the buckets of the catalogue."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._counts = [0] * (len(BUCKETS_S) + 1)
        self._sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Take one measurement; a negative one (clocks of two readings) counts as 0."""
        seconds = max(seconds, 0.0)
        self._counts[bisect_left(BUCKETS_S, seconds)] += 1
        self._sum_s += seconds

    def _cumulative(self) -> Iterator[tuple[str, float]]:
        total = 0
        for bound, count in zip((*BUCKETS_S, float("inf")), self._counts, strict=True):
            total += count
            yield "+Inf" if bound == float("inf") else str(bound), total

    def family(self) -> Metric:
        """Return the histogram as Prometheus reads it."""
        family = HistogramMetricFamily(self.spec.name, self.spec.text)
        family.add_metric((), list(self._cumulative()), self._sum_s)
        return family
