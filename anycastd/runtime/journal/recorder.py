"""Who is told of what happens: the log, the metrics, the failover timers and the journal hear the same words."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from anycastd.model.bgp import BgpAction
from anycastd.model.decision import Decision, Level, TunnelOrder
from anycastd.model.health import Health
from anycastd.model.probe import ProbeResult
from anycastd.policy.snapshot import Snapshot
from anycastd.reconcile.eip_pool import Moved
from anycastd.runtime.journal.follow import Followed
from anycastd.runtime.journal.scribe import Scribe, words
from anycastd.runtime.loop.beliefs import Verdict
from anycastd.telemetry.logs import log_event
from anycastd.telemetry.metrics import Metrics

log = logging.getLogger("anycastd")


class Recorder:
    """Implements `ports.Record`."""

    def __init__(self, metrics: Metrics, followed: Followed, scribe: Scribe) -> None:
        self._metrics, self._followed, self._scribe = metrics, followed, scribe
        self.on_decided: Callable[[Decision | None, Decision, float], None] = lambda before, after, now_s: None

    def result(self, result: ProbeResult) -> None:
        """Count one probe result."""
        self._metrics.probe(result)

    def verdict(self, verdict: Verdict) -> None:
        """Log a check that changed its verdict."""
        after = verdict.after
        last = after.last
        self._metrics.verdict(after.health)
        log_event(
            log,
            "verdict",
            level=logging.INFO if after.health is Health.HEALTHY else logging.WARNING,
            check=after.id,
            before=verdict.before.health.value,
            after=after.health.value,
            why=last.why.value if last else "",
            detail=last.detail if last else "",
            exceeded=", ".join(f"{one.measure.value} above {one.limit:g} {one.measure.unit}" for one in after.exceeded),
        )
        self._scribe.verdict(verdict)

    def decided(self, before: Decision | None, snapshot: Snapshot, seen_s: float) -> None:
        """Log a decision, and follow it if the level changed."""
        after, now_s = snapshot.decision, snapshot.facts.now_s
        self._metrics.decision(after)
        changed = before is not None and before.level is not after.level
        if changed or (before is None and after.level is not Level.WITHDRAWN):
            was = before.level.name if before else Level.WITHDRAWN.name
            self._followed.decided(after.prefix, f"{was} -> {after.level.name}", seen_s, now_s)
        log_event(
            log,
            "decision",
            level=logging.WARNING if changed and after.level is not Level.NORMAL else logging.INFO,
            prefix=str(after.prefix),
            before=before.level.name if before else "",
            after=after.level.name,
            why=after.reason.value,
            hold=after.hold.value if after.hold else "",
            detail=after.detail,
        )
        self._scribe.decided(before, snapshot)
        self.on_decided(before, after, now_s)

    def rerouted(self, before: TunnelOrder, after: TunnelOrder) -> None:
        """Log a region whose packets take another tunnel."""
        self._metrics.rerouted()
        log_event(
            log,
            "rerouted",
            level=logging.WARNING,
            region=after.region,
            family=f"ipv{after.version}",
            before=before.tunnels[0] if before.tunnels else "",
            after=after.tunnels[0] if after.tunnels else "",
            detail=after.reason,
        )
        self._scribe.rerouted(before, after)

    def moved(self, moved: Moved) -> None:
        """Log EIPs whose packets go elsewhere, or the same way for another reason."""
        elsewhere = moved.before.shares != moved.after.shares
        if elsewhere:
            self._metrics.moved(moved.after.reason, len(moved.addresses))
        log_event(
            log,
            "eips_moved" if elsewhere else "eips_stay",
            level=logging.WARNING if elsewhere and moved.before.shares else logging.INFO,
            eips=len(moved.addresses),
            first=str(min(moved.addresses, key=int)) if moved.addresses else "",
            before=words(moved.before),
            after=words(moved.after),
            why=moved.after.reason.value,
            detail=moved.after.detail,
        )
        if elsewhere:
            self._scribe.moved(moved)

    def acted(self, actions: Iterable[BgpAction]) -> None:
        """Count what is said to ExaBGP."""
        for action in actions:
            self._metrics.action(action)
