"""How an attack is absorbed, from a checked file to the model."""

from __future__ import annotations

from anycastd.config.schema.absorb import AbsorbSection
from anycastd.model.absorb import AbsorbConfig, AbsorbHolds


def absorb_of(section: AbsorbSection) -> AbsorbConfig:
    """Return the settings."""
    return AbsorbConfig(
        enabled=section.enabled,
        holds=AbsorbHolds(
            hold_withdrawal=section.hold_withdrawal,
            hold_depref=section.hold_depref,
            calm_s=section.calm,
            look_back_s=section.look_back,
        ),
        untrack=section.untrack,
        dscp=section.dscp,
    )
