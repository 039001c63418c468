"""`kernel`: what marks routes and rules as ours."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycastd.config.schema.base import Section
from anycastd.config.values.fields import decimal, duration, whole
from anycastd.model.topology import KernelConfig

_DEFAULT = KernelConfig()


class KernelSection(Section):
    """What marks routes and rules as ours; everything with `protocol` that is not wanted is removed.

    Changing `protocol` needs a restart.
    """

    protocol: Annotated[int, whole(5, 255)] = Field(
        default=_DEFAULT.protocol, description="Route and rule protocol number, used by nothing else on this machine."
    )
    # the last of them stays below 32766, the preference of the kernel's rule for the main table (fib_rules), and the
    # first above 255, where the kernel's own tables end
    table_base: Annotated[int, whole(256, 32000)] = Field(
        default=_DEFAULT.table_base,
        description="First of 500 routing tables and rule preferences for the tunnels' checks.",
    )
    # region 255 stays below 32766 as well
    region_table_base: Annotated[int, whole(256, 32500)] = Field(
        default=_DEFAULT.region_table_base,
        description="Region N (see `regions.NAME.number`) has this number + N as routing table and rule preference.",
    )
    forward_metric: Annotated[int, whole(1, 4294967294)] = Field(
        default=_DEFAULT.forward_metric, description="Metric of a prefix's route into its tunnel."
    )
    blackhole_metric: Annotated[int, whole(2, 4294967295)] = Field(
        default=_DEFAULT.blackhole_metric,
        description="Metric of a prefix's blackhole route, the last that is looked at.",
    )
    reconcile: Annotated[float, duration(1.0, 3600.0)] = Field(
        default=_DEFAULT.reconcile_s,
        description="How often all is read back and compared, besides the kernel's own events.",
    )
    switch_hysteresis_ms: Annotated[float, decimal(0, 10000)] = Field(
        default=_DEFAULT.switch_hysteresis_ms,
        description="How much quicker (milliseconds) another healthy tunnel must be before a prefix moves to it.",
    )
