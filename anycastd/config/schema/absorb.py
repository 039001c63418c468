"""`attack.absorb`: what health may not do while an attack is on, and what the data plane does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from anycastd.config.schema.base import Section
from anycastd.config.shown import shown
from anycastd.config.values.fields import Flag, ValueType, choice, duration
from anycastd.model.absorb import AbsorbConfig, HoldDepref, Untrack

DAY_S = 86400.0
_DEFAULT = AbsorbConfig()
NO_MARK = "none"
_DSCP: Mapping[str, int] = {f"cs{number}": number * 8 for number in range(8)} | {"ef": 46}
"""RFC 2474 section 4.2.2.2, RFC 3246."""


def _read_dscp(value: object) -> int | None:
    if value == NO_MARK:
        return None
    number = _DSCP.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= 63:
        message = f"{shown(value)} is not a DSCP: cs0 to cs7, ef, 0 to 63, or none"
        raise ValueError(message)
    return number


def _dscp_text(value: int | None) -> str:
    return NO_MARK if value is None else next((name for name, one in _DSCP.items() if one == value), str(value))


class AbsorbSection(Section):
    """Absorbing: what health says while an attack is on, here or at one of a prefix's EIPs, takes nothing off the air.

    A POP that left would hand its share to the next one. What operators order is done all the same.
    """

    enabled: Flag = Field(default=_DEFAULT.enabled, description="false: health decides as if there were no attack.")
    hold_withdrawal: Flag = Field(
        default=_DEFAULT.holds.hold_withdrawal,
        description="Health withdraws nothing and says no GSHUT, also where the file has `last_resort: withdraw`.",
    )
    hold_depref: Annotated[HoldDepref, choice(HoldDepref)] = Field(
        default=_DEFAULT.holds.hold_depref,
        description="Health depreferences nothing either: `always`, `never`, or `without_room`: until every POP of "
        "`safety.capacity.pops` says what it carries, and could take its share of this POP's traffic.",
    )
    calm: Annotated[float, duration(0.0, DAY_S)] = Field(
        default=_DEFAULT.holds.calm_s, description="How long after an attack health's word does not count yet."
    )
    look_back: Annotated[float, duration(0.0, 3600.0)] = Field(
        default=_DEFAULT.holds.look_back_s,
        description="What health depreferenced so shortly before the attack was seen is NORMAL again at once, if "
        "DEPREF is held: failing checks may be the first thing that shows of an attack. 0s: it stays.",
    )
    untrack: Annotated[Untrack, choice(Untrack)] = Field(
        default=_DEFAULT.untrack,
        description="`auto`: what begins at an attacked EIP takes no entry of the connection table, where all targets "
        "of the EIP are `routed`.",
    )
    dscp: Annotated[int | None, ValueType("DSCP (cs0 to cs7, ef, 0 to 63) or none", _read_dscp, _dscp_text)] = Field(
        default=_DEFAULT.dscp, description="What packets of our own checks, BGP and BFD are marked with."
    )
