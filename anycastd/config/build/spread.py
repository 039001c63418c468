"""How load is spread, from a checked file to the model; playbooks are files of their own (`config/playbooks.py`)."""

from __future__ import annotations

from anycastd.config.schema.spread import SpreadSection
from anycastd.model.spread import SpreadConfig


def spread_of(section: SpreadSection) -> SpreadConfig:
    """Return the settings, without playbooks."""
    return SpreadConfig(
        mode=section.mode,
        capacity_bps=section.capacity,
        calm_percent=section.calm_below,
        standby_calm_s=section.standby_calm,
        standby_leave_s=section.standby_leave,
    )
