"""The POP as a whole: from its totals, read each second, to its state and to whether each EIP is to be looked at."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from anycastd.attack.assess import EASE, Track, judge, step
from anycastd.attack.usual import Pace, Usual
from anycastd.model.attack import AttackReason, AttackState, Rate
from anycastd.model.attack_config import DetectConfig

JUMP_DEVIATIONS = 6.0
JUMP_OF_FLOOR = 0.5
"""Of what makes one EIP unusual: less of a rise cannot be an attack on one."""
RECENT = 0.2
"""Weight of the newest reading in what is recent."""


@dataclass(frozen=True, slots=True)
class PopCounts:
    """Counters of the POP at `at_s` (monotonic): what came in for our prefixes, new connections, drops."""

    at_s: float
    packets: int
    bytes: int
    connections: int
    dropped_packets: int


@dataclass(frozen=True, slots=True)
class Risen:
    """By how much the POP's rates rose with the reading that ended an interval of `span_s`."""

    rate: Rate
    span_s: float


@dataclass(slots=True)
class _Recent:
    """The mean of the last few readings of one rate, and how far they are from it."""

    mean: float | None = None
    deviation: float = 0.0
    risen: float = 0.0
    """How far the last reading was above the mean; of the last two, as a rise may have begun in the one before."""
    _before: float = 0.0

    def jumps(self, value: float, floor: float) -> bool:
        """Return whether a value is far above; takes it in."""
        mean = value if self.mean is None else self.mean
        over = value - mean
        jumped = over > max(JUMP_DEVIATIONS * self.deviation, JUMP_OF_FLOOR * floor)
        self.risen = value - min(mean, mean if self.mean is None else self._before)
        self._before, self.mean = mean, mean + RECENT * over
        self.deviation += RECENT * (abs(over) - self.deviation)
        return jumped


class PopWatch:
    """Fed with counters. `jumped`: the last reading was far above those before it, whatever is usual; `risen`: by how
    much.
    """

    def __init__(self, usual: Usual | None = None) -> None:
        self.usual = usual or Usual()
        self.track, self.rate, self.jumped = Track(), Rate(), False
        self.risen = Risen(Rate(), 0.0)
        self._before: PopCounts | None = None
        self._packets, self._bits, self._connections = _Recent(), _Recent(), _Recent()

    def feed(self, counts: PopCounts, hurts: Collection[AttackReason], config: DetectConfig) -> bool:
        """Take in a reading; return whether the state changed. One with counters that began anew only begins."""
        before, self._before = self._before, counts
        if before is None or counts.at_s <= before.at_s or _is_anew(before, counts):
            return False
        span_s = counts.at_s - before.at_s
        packets, octets = counts.packets - before.packets, counts.bytes - before.bytes
        self.rate = Rate(
            packets=packets / span_s,
            bits=octets * 8.0 / span_s,
            connections=(counts.connections - before.connections) / span_s,
            # the counter of a filter that has ended goes some day
            dropped_packets=max(counts.dropped_packets - before.dropped_packets, 0) / span_s,
        )
        rate, floors = self.rate, config.eip
        jumps = (
            self._packets.jumps(rate.packets, floors.floor_packets),
            self._bits.jumps(rate.bits, floors.floor_bits),
            self._connections.jumps(rate.connections or 0.0, floors.floor_connections),
        )
        self.jumped = any(jumps)
        of_each = (self._packets.risen, self._bits.risen, self._connections.risen)
        self.risen = Risen(Rate(*of_each), span_s)
        return self._judge(counts.at_s, span_s, hurts, config)

    def _judge(self, at_s: float, span_s: float, hurts: Collection[AttackReason], config: DetectConfig) -> bool:
        usual, known = self.usual_rate(), self.usual.is_known(config)
        now = judge(self.rate, usual, config.pop, config, hurts, known=known)
        stays = judge(self.rate, usual, config.pop, config, hurts, known=known, ease=EASE).state
        before, self.track = self.track, step(self.track, now, stays, at_s, span_s, config)
        alarmed = max(now.state, self.track.state) is not AttackState.NORMAL
        pace, rate = Pace.of(config, span_s), self.rate
        self.usual.learn(rate.packets, rate.bits, rate.connections, pace, config.pop, config, alarmed=alarmed)
        return (before.state, before.reasons) != (self.track.state, self.track.reasons)

    def usual_rate(self) -> Rate:
        """Return what is usual."""
        return Rate(self.usual.packets, self.usual.bits, self.usual.connections)


def _is_anew(before: PopCounts, now: PopCounts) -> bool:
    return now.packets < before.packets or now.bytes < before.bytes or now.connections < before.connections
