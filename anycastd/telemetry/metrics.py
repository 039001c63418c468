"""Counters and histograms fed by events, and with the gauges of the state what Prometheus scrapes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from anycastd.model.address import CheckId
from anycastd.model.bgp import Announce, AnnounceFlow, BgpAction, EndOfRib
from anycastd.model.checks import CheckKind
from anycastd.model.decision import Decision
from anycastd.model.effect import Effect
from anycastd.model.eip import PlacementReason
from anycastd.model.export import ExportRefusal
from anycastd.model.filters import FilterFacts
from anycastd.model.health import Health
from anycastd.model.journal import JournalFacts
from anycastd.model.probe import ProbeResult, Why
from anycastd.model.spread import SpreadFacts
from anycastd.model.status import FailoverTimer, Status
from anycastd.model.topology import Config
from anycastd.resources.refusal import Code
from anycastd.telemetry import catalogue as c
from anycastd.telemetry.bfd import bfd_families
from anycastd.telemetry.collector import Condition, gauges
from anycastd.telemetry.filters import filter_families
from anycastd.telemetry.fleet import fleet_families
from anycastd.telemetry.journal import journal_families
from anycastd.telemetry.probing import probing_families
from anycastd.telemetry.spreading import spreading_families
from anycastd.telemetry.tally import Spread, Tally
from anycastd.telemetry.traffic import TrafficFacts, pieces_of

_ORDER_CODES = (
    Code.ANNOUNCE_WHEN, Code.WITHDRAW_GUARD, Code.FROZEN, Code.FLEET_BUDGET, Code.SINGLE_FLIGHT, Code.CAPACITY,
)  # fmt: skip


class _Scrape(Collector):
    """What one scrape found."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        """Return what was found."""
        return self._families


def _text(families: Iterable[Metric]) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Scrape(families))
    # by the first scrape, in its thread: this brings an HTTP server and a client, 1 MiB, that nothing else needs
    text: bytes = import_module("prometheus_client.exposition").generate_latest(registry)
    return text


class Metrics:
    """Everything that is counted. One for a daemon; nothing global, so that tests can have their own."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, *, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._probes: Counter[tuple[CheckId, Why]] = Counter()
        self._kinds: dict[CheckId, CheckKind] = {}
        self._config: Config | None = None
        apart = (*c.TRAFFIC, *c.JOURNAL, *c.FLEET, *c.BFD, *c.PROBING, *c.FILTERING)
        counted = (spec for spec in c.CATALOGUE if spec.kind is c.Kind.COUNTER and spec not in apart)
        self._tallies = {spec: Tally(spec) for spec in counted}
        spread = (spec for spec in c.CATALOGUE if spec.kind is c.Kind.HISTOGRAM and spec not in apart)
        self._spreads = {spec: Spread(spec) for spec in spread}
        self._reload_unix_s = 0.0
        self._traffic: Callable[[], TrafficFacts] = TrafficFacts
        self._journal: Callable[[], JournalFacts] = JournalFacts
        self._filters: Callable[[], Iterable[FilterFacts]] = tuple
        self._spread: Callable[[], SpreadFacts] = SpreadFacts
        self._always_there()

    def _always_there(self) -> None:
        """Show at 0 what is alarmed on: a rate over a series that begins at 1 misses the first event."""
        for spec in (c.REROUTES, c.SPEAKER_STARTS, c.LOG_SUPPRESSED):
            self._tallies[spec].add(count=0)
        for spec, values in ((c.COMMANDS, ("acknowledged", "refused")), (c.RELOADS, ("applied", "refused"))):
            for value in values:
                self._tallies[spec].add(value, count=0)
        for reason in PlacementReason:
            self._tallies[c.EIPS_MOVED].add(reason.value, count=0)
        for code in _ORDER_CODES:
            self._tallies[c.ORDERS_REFUSED].add(code.value, count=0)
        for effect in Effect:
            self._tallies[c.EFFECTS].add(effect.value, count=0)
        for why in ExportRefusal:
            self._tallies[c.EXPORTS_REFUSED].add(why.value, count=0)
        for health in Health:
            self._tallies[c.VERDICTS].add(health.value, count=0)

    def watch_traffic(self, facts: Callable[[], TrafficFacts]) -> None:
        """Have each scrape tell of what `facts` returns at that moment."""
        self._traffic = facts

    def watch_journal(self, facts: Callable[[], JournalFacts]) -> None:
        """Have each scrape tell of what `facts` returns at that moment."""
        self._journal = facts

    def watch_filters(self, facts: Callable[[], Iterable[FilterFacts]]) -> None:
        """Have each scrape tell of what `facts` returns at that moment."""
        self._filters = facts

    def watch_spread(self, facts: Callable[[], SpreadFacts]) -> None:
        """Have each scrape tell of what `facts` returns at that moment."""
        self._spread = facts

    def probe(self, result: ProbeResult) -> None:
        """Count one probe result: the hot path, so only a dictionary is touched."""
        self._probes[result.check, result.why] += 1

    def verdict(self, health: Health) -> None:
        """Count a check that changed its verdict to `health`."""
        self._tallies[c.VERDICTS].add(health.value)

    def decision(self, decision: Decision) -> None:
        """Count a decision that differs from the one before."""
        hold = decision.hold.value if decision.hold else ""
        self._tallies[c.DECISIONS].add(decision.level.name, decision.reason.value, hold)

    def effect(self, effect: Effect) -> None:
        """Count what a look after a change of level found."""
        self._tallies[c.EFFECTS].add(effect.value)

    def order_refused(self, code: Code) -> None:
        """Count an order of an operator that was refused."""
        self._tallies[c.ORDERS_REFUSED].add(code.value)

    def rerouted(self) -> None:
        """Count a region that takes another tunnel."""
        self._tallies[c.REROUTES].add()

    def moved(self, reason: PlacementReason, eips: int) -> None:
        """Count EIPs whose packets go elsewhere."""
        self._tallies[c.EIPS_MOVED].add(reason.value, count=eips)

    def action(self, action: BgpAction) -> None:
        """Count a change ordered of ExaBGP."""
        kind = "end_of_rib" if isinstance(action, EndOfRib) else "withdraw"
        says = isinstance(action, Announce | AnnounceFlow)
        self._tallies[c.BGP_ACTIONS].add("announce" if says else kind, action.neighbor)

    def command_acknowledged(self, count: int = 1) -> None:
        """Count commands that ExaBGP took."""
        self._tallies[c.COMMANDS].add("acknowledged", count=count)

    def command_refused(self, count: int = 1) -> None:
        """Count commands that ExaBGP refused."""
        self._tallies[c.COMMANDS].add("refused", count=count)

    def export_refused(self, why: ExportRefusal) -> None:
        """Count a route that the export allow-list did not let out."""
        self._tallies[c.EXPORTS_REFUSED].add(why.value)

    def speaker_started(self) -> None:
        """Count a start or replacement of ExaBGP."""
        self._tallies[c.SPEAKER_STARTS].add()

    def reload(self, applied: bool) -> None:
        """Count a reload."""
        self._tallies[c.RELOADS].add("applied" if applied else "refused")
        if applied:
            self._reload_unix_s = self._wall()

    def stage_failed(self, stage: str) -> None:
        """Count a stage of the daemon that failed."""
        self._tallies[c.STAGE_FAILURES].add(stage)

    def log_suppressed(self, count: int) -> None:
        """Count log lines that were left out."""
        self._tallies[c.LOG_SUPPRESSED].add(count=count)

    def failover(self, timer: FailoverTimer) -> None:
        """Take the times of a change that was acknowledged."""
        self._spreads[c.SEEN_TO_DECIDED].observe(timer.decided_s - timer.seen_s)
        if timer.commanded_s is None or timer.acknowledged_s is None:
            return
        self._spreads[c.DECIDED_TO_COMMANDED].observe(timer.commanded_s - timer.decided_s)
        self._spreads[c.COMMANDED_TO_ACKED].observe(timer.acknowledged_s - timer.commanded_s)
        self._spreads[c.FAILOVER].observe(timer.acknowledged_s - timer.seen_s)

    async def expose(self, status: Status, ready: Iterable[Condition]) -> bytes:
        """Return every metric in Prometheus' text format; `ready` are the conditions of /readyz.

        A scrape must not delay a failover: the loop is given back after each metric, and the text, three quarters of
        the work (36 of 49 ms at 1,000 prefixes), is made in a thread.
        """
        found = []
        for family in self.families(status, ready):
            found.append(family)
            await asyncio.sleep(0)
        pieces = [await asyncio.to_thread(_text, found)]
        for piece in pieces_of(self._traffic()):
            pieces.append(piece)
            await asyncio.sleep(0)
        # 11 MB at 10,000 EIPs: in a thread, which gives the interpreter free meanwhile
        return await asyncio.to_thread(b"".join, pieces)

    def families(self, status: Status, ready: Iterable[Condition]) -> Iterator[Metric]:
        """Yield every metric of the catalogue but those of traffic."""
        self._learn(status.config)
        yield from gauges(status, ready)
        yield from fleet_families(status)
        yield GaugeMetricFamily(c.RELOAD_TIME.name, c.RELOAD_TIME.text, value=self._reload_unix_s)
        for tally in self._tallies.values():
            yield self._probe_results().family() if tally.spec is c.PROBES else tally.family()
        for spread in self._spreads.values():
            yield spread.family()
        yield from journal_families(self._journal())
        yield from filter_families(self._filters())
        yield from spreading_families(self._spread())
        yield from bfd_families(status.bfd)
        yield from probing_families(status.probing)

    def _learn(self, config: Config) -> None:
        if config is not self._config:
            self._config = config
            # never forgotten: a counter must not shrink when a check is removed
            self._kinds |= {p.id: p.check.kind for p in (*config.probes, *config.self_test.probes)}

    def _probe_results(self) -> Tally:
        tally = Tally(c.PROBES)
        for (check, why), count in self._probes.items():
            if kind := self._kinds.get(check):
                tally.add(kind.value, why.outcome.value, why.value, count=count)
        return tally
