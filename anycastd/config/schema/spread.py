"""`attack.spread`: what this POP can carry, who decides on steps of playbooks, and where these are."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycastd.config.schema.base import Section
from anycastd.config.schema.playbooks import ModeField
from anycastd.config.values.fields import FileName, duration, percent
from anycastd.config.values.net import RateField
from anycastd.model.spread import PlayMode, SpreadConfig

DAY_S = 86400.0
_SPREAD = SpreadConfig()


class SpreadSection(Section):
    """Load is spread by [playbooks](playbooks.md): standbys join, then traffic is sent away where there is room.

    Room elsewhere is judged as for a drain, by `safety.capacity`, and by what POPs say in the fleet's store.
    """

    mode: ModeField = Field(
        default=PlayMode.AUTO,
        description="The most that a step may do by itself: `auto`, `ask` (propose only), or `off`. The step's own "
        "mode counts where it is more careful.",
    )
    capacity: RateField | None = Field(
        default=None,
        description="What this POP can carry in the busier direction; told to the fleet. Without it a load is no "
        "condition, and other POPs know of no room here.",
    )
    calm_below: Annotated[int, percent(1, 100)] = Field(
        default=_SPREAD.calm_percent,
        description="A load is calm below this share of the level that a playbook's condition names.",
    )
    playbooks: tuple[FileName, ...] = Field(
        default=(), description="Files, one playbook each; a relative name begins at the configuration's directory."
    )
    standby_calm: Annotated[float, duration(1.0, DAY_S)] = Field(
        default=_SPREAD.standby_calm_s, description="How long a standby prefix stays after the last call."
    )
    standby_leave: Annotated[float, duration(0.0, DAY_S)] = Field(
        default=_SPREAD.standby_leave_s, description="How long it is then depreferenced before it asks to withdraw."
    )
