"""The settings of the safety rules, from a checked file to the model."""

from __future__ import annotations

from anycastd.config.schema.safety import SafetySection
from anycastd.model.safety import BreakerConfig, CapacityConfig, EffectConfig, PopCapacity, SafetyConfig


def safety_of(section: SafetySection) -> SafetyConfig:
    """Return the settings."""
    breaker, effect = section.breaker, section.effect
    return SafetyConfig(
        breaker=BreakerConfig(
            withdrawals=breaker.withdrawals,
            percent=breaker.percent,
            window_s=breaker.window,
            quiet_s=breaker.quiet,
        ),
        effect=EffectConfig(
            looks_s=tuple(sorted(effect.looks)) or EffectConfig().looks_s,
            traffic_after_s=effect.traffic_after,
            measurable_bps=effect.measurable,
            depref_falls_percent=effect.depref_falls,
            withdrawn_falls_percent=effect.withdrawn_falls,
            returns_percent=effect.returns,
        ),
        capacity=CapacityConfig(
            pops={
                name: PopCapacity(capacity_bps=pop.capacity, usual_bps=pop.usual or 0)
                for name, pop in section.capacity.pops.items()
            },
            share_percent=section.capacity.share,
            full_percent=section.capacity.full,
        ),
    )
