"""The endpoints of playbooks: what they do, run one, end one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from aiohttp import web

from anycastd.api.door import ask
from anycastd.api.endpoints import asked
from anycastd.api.endpoints.orders import owner_of
from anycastd.resources.refusal import Refused


class Playbooks(Protocol):
    """The desk of playbooks."""

    def listing(self) -> Mapping[str, Any]:
        """Return what there is and what it does."""
        ...

    def plan(self, name: str, prefix: str | None, /) -> Refused | tuple[str, ...]:
        """Return what each step would do now, in sentences; nothing changes."""
        ...

    async def play(self, name: str, prefix: str | None, owner: str, /, *, stop: bool) -> Refused | tuple[str, ...]:
        """Take the next step of a playbook, or end it in stages; return what was done."""
        ...


def routes(desk: Playbooks) -> list[web.RouteDef]:
    """Return every route."""

    async def listing(request: web.Request) -> web.Response:
        return ask.answer(desk.listing())

    async def run(request: web.Request) -> web.Response:
        return await _done(desk, request, stop=False)

    async def stop(request: web.Request) -> web.Response:
        return await _done(desk, request, stop=True)

    return [
        web.get("/v1/playbooks", asked.understood(listing)),
        web.post("/v1/playbooks/{name}", asked.understood(run, "prefix", "dry_run")),
        web.delete("/v1/playbooks/{name}", asked.understood(stop, "prefix")),
    ]


async def _done(desk: Playbooks, request: web.Request, *, stop: bool) -> web.Response:
    name, prefix = request.match_info["name"], request.query.get("prefix")
    dry_run = asked.flag(request, "dry_run")
    owner = owner_of(request, "")
    said = desk.plan(name, prefix) if dry_run else await desk.play(name, prefix, owner, stop=stop)
    if isinstance(said, Refused):
        return asked.refusal(said)
    return ask.answer({"dry_run": dry_run, "changes": list(said)})
