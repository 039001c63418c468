"""`self_test`: whether it is us, when many targets fail together."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycastd.config.schema.base import Section
from anycastd.config.schema.checks import CheckUse
from anycastd.config.values.fields import DeviceName, Name, duration, whole
from anycastd.config.values.net import AddressField
from anycastd.model.topology import SelfTest

_DEFAULT = SelfTest()


class SelfTestTarget(Section):
    """Something near that always answers while this machine is in order: a gateway, an uplink."""

    address: AddressField = Field(description="Its address.")
    source: AddressField | None = Field(
        default=None, description="Address to send from; default: what the kernel chooses."
    )
    device: DeviceName | None = Field(default=None, description="The device that a link check looks at.")
    checks: tuple[CheckUse, ...] = Field(description="Names of checks, or checks written here.")


class SelfTestSection(Section):
    """Many targets that fail while a self-test target fails too are taken for our own fault: nothing is withdrawn."""

    targets: dict[Name, SelfTestTarget] = Field(
        default={}, description="What is tested; without any, nothing is suspected."
    )
    window: Annotated[float, duration(1.0, 3600.0)] = Field(
        default=_DEFAULT.window_s, description="Targets that fail within this time fail together."
    )
    hold: Annotated[float, duration(1.0, 86400.0)] = Field(
        default=_DEFAULT.hold_s, description="How long the suspicion lasts after the last evidence."
    )
    min_targets: Annotated[int, whole(2, 10000)] = Field(
        default=_DEFAULT.min_targets, description="How many different targets must fail together."
    )
    min_regions: Annotated[int, whole(1, 1000)] = Field(
        default=_DEFAULT.min_regions, description="In how many regions they must be."
    )
