"""Wanted against observed kernel state -> actions, make before break. Pure."""

from __future__ import annotations

from anycastd.model.kernel import (
    DeleteRoute,
    DeleteRule,
    KernelAction,
    KernelObserved,
    KernelRoute,
    KernelRule,
    PutRoute,
    PutRule,
    RouteKind,
)


def diff(
    wanted_routes: frozenset[KernelRoute], wanted_rules: frozenset[KernelRule], observed: KernelObserved
) -> tuple[KernelAction, ...]:
    """Return what must be done, in an order in which no packet meets a gap."""
    have = observed.routes or frozenset()
    keys = {route.key for route in wanted_routes}
    puts = sorted(wanted_routes - have, key=lambda r: (r.kind is not RouteKind.BLACKHOLE, str(r.key)))
    gone = sorted((route for route in have - wanted_routes if route.key not in keys), key=lambda r: str(r.key))
    rules = sorted(wanted_rules - observed.rules, key=lambda r: (r.preference, str(r.source)))
    stale = sorted(observed.rules - wanted_rules, key=lambda r: (r.preference, str(r.source)))
    return (
        *map(PutRoute, puts),
        *map(PutRule, rules),
        *map(DeleteRule, stale),
        *map(DeleteRoute, gone),
    )
