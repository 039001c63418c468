"""Wanted against observed routes -> commands for ExaBGP. Pure, level-triggered: correct after any loss.

What is in flight is not known yet, so it is compared by what was last asked (`submitted`); once it has ended, by what
is observed. A command that was lost or refused therefore shows up again as a difference.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from dataclasses import replace

from anycastd.model.address import Family, FlowFamily, NeighborName, Prefix, family_of
from anycastd.model.bgp import (
    Announce,
    BgpAction,
    BgpObserved,
    EndOfRib,
    Priority,
    Route,
    Routes,
    Withdraw,
)

Key = tuple[NeighborName, Prefix]

BULK_ABOVE = 50
"""More routes than this that are new or get better travel as bulk, so that a failover behind them does not wait."""


def diff(
    wanted: Routes,
    observed: BgpObserved,
    submitted: Mapping[Key, Route | None],
    held: Container[Key] = (),
    *,
    many: bool = False,
) -> tuple[BgpAction, ...]:
    """Return what must be said to make observed into wanted, most urgent first.

    `held` are keys whose last command was refused a moment ago: the same is not said again yet, another is at once.
    Nothing is said before the first dump. `many`: these are some of many, so what is not urgent travels as bulk.
    """
    if observed.routes is None:
        return ()
    actions: list[BgpAction] = []
    for neighbor, have in sorted(_present(wanted, observed).items()):
        routes, calm = wanted.get(neighbor, {}), list[Route]()
        for prefix in sorted(_suspects(neighbor, routes, have, observed), key=_order):
            key = (neighbor, prefix)
            now = submitted.get(key, have.get(prefix)) if key in observed.in_flight else have.get(prefix)
            want = routes.get(prefix)
            if now == want or (key in held and submitted.get(key, want) == want):
                continue
            if now is None:
                if want is not None:
                    calm.append(want)
            elif want is None:
                actions.append(Withdraw(neighbor, prefix, now.next_hop))
            elif _is_better(want, now):
                calm.append(want)
            else:
                actions.append(Announce(neighbor, want, Priority.FAILOVER))
        priority = Priority.BULK if many or len(calm) > BULK_ABOVE else Priority.NORMAL
        actions.extend(Announce(neighbor, route, priority) for route in calm)
    return tuple(sorted(actions, key=_urgency))


def only(prefixes: Collection[Prefix], wanted: Routes, observed: BgpObserved) -> tuple[Routes, BgpObserved]:
    """Return what is wanted and observed of these prefixes: to compare a few must not cost what thousands do."""
    want, have = _some(prefixes, wanted), _some(prefixes, observed.routes or {})
    names = {*want, *have}
    busy = frozenset(key for p in prefixes for name in names if (key := (name, p)) in observed.in_flight)
    return want, replace(observed, routes=None if observed.routes is None else have, in_flight=busy)


def _some(prefixes: Collection[Prefix], routes: Routes) -> dict[NeighborName, dict[Prefix, Route]]:
    return {name: {p: route for p in prefixes if (route := every.get(p))} for name, every in routes.items()}


def _is_better(want: Route, now: Route) -> bool:
    """Return whether a change draws traffic: a shorter path, or inside our AS a higher local preference."""
    return len(want.as_path) < len(now.as_path) or (want.local_preference or 0) > (now.local_preference or 0)


def _suspects(
    neighbor: NeighborName, routes: Mapping[Prefix, Route], have: Mapping[Prefix, Route], observed: BgpObserved
) -> set[Prefix]:
    """Return the prefixes that may differ: most do not, and those must cost next to nothing."""
    found = {prefix for name, prefix in observed.in_flight if name == neighbor and (prefix in routes or prefix in have)}
    for prefix, want in routes.items():
        held = have.get(prefix)
        if held is not want and held != want:
            found.add(prefix)
    found.update(have.keys() - routes.keys())
    return found


def _present(wanted: Routes, observed: BgpObserved) -> dict[NeighborName, Mapping[Prefix, Route]]:
    have = dict(observed.routes or {})
    return {name: have.get(name, {}) for name in {*wanted, *have}}


def _order(prefix: Prefix) -> tuple[int, int, int]:
    return (prefix.version, int(prefix.network_address), prefix.prefixlen)


def _urgency(action: BgpAction) -> int:
    return Priority.BULK if isinstance(action, EndOfRib) else action.priority


def ends_of_rib(
    wanted: Routes, observed: BgpObserved, undecided: Mapping[NeighborName, frozenset[Family]], *, overdue: bool
) -> tuple[EndOfRib, ...]:
    """Return the End-of-RIBs that may be sent now (RFC 4724 section 4.1).

    One waits until every prefix of its neighbor and family is decided and acknowledged: sent too early, the neighbor
    drops the routes it kept for us over our restart. `overdue`: its restart time is nearly over, so waiting for a
    decision, or for a route that ExaBGP refuses, is useless.
    """
    if observed.routes is None:
        return ()
    ready = []
    for neighbor, family in sorted(observed.eor_owed):
        if isinstance(family, FlowFamily):
            continue  # of flow rules: reconcile/filters.py
        if not overdue and family in undecided.get(neighbor, frozenset()):
            continue
        if any(key[0] == neighbor and family_of(key[1]) is family for key in observed.in_flight):
            continue
        if overdue or _is_said(wanted.get(neighbor, {}), observed.routes.get(neighbor, {}), family):
            ready.append(EndOfRib(neighbor, family))
    return tuple(ready)


def _is_said(want: Mapping[Prefix, Route], have: Mapping[Prefix, Route], family: Family) -> bool:
    if any(p not in want for p in have if family_of(p) is family):
        return False
    return all((held := have.get(p)) is route or held == route for p, route in want.items() if family_of(p) is family)


def unwanted(wanted: Routes, observed: BgpObserved, submitted: Mapping[Key, Route | None]) -> tuple[str, ...]:
    """Return, in words, every route ExaBGP holds that is neither wanted nor just being withdrawn."""
    found = []
    for neighbor, have in sorted((observed.routes or {}).items()):
        want = wanted.get(neighbor, {})
        for prefix in sorted((prefix for prefix in have if prefix not in want), key=_order):
            leaving = (neighbor, prefix) in observed.in_flight and submitted.get((neighbor, prefix), ...) is None
            if not leaving:
                found.append(f"{prefix} to {neighbor}")
    return tuple(found)
