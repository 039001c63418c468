"""`safety`: the safety rules that have settings; docs/safety.md lists all of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycastd.config.fields import duration, percent, whole
from anycastd.config.schema.base import Section
from anycastd.model.safety import BreakerConfig

DAY_S = 86400.0
_BREAKER = BreakerConfig()
_SHARE = percent(0, 100)


class BreakerSection(Section):
    """The circuit breaker: health does not take many prefixes off the air at once, whatever the cause.

    What is held stays, depreferenced. `anycastd breaker reset` lets as many go again; what an operator orders is not
    counted and not held.
    """

    withdrawals: Annotated[int, whole(1, 1_000_000)] = Field(
        default=_BREAKER.withdrawals, description="How many prefixes may be withdrawn within the window."
    )
    percent: Annotated[int, _SHARE] = Field(
        default=_BREAKER.percent, description="Or this share of the prefixes, if that is more."
    )
    window: Annotated[float, duration(1.0, DAY_S)] = Field(
        default=_BREAKER.window_s, description="Withdrawals within this time count together."
    )
    quiet: Annotated[float, duration(1.0, DAY_S)] = Field(
        default=_BREAKER.quiet_s,
        description="It lets through again when for so long no prefix wanted to be withdrawn.",
    )


class SafetySection(Section):
    """The safety rules that have settings; [safety](safety.md) lists all of them."""

    breaker: BreakerSection = Field(default=BreakerSection(), description="S28, the circuit breaker.")
