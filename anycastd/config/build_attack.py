"""What is done about attacks, from a checked file to the model."""

from __future__ import annotations

from anycastd.config.build_absorb import absorb_of
from anycastd.config.build_filter import filter_of
from anycastd.config.build_spread import spread_of
from anycastd.config.schema.attack import AttackSection
from anycastd.config.schema.detect import DetectSection
from anycastd.model.attack_config import EIP_BOUNDS, AttackConfig, Bounds, DetectConfig


def attack_of(section: AttackSection) -> AttackConfig:
    """Return the settings."""
    return AttackConfig(
        detect=_detect(section.detect),
        absorb=absorb_of(section.absorb),
        spread=spread_of(section.spread),
        filter=filter_of(section.filter),
    )


def _detect(section: DetectSection) -> DetectConfig:
    pop, eip = section.pop, section.eip
    return DetectConfig(
        enabled=section.enabled,
        interval_s=section.interval,
        warm_up_s=section.warm_up,
        doubles_s=section.doubles,
        halves_s=section.halves,
        elevated_times=section.elevated_times,
        attack_times=section.attack_times,
        confirm_s=section.confirm,
        calm_s=section.calm,
        samples_per_s=section.samples,
        pop=Bounds(
            floor_packets=pop.floor_packets,
            floor_bits=pop.floor_bits,
            floor_connections=pop.floor_connections,
            level_packets=pop.level_packets,
            level_bits=pop.level_bits,
            level_connections=pop.level_connections,
        ),
        eip=Bounds(
            floor_packets=eip.floor_packets,
            floor_bits=eip.floor_bits,
            floor_connections=EIP_BOUNDS.floor_connections,
            level_packets=eip.level_packets,
            level_bits=eip.level_bits,
        ),
    )
