"""The settings of the safety rules, from a checked file to the model."""

from __future__ import annotations

from anycastd.config.schema.safety import SafetySection
from anycastd.model.safety import BreakerConfig, SafetyConfig


def safety_of(section: SafetySection) -> SafetyConfig:
    """Return the settings."""
    breaker = section.breaker
    return SafetyConfig(
        breaker=BreakerConfig(
            withdrawals=breaker.withdrawals,
            percent=breaker.percent,
            window_s=breaker.window,
            quiet_s=breaker.quiet,
        )
    )
