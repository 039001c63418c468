"""What became of operators' orders from one moment to the next, in the words of the journal. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from anycastd.model.operator import Drain, Freeze, Interventions, Override

ENDED, FROZEN, UNFROZEN = "ended", "frozen", "unfrozen"


class OrderChange(NamedTuple):
    """One order that began, went on otherwise, or ended; `before` and `after` are phases, levels or states."""

    subject: str
    before: str
    after: str
    detail: str


def order_changes(before: Interventions, after: Interventions, ended_by: str = "") -> Iterator[OrderChange]:
    """Yield each change; `ended_by` says who or what ended those that are gone."""
    was = {order.id: order for order in _orders(before)}
    now = {order.id: order for order in _orders(after)}
    for id_, order in now.items():
        old = was.get(id_)
        if old is None or _told(old) != _told(order):
            yield OrderChange(_subject(order), _stands(old) if old else "", _stands(order), _words(order))
    for id_, order in was.items():
        if id_ not in now:
            yield OrderChange(_subject(order), _stands(order), ENDED, ended_by)
    yield from _freeze_changes(before.freeze, after.freeze)


def _freeze_changes(before: Freeze | None, after: Freeze | None) -> Iterator[OrderChange]:
    if after is not None and (before is None or (before.words, before.eips) != (after.words, after.eips)):
        more = "; EIPs too" if after.eips else ""
        yield OrderChange("freeze", FROZEN if before else "", FROZEN, f"{after.words}{more}")
    elif before is not None and after is None:
        yield OrderChange("freeze", FROZEN, UNFROZEN, "")


def _orders(orders: Interventions) -> tuple[Drain | Override, ...]:
    return (*orders.drains, *orders.overrides)


def _subject(order: Drain | Override) -> str:
    return f"drain {order.what}" if isinstance(order, Drain) else f"override {order.kind.value} {order.name}"


def _stands(order: Drain | Override) -> str:
    if isinstance(order, Drain):
        return order.phase.value
    return order.level.name if order.level is not None else order.state.value if order.state else ""


def _told(order: Drain | Override) -> tuple[object, ...]:
    return _stands(order), order.owner, order.reason, order.forced, order.expires_s


def _words(order: Drain | Override) -> str:
    reason = f": {order.reason}" if order.reason else ""
    return f"by {order.owner}{', forced' if order.forced else ''}{reason}"
