"""From rates to a state: how far they are above usual and above the levels, with hysteresis in both directions.

Rising takes `confirm_s` of readings above; falling takes `calm_s` below half of what made it rise, one step at a time.
So a state that was entered lasts `calm_s` at least, whatever the traffic does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from anycastd.model.attack import AttackReason, AttackState, Rate
from anycastd.model.attack_config import Bounds, DetectConfig

EASE = 0.5
"""A state is left only below this share of what it was entered at."""
ALONE = frozenset({AttackReason.CONNTRACK_FULL, AttackReason.DROPPED_BY_LIMIT})
"""What is ELEVATED whatever the rates; other losses only say, of unusual rates, that they hurt."""
LIMIT_SHARE = 0.5
"""More of what comes in than this dropped by the limit is no sender that heeds loss."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What one reading says: the state if it lasts, and why."""

    state: AttackState
    reasons: tuple[AttackReason, ...] = ()


CALM = Judged(AttackState.NORMAL)


def judge(
    rate: Rate,
    usual: Rate,
    bounds: Bounds,
    config: DetectConfig,
    hurts: Collection[AttackReason] = (),
    *,
    known: bool = True,
    ease: float = 1.0,
) -> Judged:
    """Return what rates say against what is usual; `known`: whether that was learnt. `ease` lowers every bound.

    `hurts` is what went wrong meanwhile: unusual traffic that hurts is an attack.
    """
    found: dict[AttackReason, AttackState] = {}
    for above, beyond, value, normal, floor, level in _measures(rate, usual, bounds):
        if level is not None and value > level * ease:
            found[beyond] = AttackState.ATTACK
        elif known and value > max(floor, config.attack_times * normal) * ease:
            found[above] = AttackState.ATTACK
        elif known and value > max(floor, config.elevated_times * normal) * ease:
            found[above] = AttackState.ELEVATED
    if found and hurts:
        return Judged(AttackState.ATTACK, (*found, *hurts))
    if found:
        return Judged(max(found.values()), tuple(found))
    alone = tuple(one for one in hurts if one in ALONE)
    return Judged(AttackState.ELEVATED, alone) if alone else CALM


_Measure = tuple[AttackReason, AttackReason, float, float, int, int | None]


def _measures(rate: Rate, usual: Rate, bounds: Bounds) -> Iterator[_Measure]:
    why = AttackReason
    yield (
        why.PACKETS_ABOVE_USUAL, why.PACKETS_ABOVE_LEVEL,
        rate.packets, usual.packets, bounds.floor_packets, bounds.level_packets,
    )  # fmt: skip
    yield (
        why.BITS_ABOVE_USUAL, why.BITS_ABOVE_LEVEL,
        rate.bits, usual.bits, bounds.floor_bits, bounds.level_bits,
    )  # fmt: skip
    if rate.connections is not None:
        yield (
            why.CONNECTIONS_ABOVE_USUAL, why.CONNECTIONS_ABOVE_LEVEL,
            rate.connections, usual.connections or 0.0, bounds.floor_connections, bounds.level_connections,
        )  # fmt: skip


def is_limited(rate: Rate, limited_packets: float, bounds: Bounds) -> bool:
    """Return whether an EIP's limit drops so much that the senders cannot be such that heed loss."""
    return rate.packets > bounds.floor_packets and limited_packets > LIMIT_SHARE * rate.packets


@dataclass(frozen=True, slots=True)
class Track:
    """How one subject stands, and what is on its way: `above_s` of readings that say ATTACK, ELEVATED or more."""

    state: AttackState = AttackState.NORMAL
    since_s: float = 0.0
    reasons: tuple[AttackReason, ...] = ()
    attack_for_s: float = 0.0
    elevated_for_s: float = 0.0
    restless_s: float | None = None
    """When a reading last held the state up."""

    @property
    def is_plain(self) -> bool:
        """Return whether there is nothing to remember."""
        return self.state is AttackState.NORMAL and not self.elevated_for_s


def step(track: Track, now: Judged, stays: AttackState, at_s: float, span_s: float, config: DetectConfig) -> Track:
    """Return how a subject stands after a reading of the `span_s` that ended at `at_s`.

    `now` is what it says, `stays` what it says with all bounds eased.
    """
    attack_for_s = track.attack_for_s + span_s if now.state is AttackState.ATTACK else 0.0
    elevated_for_s = track.elevated_for_s + span_s if now.state >= AttackState.ELEVATED else 0.0
    risen = AttackState.NORMAL
    if elevated_for_s and elevated_for_s >= config.confirm_s:
        risen = AttackState.ELEVATED
    if attack_for_s and attack_for_s >= config.confirm_s:
        risen = AttackState.ATTACK
    track = replace(track, attack_for_s=attack_for_s, elevated_for_s=elevated_for_s)
    if risen > track.state:
        return replace(track, state=risen, since_s=at_s, reasons=now.reasons, restless_s=at_s)
    if track.state is AttackState.NORMAL:
        return track
    if max(stays, now.state) >= track.state:
        # what it was entered for stands while nothing says more
        reasons = now.reasons if now.state >= track.state else track.reasons
        return replace(track, restless_s=at_s, reasons=reasons)
    if track.restless_s is not None and at_s - track.restless_s < config.calm_s:
        return track
    lower = AttackState(track.state - 1)
    reasons = track.reasons if lower is not AttackState.NORMAL else ()
    return replace(track, state=lower, since_s=at_s, reasons=reasons, restless_s=at_s)
