"""What the decision on one prefix may know, gathered from all that the control loop holds."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from typing import Protocol

from anycastd.model.address import NeighborName, Prefix
from anycastd.model.bgp import BgpObserved, Routes, SessionState
from anycastd.model.decision import Level, Memory, Reason, Truth
from anycastd.model.operator import Drain, Interventions
from anycastd.model.spread import NOT_SHED, Announce, Shed
from anycastd.model.topology import Config, PrefixSpec
from anycastd.policy.desired import level_of
from anycastd.policy.draft import Facts, NeighborDrain, Order
from anycastd.policy.draining import level_of_phase
from anycastd.runtime.loop.announcer import Announcer
from anycastd.runtime.loop.beliefs import Beliefs
from anycastd.runtime.loop.breaker import Breaker
from anycastd.runtime.loop.forwarder import Forwarder
from anycastd.runtime.loop.spreading import Spreading
from anycastd.runtime.loop.under_attack import UnderAttack

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
    spread: Spreading
    adopted: bool
    stopping: bool
    attacks: UnderAttack


def facts_of(control: Loop, prefix: Prefix, now_s: float, orders: Interventions | None = None) -> Facts:
    """Return the facts on a configured prefix; under other `orders` than those in force, if given."""
    beliefs, orders = control.beliefs, orders or control.orders
    value = beliefs.value_for(prefix)
    test, spec = beliefs.view.self_test, control.config.prefixes[prefix]
    # asked only of what is absent: nothing that is announced ever waits for it
    memory = control.memories.get(prefix, Memory())
    level, fleet = memory.level, control.announcer.fleet
    absent = level is Level.WITHDRAWN
    left, shed = control.breaker.allowance(control.config, now_s), control.spread.sheds.get(prefix, NOT_SHED)
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
        neighbor_drains=neighbor_drains(control.config, orders, spec, control.announcer.observed, shed, now_s),
        frozen=orders.hold,
        withdrawals_left=left,
        breaker_detail="" if left else control.breaker.words(),
        attack=attack,
        absorb=absorb,
        room=room,
        room_detail=room_detail,
        standby=control.spread.standby(spec, level),
        extras=shed.extras,
        spread_detail=shed.words,
        fleet=fleet.others(prefix),
        token_missing=fleet.token_missing(prefix, memory.epoch),
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
    config: Config, orders: Interventions, spec: PrefixSpec, bgp: BgpObserved, shed: Shed, now_s: float
) -> tuple[NeighborDrain, ...]:
    """Return the neighbors that are told less of a prefix, by an operator or to spread load, and what others have."""
    drained, kept = orders.neighbors, kept_from(config, spec, shed)
    if not drained and not kept:
        return ()
    truth, settled_at_s = others_have(config, {*drained, *kept}, spec, bgp)
    found = []
    for name in spec.neighbors:
        drain = drained.get(name)
        if drain is None and name not in kept:
            continue
        order, reason = kept[name] if drain is None else (_order(drain), Reason.DRAINING)
        has, at_s = truth, settled_at_s
        if reason is Reason.STANDBY and truth is Truth.FALSE:
            has, at_s = _long_absent(config, spec, kept, bgp, now_s)
        route = (bgp.routes or {}).get(name, {}).get(spec.prefix)
        standing = Level.WITHDRAWN if route is None else level_of(config.neighbors[name], spec, route)
        found.append(NeighborDrain(name, order.level, order.forced, order.detail, standing, has, at_s, reason))
    return tuple(found)


def kept_from(config: Config, spec: PrefixSpec, shed: Shed) -> Mapping[NeighborName, tuple[Order, Reason]]:
    """Return the neighbors that are told less of a prefix though nobody drained them."""
    kept: dict[NeighborName, tuple[Order, Reason]] = {}
    for name in spec.neighbors:
        if name in shed.down:
            level = Level.WITHDRAWN if shed.down[name] else Level.DEPREF
            kept[name] = Order(level, False, shed.words), Reason.SPREADING
        elif not shed.calls and config.neighbors[name].announce is Announce.STANDBY:
            kept[name] = Order(Level.WITHDRAWN, False, "a standby, and not called on"), Reason.STANDBY
    return kept


def told_less(control: Loop, prefixes: Collection[Prefix] | None) -> Collection[Prefix]:
    """Return those of the prefixes (None: of all) that some neighbor is told less of.

    It may leave, or must come back, by what the others have, so each change of that counts.
    """
    every, sheds = control.config.prefixes, control.spread.sheds
    standby = any(one.announce is Announce.STANDBY for one in control.config.neighbors.values())
    if not (control.orders.neighbors or standby or any(shed.down for shed in sheds.values())):
        return ()
    return every if prefixes is None else every.keys() & set(prefixes)


def _long_absent(
    config: Config, spec: PrefixSpec, kept: Container[NeighborName], bgp: BgpObserved, now_s: float
) -> tuple[Truth, float | None]:
    """Return FALSE once all others have been down for `operator.settled`, so that a start makes no standby join."""
    since_s = [bgp.sessions[name].since_s for name in spec.neighbors if name not in kept and name in bgp.sessions]
    at_s = max(since_s, default=now_s) + config.operator.settled_s
    return (Truth.FALSE, None) if now_s >= at_s else (Truth.UNKNOWN, at_s)


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
