"""Whether other POPs could take what one sends away of a prefix (S7), from what they say in the fleet's store. Pure.

Nobody knows where traffic goes, so each POP that announces the prefix must have room for the share that the worst one
got where it was measured. Who does not say what it can carry has none; nor has who sheds the prefix itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from anycastd.model.decision import Truth
from anycastd.model.safety import CapacityConfig, PopCapacity
from anycastd.policy.capacity import overloads
from anycastd.resources.fleet import Presence


@dataclass(frozen=True, slots=True)
class Forecast:
    """One POP: its load now, the most it would have if it got the worst share of what moves, and what it may have."""

    pop: str
    load_bps: float
    forecast_bps: float
    limit_bps: float

    def __str__(self) -> str:
        now, then, most = (f"{bps / 1e6:.0f}" for bps in (self.load_bps, self.forecast_bps, self.limit_bps))
        return f"{self.pop} would carry up to {then} Mbit/s (now {now}), {most} are allowed"


def takers(me: str, prefix: str, present: Mapping[str, Presence]) -> dict[str, Presence]:
    """Return the other POPs that announce a prefix, by name."""
    return {name: one for name, one in present.items() if name != me and one.announces(prefix) and not one.drain}


def forecasts(
    me: str, prefix: str, present: Mapping[str, Presence], spec: CapacityConfig, moved_bps: float
) -> tuple[Forecast, ...]:
    """Return what the others would have, as far as they say what they can carry."""
    found = []
    for name, one in takers(me, prefix, present).items():
        if (capacity_bps := _capacity(name, one, spec)) is not None:
            load_bps = max(one.in_bps, one.out_bps)
            most_bps = load_bps + moved_bps * spec.share_percent / 100
            found.append(Forecast(name, load_bps, most_bps, capacity_bps * spec.full_percent / 100))
    return tuple(found)


def room(
    me: str, prefix: str, present: Mapping[str, Presence] | None, spec: CapacityConfig, moved_bps: float | None
) -> tuple[Truth, str]:
    """Return whether the others could take `moved_bps` of a prefix, and the words for it."""
    if present is None:
        return Truth.UNKNOWN, "the fleet's store does not say how other POPs are"
    if not present:
        return Truth.UNKNOWN, "there is no fleet's store that says how other POPs are"
    if moved_bps is None:
        return Truth.UNKNOWN, "what comes in for the prefix was not measured"
    others = takers(me, prefix, present)
    if not others:
        return Truth.FALSE, "no other POP announces it"
    if busy := sorted(name for name, one in others.items() if prefix in one.sheds or prefix in one.pressed):
        return Truth.FALSE, f"{', '.join(busy)} has too much of it as well"
    capacities = {name: _capacity(name, one, spec) for name, one in others.items()}
    if silent := sorted(name for name, bps in capacities.items() if bps is None):
        return Truth.UNKNOWN, f"{', '.join(silent)} does not say what it can carry (attack.spread.capacity)"
    pops = {name: PopCapacity(capacity_bps=int(bps)) for name, bps in capacities.items() if bps is not None}
    loads_bps = {name: max(one.in_bps, one.out_bps) for name, one in others.items()}
    if full := overloads(replace(spec, pops=pops), moved_bps, loads_bps):
        return Truth.FALSE, str(full[0])
    return Truth.TRUE, f"{', '.join(sorted(others))} could each take {spec.share_percent} % of {_mbit(moved_bps)}"


def _capacity(name: str, one: Presence, spec: CapacityConfig) -> float | None:
    declared = spec.pops.get(name)
    return one.capacity_bps or (float(declared.capacity_bps) if declared is not None else None)


def _mbit(bps: float) -> str:
    return f"{bps / 1e6:.0f} Mbit/s"
