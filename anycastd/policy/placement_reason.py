"""Why the packets of a binding go where they go: the reason, and one sentence for people. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from anycastd.model.address import RegionName
from anycastd.model.eip import Binding, Path, PlacementReason, Spread
from anycastd.model.health import Health
from anycastd.policy.allotment import Allotment, Option
from anycastd.policy.outlook import Outlook

Why = tuple[PlacementReason, str]
_NAMED = 4
"""How many backends a sentence names before it only counts."""


def states(options: Iterable[Option]) -> str:
    """Return the backends with what is believed of each."""
    return _listed(f"{one.path.backend} {one.state.value}" for one in options)


def missing(binding: Binding, paths: Sequence[Path | None]) -> str:
    """Return the targets without a path here: not configured, or of another address family."""
    return _listed(target.backend for target, path in zip(binding.targets, paths, strict=True) if path is None)


def _listed(texts: Iterable[str]) -> str:
    found = list(dict.fromkeys(texts))
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more


def why(
    outlook: Outlook,
    binding: Binding,
    options: Sequence[Option],
    usable: Collection[Option],
    chosen: Sequence[Option],
    allotment: Allotment,
) -> Why:
    """Return why these shares: compared with what the binding asks for if all were usable."""
    if _is_drained(outlook, chosen[0]):
        return PlacementReason.LAST_RESORT, f"nothing is usable that is not drained: {states(chosen)}"
    if not chosen[0].weight:
        return PlacementReason.LAST_RESORT, "nothing with a weight above 0 is usable"
    if not outlook.dial(chosen[0].path.region):
        return PlacementReason.LAST_RESORT, "nothing is usable outside regions with traffic dial 0"
    first = min(one.priority for one in chosen)
    passed_over = [one for one in options if one.weight and one.priority < first]
    if passed_over:
        return _passed_over(outlook, passed_over, usable, PlacementReason.OTHER_PRIORITY, f"priority {first} serves")
    here = [one for one in options if one.weight and one.priority == first]
    passed_over = _regions_passed_over(outlook, binding.spread, here, chosen, allotment)
    if passed_over:
        used = _listed(share.path.region for share in allotment.shares)
        return _passed_over(outlook, passed_over, usable, PlacementReason.OTHER_REGION, f"{used} serves")
    used_regions = {share.path.region for share in allotment.shares}
    bad = [one for one in here if one.path.region in used_regions and one not in usable]
    if bad:
        return PlacementReason.OTHER_BACKEND, f"others take the packets of {states(bad)}"
    left = [one for one in here if one.path.region in used_regions and _is_drained(outlook, one)]
    if left:
        return PlacementReason.DRAINED, f"drained: {_listed(one.path.backend for one in left)}"
    dialed = [name for name in allotment.regions if outlook.dial(name) < 100]
    if dialed and len(used_regions) > 1:
        dials = ", ".join(f"{name} {outlook.dial(name)} %" for name in dialed)
        return PlacementReason.DIALED_AWAY, f"traffic dial: {dials}"
    serving = [one for one in chosen if one in here]
    return PlacementReason.PREFERRED, _preferred(outlook, binding.spread, allotment, serving)


def _is_drained(outlook: Outlook, one: Option) -> bool:
    return one.path.backend in outlook.drained.backends or one.path.region in outlook.drained.regions


def _passed_over(
    outlook: Outlook, options: Sequence[Option], usable: Collection[Option], otherwise: PlacementReason, end: str
) -> Why:
    """Return why others serve: what an operator drained or dialed away of what is usable, else what is not usable."""
    away = [one for one in options if one in usable]
    if drained := [one for one in away if _is_drained(outlook, one)]:
        return PlacementReason.DRAINED, f"drained: {_listed(one.path.backend for one in drained)}; {end}"
    if away:
        return PlacementReason.DIALED_AWAY, f"traffic dial 0: {_listed(one.path.region for one in away)}; {end}"
    return otherwise, f"not usable: {states(options)}; {end}"


def _regions_passed_over(
    outlook: Outlook, spread: Spread, here: Sequence[Option], chosen: Sequence[Option], allotment: Allotment
) -> list[Option]:
    """Return the options of regions that would have been asked before those that serve."""
    served = {one.path.region for one in chosen}
    others = [one for one in here if one.path.region not in served]
    if spread is Spread.WEIGHTED or not others:
        return others
    serving = allotment.regions[0]
    if spread is Spread.ORDERED:
        first = min(one.index for one in chosen if one.path.region == serving)
        return [one for one in others if one.index < first]
    return [one for one in others if outlook.rank(one.path.region) < outlook.rank(serving)]


def _preferred(outlook: Outlook, spread: Spread, allotment: Allotment, serving: Sequence[Option]) -> str:
    unsure = [one for one in serving if one.state is not Health.HEALTHY]
    kept = f"; kept while nothing is known of {states(unsure)}" if unsure else ""
    if spread is Spread.WEIGHTED:
        return f"by weight over {_listed(allotment.regions)}{kept}"
    which = "nearest" if spread is Spread.NEAREST else "first"
    degraded = _degraded(outlook, allotment.regions) if spread is Spread.NEAREST else ""
    return f"{allotment.regions[0]} is the {which} usable region{degraded}{kept}"


def _degraded(outlook: Outlook, regions: Sequence[RegionName]) -> str:
    """Return what is to be said of degraded tunnels: of the first region, or of those that it is preferred to."""
    views, first = outlook.regions, regions[0]
    if views[first].degraded:
        return ", by a degraded tunnel"
    priority, _, latency_ms, _ = outlook.rank(first)
    nearer = [
        name
        for name in regions[1:]
        if views[name].degraded and outlook.rank(name)[0] == priority and views[name].latency_ms < latency_ms
    ]
    return f" without a degraded tunnel; nearer: {_listed(nearer)}" if nearer else ""
