"""`POST /v1/breaker/reset`: the circuit breaker is shown by /v1/status."""

from __future__ import annotations

from aiohttp import web

from anycastd.api.door import ask
from anycastd.api.door.access import who
from anycastd.api.ports import Daemon


def writes(daemon: Daemon) -> list[web.RouteDef]:
    """Return the route that resets it."""

    async def reset(request: web.Request) -> web.Response:
        if refused := ask.unknown_parameter(request, ()):
            return refused
        return ask.answer({"was_tripped": daemon.reset_breaker(who(request).name)})

    return [web.post("/v1/breaker/reset", reset)]
