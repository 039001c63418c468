"""The endpoints that take orders of operators: drains and overrides. The reads are views of the state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from aiohttp import web

from anycastd.api.door import access, ask
from anycastd.api.endpoints import asked, bodies
from anycastd.api.ports import OrderRequest, Orders
from anycastd.api.shapes.orders import DrainBody, LastingBody, OverrideBody
from anycastd.model.decision import Level
from anycastd.resources.orders import DrainCommand, Lasting, OrderCommand, OverrideCommand, Undo
from anycastd.resources.refusal import Refused

B = TypeVar("B", bound=LastingBody)


def writes(orders: Orders) -> list[web.RouteDef]:
    """Return the routes that change something."""
    return [
        web.post("/v1/drains", _order(orders, DrainBody, _drain)),
        web.delete("/v1/drains/{id}", _undo(orders, is_drain=True)),
        web.post("/v1/overrides", _order(orders, OverrideBody, _override)),
        web.delete("/v1/overrides/{id}", _undo(orders, is_drain=False)),
    ]


def owner_of(request: web.Request, given: str) -> str:
    """Return who asks, as the door knows (a user of this machine, or a token's name), with the name given beside it."""
    known = access.who(request).name
    return known if given in ("", known) else f"{given} as {known}"


def _lasting(body: LastingBody, owner: str, forced: bool) -> Lasting:
    return Lasting(
        owner=owner,
        reason=body.reason,
        forced=forced,
        expires_in_s=body.expires_in_s,
        never_expires=body.never_expires,
    )


def _drain(body: DrainBody, owner: str, forced: bool) -> OrderCommand:
    return DrainCommand(scope=body.scope, name=body.name, after=body.after, lasting=_lasting(body, owner, forced))


def _override(body: OverrideBody, owner: str, forced: bool) -> OrderCommand:
    level = None if body.level is None else Level[body.level]
    return OverrideCommand(
        kind=body.kind, name=body.name, level=level, state=body.state, lasting=_lasting(body, owner, forced)
    )


def _order(orders: Orders, model: type[B], command_of: Callable[[Any, str, bool], OrderCommand]) -> ask.Answer:
    async def order(request: web.Request) -> web.Response:
        text = await request.read()
        body = bodies.body_of(model, text)
        if isinstance(body, Refused):
            return asked.refusal(body)
        owner = owner_of(request, body.owner)
        return await _taken(orders, request, command_of(body, owner, asked.flag(request, "force")), owner, text)

    return asked.understood(order, "dry_run", "force")


def _undo(orders: Orders, *, is_drain: bool) -> ask.Answer:
    async def undo(request: web.Request) -> web.Response:
        owner = owner_of(request, "")
        return await _taken(orders, request, Undo(request.match_info["id"], is_drain), owner, await request.read())

    return asked.understood(undo, "dry_run")


async def _taken(orders: Orders, request: web.Request, command: OrderCommand, owner: str, text: bytes) -> web.Response:
    dry_run = asked.flag(request, "dry_run")
    done = await orders.change(
        OrderRequest(
            command=command,
            owner=owner,
            key=asked.idempotency_key(request),
            digest=asked.digest_of(request, text),
            dry_run=dry_run,
        )
    )
    return asked.done(done, dry_run=dry_run)
