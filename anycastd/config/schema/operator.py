"""`operator`: the pace of drains, and when what operators ordered ends by itself."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycastd.config.schema.base import Section
from anycastd.config.values.fields import duration, whole
from anycastd.config.values.net import RateField
from anycastd.model.topology import OperatorConfig

DAY_S = 86400.0
_DEFAULT = OperatorConfig()


class OperatorSection(Section):
    """The pace of drains, and when drains and overrides end by themselves unless `--for` says otherwise."""

    depref: Annotated[float, duration(0.0, DAY_S)] = Field(
        default=_DEFAULT.depref_s, description="How long a drained POP or neighbor stays at DEPREF before GSHUT."
    )
    quiet_percent: Annotated[int, whole(0, 100)] = Field(
        default=_DEFAULT.quiet_percent,
        description="A drained thing is quiet when it carries no more than this share of the traffic that it had.",
    )
    quiet_below: RateField = Field(
        default=_DEFAULT.quiet_bps, description="Below this it is quiet whatever it had: checks and stray packets."
    )
    quiet_for: Annotated[float, duration(0.0, 3600.0)] = Field(
        default=_DEFAULT.quiet_for_s, description="How long it must be quiet before the drain goes on."
    )
    wait_at_most: Annotated[float, duration(0.0, DAY_S)] = Field(
        default=_DEFAULT.wait_at_most_s, description="How long a drain waits for quiet; then it goes on all the same."
    )
    settled: Annotated[float, duration(0.0, 3600.0)] = Field(
        default=_DEFAULT.settled_s,
        description="How long another neighbor must be established before a drained one may leave.",
    )
    drain_expires: Annotated[float, duration(1.0, 365 * DAY_S)] = Field(
        default=_DEFAULT.drain_expires_s, description="How long a drain lasts unless --for, --until say otherwise."
    )
    override_expires: Annotated[float, duration(1.0, 365 * DAY_S)] = Field(
        default=_DEFAULT.override_expires_s, description="How long an override lasts unless --for, --until do."
    )
