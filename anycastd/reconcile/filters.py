"""Wanted against observed blackholes and flow rules, to commands for ExaBGP. Pure, level-triggered.

The speaker repeats nothing that waits or is under way, so what is asked for twice is said once; whatever an answer
makes of it is a difference the next time.
"""

from __future__ import annotations

from anycastd.model.address import FlowFamily, NeighborName
from anycastd.model.bgp import (
    Announce,
    AnnounceFlow,
    BgpAction,
    BgpObserved,
    EndOfRib,
    FilterRoutes,
    FlowRoute,
    Priority,
    Route,
    Withdraw,
    WithdrawFlow,
)


def diff_filters(wanted: FilterRoutes, observed: BgpObserved) -> tuple[BgpAction, ...]:
    """Return what must be said; nothing before the first dump. Withdrawals first: what ends, ends."""
    if observed.filters is None:
        return ()
    gone: list[BgpAction] = []
    new: list[BgpAction] = []
    for name in sorted({*wanted, *observed.filters}):
        want, have = wanted.get(name, {}), observed.filters.get(name, {})
        gone += [_without(name, one) for key, one in have.items() if key not in want]
        new += [_with(name, one) for key, one in want.items() if not same(one, have.get(key))]
    return (*gone, *new)


def ends_of_flows(wanted: FilterRoutes, observed: BgpObserved) -> tuple[EndOfRib, ...]:
    """Return the End-of-RIBs of flow families that are owed to neighbors that are sent just what they should be.

    Without one a router keeps the rules of before our restart until its restart time is over, those that ended too.
    """
    if observed.filters is None:
        return ()
    return tuple(
        EndOfRib(name, family)
        for name, family in sorted(observed.eor_owed)
        if isinstance(family, FlowFamily) and not _differs(name, wanted, observed)
    )


def withdrawn(wanted: FilterRoutes) -> tuple[BgpAction, ...]:
    """Return what takes all of these away."""
    return tuple(_without(name, one) for name, have in sorted(wanted.items()) for one in have.values())


def same(want: Route | FlowRoute, have: Route | FlowRoute | None) -> bool:
    """Return whether what is sent is what should be: a flow rule is known by its tag."""
    if isinstance(want, FlowRoute):
        return isinstance(have, FlowRoute) and have.tag == want.tag
    return want == have


def _differs(name: NeighborName, wanted: FilterRoutes, observed: BgpObserved) -> bool:
    want, have = wanted.get(name, {}), (observed.filters or {}).get(name, {})
    return want.keys() != have.keys() or not all(same(one, have.get(key)) for key, one in want.items())


def _with(name: NeighborName, one: Route | FlowRoute) -> BgpAction:
    # before the bulk of the prefixes, and behind what fails over
    return AnnounceFlow(name, one) if isinstance(one, FlowRoute) else Announce(name, one, Priority.NORMAL)


def _without(name: NeighborName, one: Route | FlowRoute) -> BgpAction:
    return WithdrawFlow(name, one) if isinstance(one, FlowRoute) else Withdraw(name, one.prefix, one.next_hop)
