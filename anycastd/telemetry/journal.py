"""The metrics of the journal, from what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from anycastd.model.journal import EntryKind, JournalFacts, LostWhy
from anycastd.telemetry import catalogue as c


def journal_families(facts: JournalFacts) -> Iterator[Metric]:
    """Yield every metric of the journal. What is alarmed on is there at 0: a rate misses the first of a new series."""
    entries = CounterMetricFamily(c.JOURNAL_ENTRIES.name, c.JOURNAL_ENTRIES.text, labels=c.JOURNAL_ENTRIES.labels)
    for kind in EntryKind:
        entries.add_metric((kind.value,), facts.written.get(kind, 0))
    yield entries
    lost = CounterMetricFamily(c.JOURNAL_LOST.name, c.JOURNAL_LOST.text, labels=c.JOURNAL_LOST.labels)
    for why in LostWhy:
        if why.is_counted:
            lost.add_metric((why.value,), facts.lost.get(why, 0))
    yield lost
    size = GaugeMetricFamily(c.JOURNAL_SIZE.name, c.JOURNAL_SIZE.text)
    if facts.size_bytes is not None:
        size.add_metric((), facts.size_bytes)
    yield size
    yield GaugeMetricFamily(c.JOURNAL_WAITING.name, c.JOURNAL_WAITING.text, value=facts.waiting)
    yield GaugeMetricFamily(c.EVENT_READERS.name, c.EVENT_READERS.text, value=facts.readers)
