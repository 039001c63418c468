"""`attack.filter`: blackholes and flow rules, and how long and how many."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycastd.config.schema.base import Section
from anycastd.config.values.fields import choice, duration, percent, whole
from anycastd.model.filter_config import FilterConfig
from anycastd.model.filters import Auto

_FILTER = FilterConfig()
DAY_S = 86400.0


class FilterSection(Section):
    """Blackholes of single addresses and flow rules: set by an operator, ended by themselves.

    Each acts in this POP's packet filter, and at the neighbors that have `blackhole: true` or `flowspec: true`.
    """

    auto: Annotated[Auto, choice(Auto)] = Field(
        default=_FILTER.auto,
        description="What becomes of the flow rule that fits an attack: `propose` shows it (`anycastd attack mitigate "
        "EIP`), `apply` sets it; `off` does neither. A blackhole is only ever set by an operator.",
    )
    share: Annotated[int, percent(1, 100)] = Field(
        default=_FILTER.share_percent, description="How much of the attack a proposed rule must cover."
    )
    blackhole_ttl: Annotated[float, duration(1.0, DAY_S)] = Field(
        default=_FILTER.blackhole_ttl_s, description="A blackhole ends after this time, or sooner if it is set so."
    )
    max_blackholes: Annotated[int, whole(0, 1000)] = Field(
        default=_FILTER.max_blackholes, description="How many may stand at once."
    )
    flow_ttl: Annotated[float, duration(1.0, 7 * DAY_S)] = Field(
        default=_FILTER.flow_ttl_s, description="A flow rule ends after this time, or sooner if it is set so."
    )
    max_flow_rules: Annotated[int, whole(0, 256)] = Field(
        default=_FILTER.max_flow_rules, description="How many may stand at once."
    )
    warn_before: Annotated[float, duration(0.0, DAY_S)] = Field(
        default=_FILTER.warn_before_s, description="How long before one ends the alarm `filter_ends` stands."
    )
    release_each: Annotated[float, duration(0.0, 600.0)] = Field(
        default=_FILTER.release_each_s,
        description="Of those that end at the same moment one ends each time this long after the other, so that not "
        "all of the traffic is back at once.",
    )
