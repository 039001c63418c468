"""What a command of an operator makes of the orders in force, or why it is refused. Pure.

A second order for the same thing renews the first: a drain keeps its phase, so that `--force` later goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_network

from anycastd.config.near import did_you_mean
from anycastd.config.values.fields import duration_text
from anycastd.model.decision import Level
from anycastd.model.operator import After, Drain, DrainPhase, DrainScope, Interventions, Override, OverrideKind, State
from anycastd.model.topology import Config
from anycastd.resources.refusal import Code, Refused, refused

MAX_ORDERS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Lasting:
    """Who orders, why, and for how long: `expires_in_s`, or for ever; None = as the configuration has it."""

    owner: str
    reason: str = ""
    forced: bool = False
    expires_in_s: float | None = None
    never_expires: bool = False

    def expires_s(self, default_s: float, now_s: float) -> float | None:
        """Return when it ends."""
        if self.never_expires:
            return None
        return now_s + (default_s if self.expires_in_s is None else self.expires_in_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainCommand:
    """Drain something; `name` is empty for the POP."""

    scope: DrainScope
    name: str = ""
    after: After = After.KEEP
    lasting: Lasting


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideCommand:
    """Force the level of a prefix, or the state of a tunnel or backend."""

    kind: OverrideKind
    name: str
    level: Level | None = None
    state: State | None = None
    lasting: Lasting


@dataclass(frozen=True, slots=True)
class Undo:
    """End the drain, or the override, with an id."""

    id: str
    is_drain: bool


OrderCommand = DrainCommand | OverrideCommand | Undo


@dataclass(frozen=True, slots=True)
class PlannedOrder:
    """The orders as they would be, the one that is meant (None: it ended), and what changes, in words."""

    after: Interventions
    order: Drain | Override | None
    changes: tuple[str, ...]


def plan_order(
    command: OrderCommand, orders: Interventions, config: Config, now_s: float, new_id: str, baseline_bps: float | None
) -> PlannedOrder | Refused:
    """Return what becomes of the orders; times are monotonic seconds."""
    if isinstance(command, Undo):
        return _undo(command, orders)
    if command.lasting.forced and not command.lasting.reason:
        return refused(Code.VALUE, 422, "what is forced needs a reason", "reason")
    if len(orders.drains) + len(orders.overrides) >= MAX_ORDERS:
        return refused(Code.VALUE, 422, f"there are {MAX_ORDERS} drains and overrides already: undo some")
    if isinstance(command, DrainCommand):
        return _drain(command, orders, config, now_s, new_id, baseline_bps)
    return _override(command, orders, config, now_s, new_id)


def _undo(command: Undo, orders: Interventions) -> PlannedOrder | Refused:
    if command.is_drain:
        gone = [f"drain of {one.what} ends" for one in orders.drains if one.id == command.id]
        after = replace(orders, drains=tuple(one for one in orders.drains if one.id != command.id))
    else:
        gone = [f"override {one.what} ends" for one in orders.overrides if one.id == command.id]
        after = replace(orders, overrides=tuple(one for one in orders.overrides if one.id != command.id))
    if not gone:
        kind = "drain" if command.is_drain else "override"
        return refused(Code.ORDER_NOT_FOUND, 404, f"no {kind} has the id {command.id[:64]!r}")
    return PlannedOrder(after, None, tuple(gone))


def _known(config: Config, kind: DrainScope | OverrideKind) -> Iterable[str]:
    found: Mapping[str, Iterable[object]] = {
        "neighbor": config.neighbors,
        "region": config.regions,
        "tunnel": config.tunnels,
        "backend": config.backends,
        "prefix": config.prefixes,
    }
    return map(str, found.get(kind.value, ()))


def _is_known(config: Config, kind: DrainScope | OverrideKind, name: str) -> bool:
    if kind is OverrideKind.PREFIX:
        # by lookup: the names of 10,000 prefixes cost 7 ms, for each override at each look
        try:
            return ip_network(name) in config.prefixes
        except ValueError:
            # a file that somebody wrote by hand
            return False
    return name in _known(config, kind)


def _missing(config: Config, kind: DrainScope | OverrideKind, name: str) -> Refused | None:
    known = list(_known(config, kind))
    if name in known:
        return None
    hint = did_you_mean(name, known) or (f"; known: {', '.join(known[:10])}" if known else "")
    return refused(Code.ORDER_TARGET, 404, f"no {kind.value} is called {name[:64]!r}{hint}", "name")


def _drain(
    command: DrainCommand,
    orders: Interventions,
    config: Config,
    now_s: float,
    new_id: str,
    baseline_bps: float | None,
) -> PlannedOrder | Refused:
    scope, name, lasting = command.scope, command.name, command.lasting
    if scope is DrainScope.POP:
        if name not in ("", config.pop.name):
            return refused(Code.ORDER_TARGET, 404, f"this POP is called {config.pop.name}, not {name[:64]!r}", "name")
        name = ""
    elif missing := _missing(config, scope, name):
        return missing
    if command.after is After.RESET and scope not in (DrainScope.REGION, DrainScope.BACKEND):
        message = f"connections of a {scope.value} are not reset by a drain: only those into a region or to a backend"
        return refused(Code.VALUE, 422, message, "after")
    known = next((one for one in orders.drains if (one.scope, one.name) == (scope, name)), None)
    if known is not None and known.forced and not lasting.forced:
        # else who may not force could prolong what somebody else forced
        code = Code.WITHDRAW_GUARD if scope.is_announced else Code.ANNOUNCE_WHEN
        return refused(code, 409, f"the drain of {known.what} is forced: --force with a reason renews it")
    phase = DrainPhase.DEPREF if scope.is_announced else DrainPhase.DRAINING
    first = Drain(
        id=new_id,
        scope=scope,
        name=name,
        owner=lasting.owner,
        reason=lasting.reason,
        began_s=now_s,
        phase=phase,
        phase_since_s=now_s,
        baseline_bps=baseline_bps,
    )
    drain = replace(
        known or first,
        owner=lasting.owner,
        reason=lasting.reason or (known.reason if known else ""),
        forced=lasting.forced,
        after=command.after,
        expires_s=lasting.expires_s(config.operator.drain_expires_s, now_s),
    )
    others = tuple(one for one in orders.drains if one is not known)
    verb = "is drained" if known is None else "goes on being drained"
    words = f"{drain.what} {verb}{', forced' if drain.forced else ''}, {_until(drain.expires_s, now_s)}"
    return PlannedOrder(replace(orders, drains=(*others, drain)), drain, (words,))


def _override(
    command: OverrideCommand, orders: Interventions, config: Config, now_s: float, new_id: str
) -> PlannedOrder | Refused:
    kind, name, lasting = command.kind, command.name, command.lasting
    if kind is OverrideKind.PREFIX:
        try:
            name = str(ip_network(name))
        except ValueError as error:
            return refused(Code.VALUE, 422, str(error), "name")
    if missing := _missing(config, kind, name):
        return missing
    if (command.level is None) is (kind is OverrideKind.PREFIX) or (command.state is None) is not (
        kind is OverrideKind.PREFIX
    ):
        return refused(Code.VALUE, 422, "a prefix is given a level, a tunnel or backend a state", "level")
    known = next((one for one in orders.overrides if (one.kind, one.name) == (kind, name)), None)
    order = Override(
        id=known.id if known else new_id,
        kind=kind,
        name=name,
        level=command.level,
        state=command.state,
        owner=lasting.owner,
        reason=lasting.reason,
        forced=lasting.forced,
        began_s=now_s,
        expires_s=lasting.expires_s(config.operator.override_expires_s, now_s),
    )
    others = tuple(one for one in orders.overrides if one is not known)
    words = f"override {order.what}{', forced' if order.forced else ''}, {_until(order.expires_s, now_s)}"
    return PlannedOrder(replace(orders, overrides=(*others, order)), order, (words,))


def _until(expires_s: float | None, now_s: float) -> str:
    return "until it is undone" if expires_s is None else f"for {duration_text(round(expires_s - now_s))}"


def _is_gone(order: Drain | Override, config: Config) -> bool:
    kind = order.scope if isinstance(order, Drain) else order.kind
    return kind is not DrainScope.POP and not _is_known(config, kind, order.name)


def set_aside(orders: Interventions, config: Config) -> tuple[Interventions, Interventions]:
    """Return the orders that can be in force, and those whose thing a file on trial lacks: it may come back with it."""
    here, aside = (
        replace(
            orders,
            drains=tuple(one for one in orders.drains if _is_gone(one, config) is gone),
            overrides=tuple(one for one in orders.overrides if _is_gone(one, config) is gone),
        )
        for gone in (False, True)
    )
    return (here, aside) if aside.drains or aside.overrides else (orders, aside)


def expired(
    orders: Interventions, config: Config, now_s: float, *, on_trial: bool = False
) -> tuple[Interventions, tuple[str, ...]]:
    """Return the orders without those that are over or whose thing is no longer configured, and what went, in words.

    `on_trial`: the configuration may be taken back, so what it lacks is no reason.
    """

    def is_over(order: Drain | Override) -> bool:
        return order.expires_s is not None and order.expires_s <= now_s

    def is_gone(order: Drain | Override) -> bool:
        return not on_trial and _is_gone(order, config)

    every: tuple[Drain | Override, ...] = (*orders.drains, *orders.overrides)
    gone = tuple(f"{order.what}: {'expired' if is_over(order) else 'is not configured any more'}"
                 for order in every if is_over(order) or is_gone(order))  # fmt: skip
    if not gone:
        return orders, ()
    drains = tuple(one for one in orders.drains if not is_over(one) and not is_gone(one))
    overrides = tuple(one for one in orders.overrides if not is_over(one) and not is_gone(one))
    return replace(orders, drains=drains, overrides=overrides), gone
