"""S7: whether the other POPs could carry what a drained one leaves to them. Pure.

What moves does not spread: of six measured sites one neighbor took 33 to 65 % of a withdrawn one's traffic. Without a
forecast each POP that is declared is therefore taken for that neighbor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from anycastd.model.decision import Truth
from anycastd.model.safety import CapacityConfig


@dataclass(frozen=True, slots=True)
class Overload:
    """A POP that would carry `forecast_bps`, more than it may (`limit_bps`)."""

    pop: str
    load_bps: float
    forecast_bps: float
    limit_bps: float

    def __str__(self) -> str:
        figures = (self.load_bps, self.forecast_bps, self.limit_bps)
        now, then, most = (f"{bps / 1e6:.0f} Mbit/s" for bps in figures)
        return f"{self.pop} would carry {then} (now {now}), {most} are allowed"


def overloads(spec: CapacityConfig, moved_bps: float, loads_bps: Mapping[str, float]) -> tuple[Overload, ...]:
    """Return the POPs that could not take it, the fullest first; `loads_bps` is what is known of their load now.

    Where nothing is known the declared usual load counts.
    """
    found = []
    for name, pop in spec.pops.items():
        load_bps = loads_bps.get(name, float(pop.usual_bps))
        forecast_bps = load_bps + moved_bps * spec.share_percent / 100
        limit_bps = pop.capacity_bps * spec.full_percent / 100
        if forecast_bps > limit_bps:
            found.append(Overload(name, load_bps, forecast_bps, limit_bps))
    return tuple(sorted(found, key=lambda one: one.limit_bps / one.forecast_bps))


def room_elsewhere(spec: CapacityConfig, moved_bps: float | None, loads_bps: Mapping[str, float]) -> tuple[Truth, str]:
    """Return whether the other POPs could carry `moved_bps` of ours, and the words for it.

    Under attack no load is usual, so that only what each of them says now counts: UNKNOWN where one does not say it.
    """
    if not spec.pops:
        return Truth.UNKNOWN, "no other POP is declared (safety.capacity.pops)"
    if moved_bps is None:
        return Truth.UNKNOWN, "what this POP carries was not measured"
    silent = [name for name in spec.pops if name not in loads_bps]
    if silent:
        return Truth.UNKNOWN, f"{', '.join(silent)} did not say what it carries"
    if found := overloads(spec, moved_bps, loads_bps):
        return Truth.FALSE, str(found[0])
    return Truth.TRUE, f"{', '.join(spec.pops)} could each take {spec.share_percent} % of {moved_bps / 1e6:.0f} Mbit/s"
