"""What is done about attacks, from a checked file to the model."""

from __future__ import annotations

from dataclasses import replace

from anycastd.config.build.absorb import absorb_of
from anycastd.config.build.filter import filter_of
from anycastd.config.build.spread import spread_of
from anycastd.config.schema.attack import AttackSection
from anycastd.config.schema.detect import DetectSection
from anycastd.model.attack_config import EIP_BOUNDS, POP_BOUNDS, AttackConfig, DetectConfig


def attack_of(section: AttackSection) -> AttackConfig:
    """Return the settings."""
    return AttackConfig(
        detect=_detect(section.detect),
        absorb=absorb_of(section.absorb),
        spread=spread_of(section.spread),
        filter=filter_of(section.filter),
    )


def _detect(section: DetectSection) -> DetectConfig:
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
        pop=replace(POP_BOUNDS, **section.pop.model_dump()),
        eip=replace(EIP_BOUNDS, **section.eip.model_dump()),
    )
