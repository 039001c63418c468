"""What is usual: one number for each rate, slow to learn, that no burst and no attack can move far.

It is near the level that is exceeded about `doubles_s / (doubles_s + halves_s)` of the time (4 % by default): above it
the number rises by a factor of two in `doubles_s` at most, below it it falls by half in `halves_s`. So it follows the
busy hours of a day and not its nights, and needs no history. It is never above what was really seen.
"""

from __future__ import annotations

from dataclasses import dataclass

from anycastd.model.attack_config import Bounds, DetectConfig

UNKNOWN_DOUBLES_S = 10.0
"""While nothing is known it rises so fast."""
ALARMED_TIMES = 24.0
"""While not NORMAL it rises so much slower: an attack is not to become usual, a new customer some day is."""


@dataclass(slots=True)
class Pace:
    """By what the numbers may change over one span of time: the same for ten thousand EIPs, so made once."""

    rise: float
    alarmed_rise: float
    unknown_rise: float
    fall: float
    span_s: float

    @classmethod
    def of(cls, config: DetectConfig, span_s: float) -> Pace:
        """Return the pace of a span in seconds."""
        return cls(
            rise=2.0 ** min(span_s / config.doubles_s, 64.0),
            alarmed_rise=2.0 ** min(span_s / (config.doubles_s * ALARMED_TIMES), 64.0),
            unknown_rise=2.0 ** min(span_s / UNKNOWN_DOUBLES_S, 64.0),
            fall=0.5 ** (span_s / config.halves_s),
            span_s=span_s,
        )


def learnt(usual: float, seen: float, rise: float, fall: float, least: float) -> float:
    """Return what is usual after a span in which `seen` was the rate.

    Below `least` it follows at once: so little makes no difference to any judgement.
    """
    if seen <= usual:
        return max(seen, usual * fall)
    return min(seen, max(usual, least) * rise)


@dataclass(slots=True)
class Usual:
    """What is usual of the POP or of one EIP, per second. `known_s`: for how long it was learnt; `at_s`: until when."""

    packets: float = 0.0
    bits: float = 0.0
    connections: float = 0.0
    known_s: float = 0.0
    at_s: float = 0.0

    def is_known(self, config: DetectConfig) -> bool:
        """Return whether it was learnt for long enough to judge by."""
        return self.known_s >= config.warm_up_s

    def idle_until(self, at_s: float, config: DetectConfig) -> None:
        """Let a time pass in which nothing came in: what is usual falls, as it would have reading after reading."""
        if at_s > self.at_s:
            fall = 0.5 ** ((at_s - self.at_s) / config.halves_s)
            self.packets *= fall
            self.bits *= fall
            self.connections *= fall
            self.known_s += at_s - self.at_s
            self.at_s = at_s

    def learn(
        self,
        packets: float,
        bits: float,
        connections: float | None,
        pace: Pace,
        bounds: Bounds,
        config: DetectConfig,
        *,
        alarmed: bool,
    ) -> None:
        """Take in the rates of a span; `alarmed`: the state is not NORMAL."""
        if alarmed:
            rise, fall = pace.alarmed_rise, 1.0
        elif self.known_s < config.warm_up_s:
            rise, fall = pace.unknown_rise, pace.fall
        else:
            rise, fall = pace.rise, pace.fall
        # no part of an attack is to be learnt at once, however small
        share = 0.0 if alarmed else 1.0 / config.attack_times
        self.packets = learnt(self.packets, packets, rise, fall, bounds.floor_packets * share)
        self.bits = learnt(self.bits, bits, rise, fall, bounds.floor_bits * share)
        if connections is not None:
            self.connections = learnt(self.connections, connections, rise, fall, bounds.floor_connections * share)
        else:
            # nobody counts them where there are too few to matter
            self.connections *= fall
        self.known_s += pace.span_s
        self.at_s += pace.span_s
