"""`prefixes`: what this POP may announce, and when."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycastd.config.schema.base import Section
from anycastd.config.schema.rules import RuleSection
from anycastd.config.schema.timers import TimersSection
from anycastd.config.values.fields import Name, choice, duration, whole
from anycastd.config.values.net import PrefixField
from anycastd.model.spread import Announce
from anycastd.model.topology import DeadMan, LastResort, WhenDegraded


class DeadManSection(Section):
    """What happens when the daemon itself is away and does not come back."""

    action: Annotated[DeadMan, choice(DeadMan)] = Field(
        default=DeadMan.KEEP,
        description="`keep` the announcement as it is, `depref` it, or `withdraw` it (only with `last_resort: "
        "withdraw`).",
    )
    after: Annotated[float, duration(5.0, 86400.0)] = Field(
        default=30.0, description="How long the daemon must be away."
    )


class PrefixSection(Section):
    """One prefix; `{}` takes every default."""

    announce_when: RuleSection = Field(
        default=RuleSection(), description="What must be usable for a normal announcement; default: `{regions: any}`."
    )
    announce: Annotated[Announce, choice(Announce)] = Field(
        default=Announce.ALWAYS,
        description="`standby`: this POP announces it only while another POP calls on standbys "
        "([playbooks](playbooks.md)), or while too few others announce it.",
    )
    min_announcers: Annotated[int | None, whole(1, 1000)] = Field(
        default=None,
        description="How many other POPs must be seen announcing it before this one may leave; default: 2 in a fleet "
        "of four or more POPs, else 1.",
    )
    last_resort: Annotated[LastResort, choice(LastResort)] = Field(
        default=LastResort.STAY,
        description="When this POP cannot serve and knows of nobody else: `stay` announced but depreferenced, or "
        "`withdraw`. Choose `withdraw` only if other POPs announce the prefix as well.",
    )
    when_degraded: Annotated[WhenDegraded, choice(WhenDegraded)] = Field(
        default=WhenDegraded.KEEP,
        description="What is DEGRADED counts as usable. While `announce_when` is met only so: `keep` the announcement "
        "as it is, or `depref` it. It is never withdrawn for that.",
    )
    depref_prepend: Annotated[int, whole(1, 10)] = Field(
        default=3, description="How often our AS number is added while depreferenced."
    )
    return_prepends: tuple[Annotated[int, whole(0, 10)], ...] = Field(
        default=(),
        description="How often our AS number is added in steps between DEPREF and NORMAL, falling, such as `[1]`; each "
        "lasts `timers.return_step`. Default: none.",
    )
    dead_man: DeadManSection = Field(default=DeadManSection(), description="What happens without the daemon.")
    neighbors: tuple[Name, ...] | None = Field(
        default=None, description="Upstreams that get it; default: all that carry its family."
    )
    timers: TimersSection = Field(
        default=TimersSection(), description="Pacing of this prefix; the same keys as the global [timers](#timers)."
    )


Prefixes = dict[PrefixField, PrefixSection]
