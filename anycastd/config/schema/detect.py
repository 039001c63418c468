"""When traffic is called an attack."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycastd.config.schema.base import Section
from anycastd.config.values.fields import Flag, decimal, duration, whole
from anycastd.config.values.net import RateField
from anycastd.model.attack_config import EIP_BOUNDS, POP_BOUNDS, DetectConfig

DAY_S = 86400.0
_DETECT = DetectConfig()
_Times = Annotated[float, decimal(1.1, 1000.0)]
_Count = Annotated[int, whole(1, 10_000_000_000)]


class PopBoundsSection(Section):
    """All that comes to our prefixes at this POP.

    Below a floor nothing is unusual, above a level it is an attack whatever is usual.
    """

    floor_packets: _Count = Field(
        default=POP_BOUNDS.floor_packets, description="Packets a second that are nothing unusual."
    )
    floor_bits: RateField = Field(default=POP_BOUNDS.floor_bits, description="Bits a second that are nothing unusual.")
    floor_connections: _Count = Field(
        default=POP_BOUNDS.floor_connections, description="New connections a second that are nothing unusual."
    )
    level_packets: _Count | None = Field(default=None, description="Packets a second that are always an attack.")
    level_bits: RateField | None = Field(default=None, description="Bits a second that are always an attack.")
    level_connections: _Count | None = Field(
        default=None, description="New connections a second that are always an attack."
    )


class EipBoundsSection(Section):
    """What comes to one EIP at this POP. Of an EIP that is not tracked only SYNs count as new connections.

    Below a floor nothing is unusual, above a level it is an attack whatever is usual.
    """

    floor_packets: _Count = Field(
        default=EIP_BOUNDS.floor_packets, description="Packets a second that are nothing unusual."
    )
    floor_bits: RateField = Field(default=EIP_BOUNDS.floor_bits, description="Bits a second that are nothing unusual.")
    floor_connections: _Count = Field(
        default=EIP_BOUNDS.floor_connections, description="New connections a second that are nothing unusual."
    )
    level_packets: _Count | None = Field(default=None, description="Packets a second that are always an attack.")
    level_bits: RateField | None = Field(default=None, description="Bits a second that are always an attack.")
    level_connections: _Count | None = Field(
        default=None, description="New connections a second that are always an attack."
    )


class DetectSection(Section):
    """Seeing an attack: what comes in against what is usual. docs/attack.md says how, and how to choose the bounds."""

    enabled: Flag = Field(default=_DETECT.enabled, description="false: nothing is looked at, all is NORMAL.")
    interval: Annotated[float, duration(0.2, 10.0)] = Field(
        default=_DETECT.interval_s, description="How often the POP's totals are read."
    )
    warm_up: Annotated[float, duration(0.0, DAY_S)] = Field(
        default=_DETECT.warm_up_s, description="How long it is learnt quickly what is usual, when nothing is known."
    )
    doubles: Annotated[float, duration(60.0, 30 * DAY_S)] = Field(
        default=_DETECT.doubles_s, description="What is usual rises by a factor of two in this time at most."
    )
    halves: Annotated[float, duration(60.0, 365 * DAY_S)] = Field(
        default=_DETECT.halves_s, description="And falls by half in this time."
    )
    elevated_times: _Times = Field(
        default=_DETECT.elevated_times, description="ELEVATED above so many times the usual."
    )
    attack_times: _Times = Field(default=_DETECT.attack_times, description="ATTACK above so many times the usual.")
    confirm: Annotated[float, duration(0.0, 60.0)] = Field(
        default=_DETECT.confirm_s, description="For how long, before it is believed."
    )
    calm: Annotated[float, duration(1.0, DAY_S)] = Field(
        default=_DETECT.calm_s, description="How long it must be calm before the state goes down one step."
    )
    samples: Annotated[int, whole(1, 10_000)] = Field(
        default=_DETECT.samples_per_s, description="Packets a second that are looked at of what is not NORMAL."
    )
    pop: PopBoundsSection = Field(default=PopBoundsSection(), description="Bounds of the POP as a whole.")
    eip: EipBoundsSection = Field(default=EipBoundsSection(), description="Bounds of each EIP.")
