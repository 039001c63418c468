"""Drains, overrides and the freeze as the API shows them."""

from __future__ import annotations

from collections.abc import Iterator

from anycastd.api.views.moments import Json, iso, span
from anycastd.model.decision import Decision, Level, Reason
from anycastd.model.operator import Carried, Drain, DrainPhase, DrainScope, Override
from anycastd.model.status import Status
from anycastd.policy.draining import next_step_s

_GUARDS = frozenset(reason for reason in Reason if reason.is_guard)
_STANDS = _GUARDS | {Reason.CHANGE_BUDGET, Reason.FROZEN}

_FINAL = frozenset(reason.value for reason in (*_GUARDS, Reason.ONLY_NEIGHBOR))


def _left_s(status: Status, at_s: float | None) -> float | None:
    return None if at_s is None else round(max(at_s - status.now_s, 0.0), 3)


def _order(status: Status, order: Drain | Override) -> Json:
    return {
        "id": order.id,
        "name": order.name,
        "owner": order.owner,
        "reason": order.reason,
        "forced": order.forced,
        "began_at": iso(status, order.began_s),
        "expires_at": iso(status, order.expires_s),
        "expires_in_s": _left_s(status, order.expires_s),
    }


def _by(owner: str, reason: str) -> str:
    return f"by {owner}: {reason}" if reason else f"by {owner}"


def ends(status: Status, expires_s: float | None) -> str:
    """Return when an order ends, in words."""
    left_s = _left_s(status, expires_s)
    return "until it is undone" if left_s is None else f"ends in {span(left_s)}"


def _held(status: Status, drain: Drain) -> Iterator[Json]:
    if not drain.scope.is_announced:
        return
    for view in status.prefixes.values():
        decision = view.decision
        if drain.scope is DrainScope.POP and decision.hold in _STANDS:
            hold = decision.hold
            yield _hold(decision, None, decision.level.name, hold, _evidence(decision, hold))
        for one in decision.drained:
            if drain.scope is DrainScope.NEIGHBOR and one.neighbor == drain.name and one.hold is not None:
                yield _hold(decision, one.neighbor, one.level.name, one.hold, _evidence(decision, one.hold))


def _stays(status: Status, order: Drain, held: list[Json]) -> bool:
    """Return whether the drain gets no further by itself: no prefix may leave, or nothing may change at all."""
    if status.orders.hold:
        return True
    if order.phase is DrainPhase.DRAINED:
        return bool(held)
    if order.phase is not DrainPhase.DEPREF or not order.scope.is_announced:
        return False
    mine = [
        v
        for v in status.prefixes.values()
        if (order.scope is DrainScope.POP and v.decision.level is not Level.WITHDRAWN) or order.name in v.carriers
    ]
    final = [one for one in held if one["hold"] in _FINAL]
    return bool(mine) and len(final) == len(mine)


def _hold(decision: Decision, neighbor: str | None, level: str, hold: Reason, why: str) -> Json:
    return {"prefix": str(decision.prefix), "neighbor": neighbor, "level": level, "hold": hold.value, "why": why}


def _evidence(decision: Decision, reason: Reason) -> str:
    return next((step.evidence for step in reversed(decision.trail) if step.reason is reason), "")


def drain(status: Status, order: Drain) -> Json:
    """Return one drain, how far it is, and what holds it."""
    carried = status.carried.get(order.id, Carried())
    quiet_s = None if carried.quiet_since_s is None else round(max(status.now_s - carried.quiet_since_s, 0.0), 3)
    held = list(_held(status, order))
    stays = _stays(status, order, held)
    due_s = None if stays else next_step_s(order, status.config.operator)
    return {
        **_order(status, order),
        "scope": order.scope.value,
        "after": order.after.value,
        "phase": order.phase.value,
        "phase_since": iso(status, order.phase_since_s),
        "next_step_in_s": _left_s(status, due_s),
        "setbacks": order.setbacks,
        "rate_bps": None if carried.rate_bps is None else round(carried.rate_bps),
        "baseline_bps": None if order.baseline_bps is None else round(order.baseline_bps),
        "connections": carried.connections,
        "quiet_for_s": quiet_s,
        "held": held,
        "stays": stays,
        "done": order.phase is DrainPhase.DRAINED and not held,
        "text": _text(status, order, held),
    }


def _text(status: Status, order: Drain, held: list[Json]) -> str:
    forced = ", forced" if order.forced else ""
    text = f"{order.what} {order.phase.value}{forced} {_by(order.owner, order.reason)}; {ends(status, order.expires_s)}"
    if held:
        first = held[0]
        more = f" (and {len(held) - 1} more)" if len(held) > 1 else ""
        where = f"{first['prefix']}{' at ' + first['neighbor'] if first['neighbor'] else ''}"
        text += f"; {where} held at {first['level']}: {first['why']}{more}"
    return text


def override(status: Status, order: Override) -> Json:
    """Return one override."""
    forced = ", forced" if order.forced else ""
    return {
        **_order(status, order),
        "kind": order.kind.value,
        "level": None if order.level is None else order.level.name,
        "state": None if order.state is None else order.state.value,
        "text": f"{order.what}{forced} {_by(order.owner, order.reason)}; {ends(status, order.expires_s)}",
    }


def freeze(status: Status) -> Json:
    """Return whether announcements are frozen, and why."""
    orders = status.orders
    found = orders.freeze
    text = f"frozen: {orders.hold}" if orders.hold else "not frozen"
    if found is not None:
        text += f"; {ends(status, found.expires_s)}"
    return {
        "frozen": bool(orders.hold),
        "eips": found is not None and found.eips,
        "owner": found.owner if found else "",
        "reason": found.reason if found else "",
        "unread": orders.unread,
        "since": iso(status, found.since_s) if found else None,
        "expires_at": iso(status, found.expires_s) if found else None,
        "expires_in_s": _left_s(status, found.expires_s) if found else None,
        "text": text,
    }


def drains(status: Status) -> Json:
    """Return every drain."""
    return {"drains": [drain(status, one) for one in status.orders.drains]}


def overrides(status: Status) -> Json:
    """Return every override."""
    return {"overrides": [override(status, one) for one in status.orders.overrides]}


def orders(status: Status) -> Json:
    """Return everything that operators ordered."""
    return {"freeze": freeze(status), **drains(status), **overrides(status)}
