"""The endpoints of the fleet. `operate` takes POPs out of its books, `admin` overrules doubts.

Imported only where there is a fleet's store.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from aiohttp import web

from anycastd.api.door import ask
from anycastd.api.endpoints import asked, bodies
from anycastd.api.ports import Clocks, Overwritten
from anycastd.api.shapes.fleet import MAX_TEXT, FleetRestoreBody
from anycastd.api.views import fleet as views
from anycastd.errors import AnycastdError
from anycastd.model.topology import Config
from anycastd.resources import codec
from anycastd.resources.fleet_budget import FleetSeen
from anycastd.resources.refusal import Code, Refusal, Refused, refused

DONE = ("added", "replaced", "left out: they cannot be read here, and nothing of them is in force")
"""What became of keys, in the order of `Overwritten`."""


class Fleet(Protocol):
    """The desk of the fleet. What asks the store may raise AnycastdError, which says why it cannot."""

    @property
    def config(self) -> Config:
        """Return the configuration in force."""
        ...

    @property
    def seen(self) -> FleetSeen:
        """Return the fleet as it was last read."""
        ...

    def clocks(self) -> Clocks:
        """Return both clocks now."""
        ...

    def facts(self) -> Mapping[str, Any]:
        """Return how the store is."""
        ...

    async def read(self) -> FleetSeen:
        """Return the fleet as it is."""
        ...

    async def dump(self, *, here: bool) -> tuple[str, int, Mapping[str, str]]:
        """Return cluster, revision and texts by key: of the store, or of what this POP has applied."""
        ...

    async def overwrite(self, items: Mapping[str, str] | None, *, last: bool, dry_run: bool) -> Overwritten:
        """Have these (None: all that this POP has applied) in the store; return what that changed."""
        ...

    def accept(self) -> str:
        """Apply what was held; return why it was ("": nothing was)."""
        ...

    async def release(self, pop: str, /) -> str:
        """Take a POP out of the ledger; return what was done."""
        ...

    async def forget(self, pop: str, /) -> Refused | str:
        """Take a POP out of the fleet; return what was done."""
        ...


def routes(fleet: Fleet) -> list[web.RouteDef]:
    """Return every route."""
    return [
        web.get("/v1/fleet", _whole(fleet)),
        web.get("/v1/fleet/pops", _pops(fleet)),
        web.get("/v1/fleet/snapshot", _snapshot(fleet)),
        web.post("/v1/fleet/restore", _restore(fleet)),
        web.post("/v1/fleet/accept", _accept(fleet)),
        web.delete("/v1/fleet/pops/{pop}", _named(fleet.forget)),
        web.delete("/v1/fleet/drains/{pop}", _named(fleet.release)),
    ]


def _unavailable(error: AnycastdError) -> web.Response:
    return asked.refusal(refused(Code.STORE, 503, str(error)))


def _whole(fleet: Fleet) -> ask.Answer:
    async def show(request: web.Request) -> web.Response:
        try:
            seen, is_now = await fleet.read(), True
        except AnycastdError:
            seen, is_now = fleet.seen, False
        body = {
            "pop": fleet.config.pop.name,
            "store": views.store(fleet.config.store, fleet.facts()),
            "asked": is_now,
            "pops": views.pops(seen, fleet.clocks().wall_s),
        }
        return await ask.long_answer(body)

    return asked.understood(show)


def _pops(fleet: Fleet) -> ask.Answer:
    async def show(request: web.Request) -> web.Response:
        try:
            seen = await fleet.read()
        except AnycastdError as error:
            return _unavailable(error)
        return await ask.long_answer({"pops": views.pops(seen, fleet.clocks().wall_s)})

    return asked.understood(show)


def _snapshot(fleet: Fleet) -> ask.Answer:
    async def show(request: web.Request) -> web.Response:
        try:
            cluster, revision, items = await fleet.dump(here=asked.flag(request, "here"))
        except AnycastdError as error:
            return _unavailable(error)
        return await ask.long_answer({"cluster": cluster, "revision": revision, "items": dict(items)})

    return asked.understood(show, "here")


def wrong_items(items: Mapping[str, str]) -> Refused | None:
    """Return which keys are not EIPs or dials as the store has them."""
    found: list[Refusal] = []
    for key, text in items.items():
        try:
            if len(text) > MAX_TEXT:
                message = f"has {len(text)} characters, {MAX_TEXT} are allowed"
                raise ValueError(message)
            codec.check(key, text)
        except ValueError as error:
            found.append(Refusal(Code.VALUE, 422, str(error), f"items.{key[:64]}"))
    return Refused(tuple(found)) if found else None


def _restore(fleet: Fleet) -> ask.Answer:
    async def restore(request: web.Request) -> web.Response:
        body = bodies.body_of(FleetRestoreBody, await request.read())
        if isinstance(body, Refused):
            return asked.refusal(body)
        if body.here is bool(body.items):
            return asked.refusal(refused(Code.SHAPE, 400, "give items, or here: true, not both"))
        if wrong := wrong_items(body.items):
            return asked.refusal(wrong)
        dry_run = asked.flag(request, "dry_run")
        try:
            items = None if body.here else body.items
            done = await fleet.overwrite(items, last=body.last, dry_run=dry_run)
        except AnycastdError as error:
            return _unavailable(error)
        words = [f"{count} {what}" for count, what in zip(done, DONE, strict=True) if count]
        return ask.answer({"dry_run": dry_run, "changes": words})

    return asked.understood(restore, "dry_run")


def _accept(fleet: Fleet) -> ask.Answer:
    async def accept(request: web.Request) -> web.Response:
        held = fleet.accept()
        words = [f"what the store holds is applied, although {held.partition(';')[0]}"] if held else []
        return ask.answer({"dry_run": False, "changes": words})

    return asked.understood(accept)


def _named(act: Callable[[str], Awaitable[Refused | str]]) -> ask.Answer:
    async def done(request: web.Request) -> web.Response:
        try:
            said = await act(request.match_info["pop"])
        except AnycastdError as error:
            return _unavailable(error)
        if isinstance(said, Refused):
            return asked.refusal(said)
        return ask.answer({"dry_run": False, "changes": [said] if said else []})

    return asked.understood(done)
