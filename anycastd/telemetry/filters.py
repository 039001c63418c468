"""The metrics of blackholes and flow rules, from what stands at the moment of a scrape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from anycastd.model.filters import FilterFacts, FilterKind
from anycastd.telemetry import catalogue as c


def filter_families(facts: Iterable[FilterFacts]) -> Iterator[Metric]:
    """Yield every metric; how many stand is there at 0."""
    every = tuple(facts)
    standing = GaugeMetricFamily(c.FILTERS.name, c.FILTERS.text, labels=c.FILTERS.labels)
    for kind in FilterKind:
        standing.add_metric((kind.value,), sum(one.kind is kind for one in every))
    yield standing
    ends = GaugeMetricFamily(c.FILTER_ENDS.name, c.FILTER_ENDS.text, labels=c.FILTER_ENDS.labels)
    packets = CounterMetricFamily(c.FILTER_PACKETS.name, c.FILTER_PACKETS.text, labels=c.FILTER_PACKETS.labels)
    octets = CounterMetricFamily(c.FILTER_BYTES.name, c.FILTER_BYTES.text, labels=c.FILTER_BYTES.labels)
    for one in every:
        labels = (one.kind.value, one.id, one.destination)
        ends.add_metric(labels, one.ends_unix_s)
        packets.add_metric(labels, one.dropped.packets)
        octets.add_metric(labels, one.dropped.bytes)
    yield from (ends, packets, octets)
