"""What unusual traffic does to this machine: what its devices, softirqs and connection table lose, and slow checks."""

from __future__ import annotations

from dataclasses import dataclass

from anycastd.attack.usual import Pace, learnt
from anycastd.model.attack import AttackReason
from anycastd.model.attack_config import DetectConfig
from anycastd.model.conntrack import ConntrackStats

LOST_PER_S = 100.0
LOST_SHARE = 0.01
"""Of what comes in: less is what devices lose on any day."""
FULL_PERCENT = 95
SLOW_TIMES, SLOW_MORE_MS = 5.0, 20.0


@dataclass(frozen=True, slots=True)
class Vitals:
    """How the machine is at `at_s`; counters only grow, None: not known. `latency_ms`: the median of usable tunnels."""

    at_s: float
    device_drops: int | None = None
    softirq_drops: int | None = None
    conntrack: ConntrackStats | None = None
    latency_ms: float | None = None


class Hurts:
    """Fed with vitals, says what hurts."""

    def __init__(self) -> None:
        self._before: Vitals | None = None
        self._usual_ms = 0.0

    def feed(self, now: Vitals, packets: float, config: DetectConfig) -> tuple[AttackReason, ...]:
        """Return what hurts since the reading before; `packets` came in per second."""
        before, self._before = self._before, now
        if before is None or now.at_s <= before.at_s:
            return ()
        span_s, found = now.at_s - before.at_s, []
        if _loses(before.device_drops, now.device_drops, span_s, packets):
            found.append(AttackReason.DROPPED_BY_DEVICE)
        if _loses(before.softirq_drops, now.softirq_drops, span_s, packets):
            found.append(AttackReason.DROPPED_BY_SOFTIRQ)
        if _is_full(before.conntrack, now.conntrack):
            found.append(AttackReason.CONNTRACK_FULL)
        if self._is_slow(now.latency_ms, Pace.of(config, span_s)):
            found.append(AttackReason.CHECKS_SLOW)
        return tuple(found)

    def _is_slow(self, latency_ms: float | None, pace: Pace) -> bool:
        if latency_ms is None:
            return False
        usual_ms = self._usual_ms or latency_ms
        slow = latency_ms > max(SLOW_TIMES * usual_ms, usual_ms + SLOW_MORE_MS)
        self._usual_ms = learnt(usual_ms, latency_ms, pace.alarmed_rise if slow else pace.rise, pace.fall, 0.0)
        return slow


def _loses(before: int | None, now: int | None, span_s: float, packets: float) -> bool:
    if before is None or now is None:
        return False
    return (now - before) / span_s > max(LOST_PER_S, LOST_SHARE * packets)


def _is_full(before: ConntrackStats | None, now: ConntrackStats | None) -> bool:
    if before is None or now is None:
        return False
    return now.count * 100 >= now.max * FULL_PERCENT or now.dropped > before.dropped
