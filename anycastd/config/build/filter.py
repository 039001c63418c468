"""Blackholes and flow rules, from a checked file to the model."""

from __future__ import annotations

from anycastd.config.schema.filter import FilterSection
from anycastd.model.filter_config import FilterConfig


def filter_of(section: FilterSection) -> FilterConfig:
    """Return the settings."""
    return FilterConfig(
        auto=section.auto,
        share_percent=section.share,
        blackhole_ttl_s=section.blackhole_ttl,
        max_blackholes=section.max_blackholes,
        flow_ttl_s=section.flow_ttl,
        max_flow_rules=section.max_flow_rules,
        warn_before_s=section.warn_before,
        release_each_s=section.release_each,
    )
