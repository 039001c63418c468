"""The endpoints of one region: how it is, and its traffic dial. A change needs the role `operate`."""

from __future__ import annotations

import asyncio

from aiohttp import web

from anycastd.api.door import ask
from anycastd.api.endpoints import asked, bodies
from anycastd.api.ports import Daemon, DialRequest, Eips
from anycastd.api.shapes import eips as shapes
from anycastd.api.views import checks
from anycastd.api.views import eips as views
from anycastd.model.address import RegionName
from anycastd.resources.plan import region_unknown
from anycastd.resources.refusal import Refused

PATH = "/v1/regions/{region}"


def reads(daemon: Daemon) -> list[web.RouteDef]:
    """Return the route that shows a region."""
    return [web.get(PATH, asked.understood(_one(daemon)))]


def writes(eips: Eips) -> list[web.RouteDef]:
    """Return the route that sets a region's dial."""
    return [web.patch(PATH, asked.understood(_dial(eips), "dry_run"))]


def _one(daemon: Daemon) -> ask.Answer:
    async def show(request: web.Request) -> web.Response:
        status = await daemon.status_by_and_by()
        await asyncio.sleep(0)
        name = RegionName(request.match_info["region"])
        view = status.health.regions.get(name)
        if view is None:
            return asked.refusal(region_unknown(name, status.config))
        return asked.tagged(ask.answer(checks.region(status, view)), status.dial_generations.get(name, 0))

    return show


def _dial(eips: Eips) -> ask.Answer:
    async def dial(request: web.Request) -> web.Response:
        text = await request.read()
        body = bodies.body_of(shapes.DialBody, text)
        if isinstance(body, Refused):
            return asked.refusal(body)
        wanted = DialRequest(
            command=bodies.dial(request.match_info["region"], body),
            expected=asked.expected_generation(request),
            key=asked.idempotency_key(request),
            digest=asked.digest_of(request, text),
            dry_run=asked.flag(request, "dry_run"),
        )
        outcome = await eips.dial(wanted)
        if isinstance(outcome, Refused):
            return asked.refusal(outcome)
        answer = asked.told_again(ask.answer(views.dial(outcome, dry_run=wanted.dry_run)), outcome.replayed)
        return asked.tagged(answer, outcome.generation)

    return dial
