"""The door in front of every request: who asks, what the request needs, and what is said to whom is turned away."""

from __future__ import annotations

import logging
from typing import NamedTuple

from aiohttp import web
from aiohttp.typedefs import Middleware

from anycastd.api.door import ask
from anycastd.api.door.tokens import Door
from anycastd.model.access import NOBODY, Denied, Role, Who

log = logging.getLogger(__name__)

READS = frozenset({"GET", "HEAD", "OPTIONS"})
ADMIN = frozenset(
    ("POST", path) for path in ("/v1/reload", "/v1/breaker/reset", "/v1/fleet/accept", "/v1/fleet/restore")
)
"""What needs more than `operate`: it changes what the operator wrote down, or lets pass what a rule holds."""
_WHO = web.RequestKey("who", Who)


class Shown(NamedTuple):
    """What a request over TCP showed, and whose it was."""

    door: Door
    authorization: str | None
    owner: Who


_SHOWN = web.RequestKey("shown", Shown)


def who(request: web.Request) -> Who:
    """Return who asks: a token's name, or a user's."""
    found: Who = request.get(_WHO, NOBODY)
    return found


def may_stay(request: web.Request) -> bool:
    """Return whether who asked would still be let in: a reload may have replaced the token since."""
    shown = request.get(_SHOWN)
    return shown is None or shown.door.owner(shown.authorization) == shown.owner


def needed(request: web.Request) -> Role:
    """Return the role that a request needs; what forces needs `admin`."""
    if request.method in READS:
        return Role.READ
    resource = request.match_info.route.resource
    path = request.path if resource is None else resource.canonical
    return Role.ADMIN if (request.method, path) in ADMIN or request.query.get("force") == "true" else Role.OPERATE


def by_token(door: Door, *, local: bool, socket_path: str) -> Middleware:
    """Return the middleware of the TCP listener: reads are open where it is `local`, all else needs a token."""

    @web.middleware
    async def check(request: web.Request, handler: ask.Answer) -> web.StreamResponse:
        role, shown = needed(request), request.headers.get("Authorization")
        if local and request.match_info.http_exception is not None:
            # there is no such thing to ask for, whoever asks
            return await handler(request)
        if role is not Role.READ and not door.takes_tokens:
            more = f"writes are taken on the unix socket only: {socket_path} (the verbs of anycastd use it)"
            return _denied(request, Denied.READ_ONLY, f"{more}, or with a token (api.tokens)")
        if shown is None and local and role is Role.READ:
            return await handler(request)
        found = door.owner(shown)
        if found is Denied.TOKEN_MISSING:
            return _denied(request, found, "a token is needed: Authorization: Bearer TOKEN")
        if isinstance(found, Denied):
            return _denied(request, found, "the token is none of this daemon's (api.tokens), or no longer")
        request[_SHOWN] = Shown(door, shown, found)
        return await _admitted(request, handler, found, role)

    return check


def by_peer(door: Door) -> Middleware:
    """Return the middleware of the unix socket: the kernel says who is at its other end."""

    @web.middleware
    async def check(request: web.Request, handler: ask.Answer) -> web.StreamResponse:
        connected = request.transport.get_extra_info("socket") if request.transport else None
        found = Denied.PEER_REFUSED if connected is None else await door.peer(connected)
        if isinstance(found, Denied):
            message = f"only root, the daemon's own user and members of group {door.group} may ask here"
            return _denied(request, found, message)
        return await _admitted(request, handler, found, needed(request))

    return check


async def _admitted(request: web.Request, handler: ask.Answer, found: Who, role: Role) -> web.StreamResponse:
    if not found.role.covers(role):
        message = f"{found.name} has the role {found.role.value}; {request.method} {request.path} needs {role.value}"
        return _denied(request, Denied.ROLE_TOO_LOW, message)
    request[_WHO] = found
    response = await handler(request)
    if role is not Role.READ:
        what = {"who": found.name, "request": f"{request.method} {request.path}", "status": response.status}
        log.info("asked", extra={"reason": "api_write", "fields": what})
    return response


def _denied(request: web.Request, why: Denied, message: str) -> web.Response:
    what = {"request": f"{request.method} {request.path}", "peer": request.remote or "unix"}
    log.warning("turned away", extra={"reason": why.value, "fields": what})
    response = ask.error(why.status, why.value, message)
    if why.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="anycastd"'
    return response
