"""`safety`: the safety rules that have settings; docs/safety.md lists all of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycastd.config.schema.base import Section
from anycastd.config.values.fields import Name, duration, percent, whole
from anycastd.config.values.net import RateField
from anycastd.model.safety import BreakerConfig, CapacityConfig, EffectConfig

DAY_S = 86400.0
_BREAKER, _EFFECT, _CAPACITY = BreakerConfig(), EffectConfig(), CapacityConfig()
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


class EffectSection(Section):
    """After each change of a prefix's level it is looked whether anything followed; if not, an alarm says so.

    Looked at: what ExaBGP sends, whether a neighbor is established, and the traffic of the prefix's EIPs.
    """

    looks: tuple[Annotated[float, duration(1.0, DAY_S)], ...] = Field(
        default=_EFFECT.looks_s,
        description="How long after the change; while nothing follows, again each time that the first one says.",
    )
    traffic_after: Annotated[float, duration(1.0, DAY_S)] = Field(
        default=_EFFECT.traffic_after_s, description="Traffic is judged from then on: the Internet follows slowly."
    )
    measurable: RateField = Field(
        default=_EFFECT.measurable_bps, description="Traffic below this is too little to judge by."
    )
    depref_falls: Annotated[int, _SHARE] = Field(
        default=_EFFECT.depref_falls_percent, description="By how much traffic falls after DEPREF or GSHUT, at least."
    )
    withdrawn_falls: Annotated[int, _SHARE] = Field(
        default=_EFFECT.withdrawn_falls_percent, description="By how much it falls after a withdrawal, at least."
    )
    returns: Annotated[int, _SHARE] = Field(
        default=_EFFECT.returns_percent,
        description="How much of what it last had at NORMAL is there again after a return, at least.",
    )


class PopCapacitySection(Section):
    """Another POP of yours, under its name."""

    capacity: RateField = Field(description="What it can carry.")
    usual: RateField | None = Field(
        default=None,
        description="What it carries at busy times; counts where nothing newer is known. Default: nothing.",
    )


class CapacitySection(Section):
    """A drain of this POP is refused when one of the others could not take what it leaves; `--force` goes on.

    Nobody knows beforehand where the traffic goes, so each of them is taken for the one that gets the most.
    """

    pops: dict[Name, PopCapacitySection] = Field(
        default={}, description="The other POPs; without any, no drain is refused for this."
    )
    share: Annotated[int, _SHARE] = Field(
        default=_CAPACITY.share_percent, description="How much of this POP's traffic one of them takes."
    )
    full: Annotated[int, _SHARE] = Field(default=_CAPACITY.full_percent, description="How full it may become by that.")


class SafetySection(Section):
    """The safety rules that have settings; [safety](safety.md) lists all of them."""

    breaker: BreakerSection = Field(default=BreakerSection(), description="S28, the circuit breaker.")
    effect: EffectSection = Field(default=EffectSection(), description="S22, whether a change had an effect.")
    capacity: CapacitySection = Field(default=CapacitySection(), description="S7, room elsewhere before a drain.")
