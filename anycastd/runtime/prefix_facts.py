"""What the decision on one prefix may know, gathered from all that the control loop holds."""

from __future__ import annotations

from collections.abc import Container
from typing import Protocol

from anycastd.model.address import NeighborName, Prefix
from anycastd.model.bgp import BgpObserved, Routes, SessionState
from anycastd.model.decision import Level, Memory, Truth
from anycastd.model.operator import Drain, Interventions
from anycastd.model.topology import Config, PrefixSpec
from anycastd.policy.desired import level_of
from anycastd.policy.draft import Facts, NeighborDrain, Order
from anycastd.policy.draining import level_of_phase
from anycastd.runtime.announcer import Announcer
from anycastd.runtime.beliefs import Beliefs
from anycastd.runtime.breaker import Breaker
from anycastd.runtime.forwarder import Forwarder
from anycastd.runtime.under_attack import UnderAttack

_UNSURE = frozenset({SessionState.UNKNOWN})


class Loop(Protocol):
    """The control loop, as far as facts come from it."""

    config: Config
    beliefs: Beliefs
    orders: Interventions
    memories: dict[Prefix, Memory]
    forwarder: Forwarder
    announcer: Announcer
    breaker: Breaker
    adopted: bool
    stopping: bool
    attacks: UnderAttack


def facts_of(control: Loop, prefix: Prefix, now_s: float, orders: Interventions | None = None) -> Facts:
    """Return the facts on a configured prefix; under other `orders` than those in force, if given."""
    beliefs, orders = control.beliefs, orders or control.orders
    value = beliefs.value_for(prefix)
    test, spec = beliefs.view.self_test, control.config.prefixes[prefix]
    # asked only of what is absent: nothing that is announced ever waits for it
    absent = control.memories.get(prefix, Memory()).level is Level.WITHDRAWN
    left = control.breaker.allowance(control.config, now_s)
    attack, absorb, room, room_detail = control.attacks.facts(prefix, control.config)
    caught, forwarded = control.forwarder.ready(prefix) if absent else (True, True)
    return Facts(
        now_s=now_s,
        spec=spec,
        condition=value.truth,
        well=value.well,
        detail=value.detail,
        first_checks=value.first,
        data_plane_ready=forwarded,
        blackhole_ready=caught,
        bgp_observed=control.adopted,
        checker_suspect=test.suspect_until_s is not None,
        suspect_detail=test.detail,
        stopping=control.stopping,
        override=_override(orders, prefix),
        drain=None if orders.pop is None else _order(orders.pop),
        neighbor_drains=neighbor_drains(control.config, orders, spec, control.announcer.observed),
        frozen=orders.hold,
        withdrawals_left=left,
        breaker_detail="" if left else control.breaker.words(),
        fleet=control.announcer.fleet.others(prefix),
        attack=attack,
        absorb=absorb,
        room=room,
        room_detail=room_detail,
    )


def routes_wanted(control: Loop) -> Routes:
    """Return every route every neighbor should be sent now; nothing before it is known what runs already."""
    return control.announcer.wanted if control.adopted else {}


def words_of(owner: str, reason: str) -> str:
    """Return who ordered something, and why."""
    return f"ordered by {owner}: {reason}" if reason else f"ordered by {owner}"


def _order(drain: Drain) -> Order:
    detail = f"{drain.what} is drained, phase {drain.phase.value}; {words_of(drain.owner, drain.reason)}"
    return Order(level_of_phase(drain.phase), drain.forced, detail)


def _override(orders: Interventions, prefix: Prefix) -> Order | None:
    order = orders.prefix(prefix)
    if order is None or order.level is None:
        return None
    return Order(order.level, order.forced, words_of(order.owner, order.reason))


def neighbor_drains(
    config: Config, orders: Interventions, spec: PrefixSpec, bgp: BgpObserved
) -> tuple[NeighborDrain, ...]:
    """Return the drains of neighbors that carry a prefix, with what the other neighbors have of it."""
    drained = orders.neighbors
    if not drained:
        return ()
    truth, settled_at_s = others_have(config, drained, spec, bgp)
    found = []
    for name in spec.neighbors:
        if (drain := drained.get(name)) is not None:
            order, route = _order(drain), (bgp.routes or {}).get(name, {}).get(spec.prefix)
            standing = Level.WITHDRAWN if route is None else level_of(config.neighbors[name], spec, route)
            found.append(NeighborDrain(name, order.level, order.forced, order.detail, standing, truth, settled_at_s))
    return tuple(found)


def others_have(
    config: Config, drained: Container[NeighborName], spec: PrefixSpec, bgp: BgpObserved
) -> tuple[Truth, float | None]:
    """Return whether a neighbor that is not drained has a prefix, and when it has been established long enough."""
    others = [name for name in spec.neighbors if name not in drained]
    truth, since_s = _announced(others, spec.prefix, bgp)
    return truth, None if since_s is None else since_s + config.operator.settled_s


def _announced(names: list[NeighborName], prefix: Prefix, bgp: BgpObserved) -> tuple[Truth, float | None]:
    """Return whether one of these neighbors is established and is sent the prefix, and since when the first of them."""
    if not names:
        return Truth.FALSE, None
    if bgp.routes is None:
        return Truth.UNKNOWN, None
    sessions = {name: bgp.sessions.get(name) for name in names}
    has = [
        session.since_s
        for name, session in sessions.items()
        if session is not None
        and session.state is SessionState.ESTABLISHED
        and prefix in bgp.routes.get(name, {})
        and (name, prefix) not in bgp.in_flight
    ]
    if has:
        return Truth.TRUE, min(has)
    unsure = any(session is None or session.state in _UNSURE for session in sessions.values())
    return (Truth.UNKNOWN if unsure else Truth.FALSE), None
