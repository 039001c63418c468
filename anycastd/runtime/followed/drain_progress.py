"""How far the prefixes have followed a drain, and what an order would do, from what the control loop holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from anycastd.model.address import NeighborName, Prefix
from anycastd.model.decision import Decision, Level, Memory, Reason, Truth
from anycastd.model.operator import Drain, DrainScope, Interventions, Override, OverrideKind
from anycastd.model.topology import Config
from anycastd.policy.capacity import overloads
from anycastd.policy.draining import Seen, level_of_phase
from anycastd.policy.engine import decide
from anycastd.resources.refusal import Code, Refusal, Refused
from anycastd.runtime.control import Control
from anycastd.runtime.loop.prefix_facts import facts_of, others_have, routes_wanted

_ROOM = "--force with a reason drains all the same"
TOLD = 10
"""Prefixes that a sentence or a dry run names."""


def seen_of(control: Control, drain: Drain, now_s: float) -> Seen:
    """Return what is seen of a drain."""
    if drain.scope is DrainScope.POP:
        decisions = list(control.decisions.values())
        free = [one for one in decisions if one.hold is None or not one.hold.is_guard]
        target = level_of_phase(drain.phase)
        # what health had withdrawn already is free to go and says nothing of those that the guard holds
        goes = len(free) == len(decisions) or any(one.level is not Level.WITHDRAWN for one in free)
        return Seen(
            may_leave=control.adopted and bool(free) and goes,
            followed=control.adopted and all(one.level <= target and is_said(control, one) for one in free),
            linger_s=max((spec.timers.linger_s for spec in control.config.prefixes.values()), default=0.0),
        )
    if drain.scope is DrainScope.NEIGHBOR:
        return _of_neighbor(control, drain, now_s)
    return Seen()


def is_said(control: Control, decision: Decision, only: NeighborName | None = None) -> bool:
    """Return whether the neighbors that are established are sent a prefix as it was decided."""
    bgp, wanted = control.announcer.observed, routes_wanted(control)
    spec = control.config.prefixes[decision.prefix]
    if bgp.routes is None:
        return False
    for name in spec.neighbors if only is None else (only,):
        key = (name, decision.prefix)
        have, want = bgp.routes.get(name, {}).get(decision.prefix), wanted.get(name, {}).get(decision.prefix)
        if key in bgp.in_flight or have != want:
            return False
    return True


def _of_neighbor(control: Control, drain: Drain, now_s: float) -> Seen:
    name, target = NeighborName(drain.name), level_of_phase(drain.phase)
    carried = [spec for spec in control.config.prefixes.values() if name in spec.neighbors]
    may, stays, followed, drained = False, False, control.adopted, control.orders.neighbors
    for spec in carried:
        decision = control.decisions.get(spec.prefix)
        if decision is None or name not in drained:
            followed = False
            continue
        # not neighbor_drains(), which makes words: this is done of every prefix each time, 10,000 in 90 ms
        others, settled_at_s = others_have(control.config, drained, spec, control.announcer.observed)
        settled = settled_at_s is not None and settled_at_s <= now_s
        may = may or drain.forced or (others is Truth.TRUE and settled)
        told = next((one for one in decision.drained if one.neighbor == name), None)
        if told is not None and told.hold is Reason.ONLY_NEIGHBOR:
            stays = True
            continue
        followed = followed and decision.level_at(name) <= target and is_said(control, decision, name)
    return Seen(may_leave=may, followed=followed, set_back=stays and not may)


def previews(control: Control, orders: Interventions, now_s: float, prefixes: Iterable[Prefix]) -> Iterator[Decision]:
    """Yield what would be decided on prefixes under other orders, as far as they change announcements."""
    for prefix in prefixes:
        memory = control.memories.get(prefix, Memory())
        yield decide(facts_of(control, prefix, now_s, orders), memory)[0]


def would_change(control: Control, orders: Interventions, now_s: float) -> tuple[str, ...]:
    """Return what the orders would change at once, in words."""
    words = []
    lost = control.beliefs.lost_by(orders, now_s)
    for after in previews(control, orders, now_s, list(control.config.prefixes)):
        before = control.decisions.get(after.prefix)
        was = before.level if before else Level.WITHDRAWN
        if after.level is not was or after.drained != (before.drained if before else ()):
            told = [f"{one.neighbor} {one.level.name}" for one in after.drained]
            words.append(f"{after.prefix}: {was.name} -> {', '.join([after.level.name, *told])}")
        if after.hold is not None and after.hold.is_guard:
            words.append(f"{after.prefix}: stays at {after.level.name}, {_evidence(after)}")
        if after.prefix in lost:
            words.append(f"{after.prefix}: could be served no more, {lost[after.prefix]}")
    more = len(words) - TOLD
    return (*words[:TOLD], *([f"and {more} more"] if more > 0 else []))


def _evidence(decision: Decision) -> str:
    return next((step.evidence for step in reversed(decision.trail) if step.reason is decision.hold), "")


def no_room(
    config: Config, order: Drain | Override, moved_bps: float | None, loads_bps: Mapping[str, float]
) -> Refused | None:
    """Return why a drain of the POP that is not forced is refused: another POP could not take what moves (S7).

    `loads_bps` is what other POPs carry now; of whom it is not known the declared usual load counts.
    """
    if not isinstance(order, Drain) or order.scope is not DrainScope.POP or moved_bps is None:
        return None
    found = overloads(config.safety.capacity, moved_bps, loads_bps)
    return Refused(tuple(Refusal(Code.CAPACITY, 409, f"{one}; {_ROOM}") for one in found[:TOLD])) if found else None


def refusal_of(control: Control, orders: Interventions, order: Drain | Override, now_s: float) -> Refused | None:
    """Return why an order that is not forced is refused: it would take a prefix's condition, or pass the guard."""
    if isinstance(order, Override) and order.kind is OverrideKind.PREFIX:
        prefix = next(prefix for prefix in control.config.prefixes if str(prefix) == order.name)
        (decision,) = previews(control, Interventions((), orders.overrides), now_s, [prefix])
        held = decision.hold is not None and decision.hold.is_guard
        if order.level is not None and order.level < Level.DEPREF and held:
            message = f"withdraw_guard: {_evidence(decision)}; --force with a reason passes it"
            return Refused((Refusal(Code.WITHDRAW_GUARD, 409, message, "level"),))
        return None
    if isinstance(order, Drain) and order.scope.is_announced:
        # a POP or neighbor that may not leave stays at DEPREF, and says so
        return None
    lost = control.beliefs.lost_by(orders, now_s)
    found = [
        Refusal(Code.ANNOUNCE_WHEN, 409, f"{prefix} could be served no more ({detail}); --force with a reason does it")
        for prefix, detail in list(lost.items())[:TOLD]
    ]
    return Refused(tuple(found)) if found else None
