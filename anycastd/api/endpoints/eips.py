"""The endpoints of EIPs, tasks and quotas. Changes need the role `operate`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel

from anycastd.api.door import ask
from anycastd.api.endpoints import asked, bodies
from anycastd.api.endpoints.listing import FILTERS, page_of, wanted_of
from anycastd.api.ports import Done, Eips, Request, Shown, Traffic
from anycastd.api.shapes import eips as shapes
from anycastd.api.views import eips as views
from anycastd.model.eip import Task, TaskId, TaskState
from anycastd.resources.commands import Disassociate, EipCommand, Release, Restore
from anycastd.resources.refusal import Code, Refused, refused

B = TypeVar("B", bound=BaseModel)
CHANGE_PARAMETERS = ("dry_run", "wait")
TASK_FILTERS = ("state", "eip", "limit")


def reads(eips: Eips, traffic: Traffic | None) -> list[web.RouteDef]:
    """Return the routes that change nothing."""
    routes = [
        web.get("/v1/eips", asked.understood(_list(eips), *FILTERS)),
        web.get("/v1/eips/{eip}", asked.understood(_one(eips))),
        web.get("/v1/tasks", asked.understood(_tasks(eips), *TASK_FILTERS)),
        web.get("/v1/tasks/{task}", asked.understood(_task(eips))),
        web.get("/v1/quotas", asked.understood(_quotas(eips))),
    ]
    if traffic is not None:
        routes.append(web.get("/v1/eips/{eip}/traffic", asked.understood(_traffic(eips, traffic), "span")))
        routes.append(web.get("/v1/traffic", asked.understood(_overview(traffic))))
    return routes


def writes(eips: Eips) -> list[web.RouteDef]:
    """Return the routes that change something."""
    return [
        web.post("/v1/eips", _change(eips, shapes.AllocateBody, _allocate)),
        web.patch("/v1/eips/{eip}", _change(eips, shapes.ModifyBody, lambda r, body: bodies.modify(_name(r), body))),
        web.delete("/v1/eips/{eip}", _change(eips, None, lambda r, _: Release(_name(r)))),
        web.post("/v1/eips/{eip}/restore", _change(eips, None, lambda r, _: Restore(_name(r)))),
        web.put("/v1/eips/{eip}/association", _change(eips, shapes.AssociationShape, _association, "replace")),
        web.delete("/v1/eips/{eip}/association", _change(eips, None, lambda r, _: Disassociate(_name(r)))),
    ]


def _name(request: web.Request) -> str:
    return request.match_info["eip"]


def _allocate(request: web.Request, body: shapes.AllocateBody) -> EipCommand:
    if "If-Match" in request.headers:
        message = "If-Match: an EIP that is not there yet has no generation"
        raise asked.BadRequestError(message)
    return bodies.allocate(body)


def _association(request: web.Request, body: shapes.AssociationShape) -> EipCommand:
    return bodies.associate(_name(request), body, replace=asked.flag(request, "replace"))


def _shown(eips: Eips, shown: Shown) -> dict[str, Any]:
    return views.eip(shown, eips.clocks(), eips.config.eip.keep_released_s)


def _tagged(response: web.Response, shown: Shown) -> web.Response:
    return asked.tagged(response, shown.view.eip.generation)


def _unknown_eip(name: str) -> web.Response:
    return asked.refusal(refused(Code.EIP_NOT_FOUND, 404, f"no EIP has the id or address {name[:64]!r}"))


def _list(eips: Eips) -> ask.Answer:
    async def show(request: web.Request) -> web.Response:
        page, token = await page_of(eips, wanted_of(request, eips))
        clocks, keep_s = eips.clocks(), eips.config.eip.keep_released_s
        made = partial(map, partial(views.eip, clocks=clocks, keep_released_s=keep_s), page)
        return await ask.made_answer(lambda: {"eips": list(made()), "next_token": token})

    return show


def _one(eips: Eips) -> ask.Answer:
    async def show(request: web.Request) -> web.Response:
        shown = eips.show(_name(request))
        return _unknown_eip(_name(request)) if shown is None else _tagged(ask.answer(_shown(eips, shown)), shown)

    return show


def _overview(traffic: Traffic) -> ask.Answer:
    async def show(request: web.Request) -> web.Response:
        return ask.answer(traffic.overview())

    return show


def _traffic(eips: Eips, traffic: Traffic) -> ask.Answer:
    async def show(request: web.Request) -> web.Response:
        shown = eips.show(_name(request))
        if shown is None:
            return _unknown_eip(_name(request))
        try:
            return await ask.long_answer(await traffic.asked(shown, request.query))
        except ValueError as error:
            return ask.error(400, "bad_parameter", str(error))

    return show


def _tasks(eips: Eips) -> ask.Answer:
    async def show(request: web.Request) -> web.Response:
        state = asked.parameter(request, "state", asked.word(TaskState))
        limit = asked.parameter(request, "limit", asked.count(1, 1000)) or 100
        name = request.query.get("eip")
        shown = None if name is None else eips.show(name)
        id_ = name if shown is None else shown.view.eip.id
        fitting = (
            t for t in eips.tasks() if state in (None, t.state) and (id_ is None or id_ in (t.eip, str(t.address)))
        )
        return await ask.long_answer(
            {"tasks": [views.task(one) for one, _ in zip(fitting, range(limit), strict=False)]}
        )

    return show


def _task(eips: Eips) -> ask.Answer:
    async def show(request: web.Request) -> web.Response:
        name = request.match_info["task"]
        found = eips.task(TaskId(name))
        if found is None:
            return asked.refusal(refused(Code.TASK_NOT_FOUND, 404, f"no task has the id {name[:64]!r}"))
        return ask.answer(views.task(found))

    return show


def _quotas(eips: Eips) -> ask.Answer:
    async def show(request: web.Request) -> web.Response:
        return ask.answer(views.quotas(eips.quotas()))

    return show


def _change(
    eips: Eips, model: type[B] | None, command_of: Callable[[web.Request, Any], EipCommand], *parameters: str
) -> ask.Answer:
    async def change(request: web.Request) -> web.Response:
        wait_s, text = asked.wait_s(request), await request.read()
        body = None if model is None else bodies.body_of(model, text)
        if isinstance(body, Refused):
            return asked.refusal(body)
        if model is None and text:
            return ask.error(400, "bad_parameter", "no body is wanted here")
        wanted = Request(
            command=command_of(request, body),
            expected=asked.expected_generation(request),
            key=asked.idempotency_key(request),
            digest=asked.digest_of(request, text),
            dry_run=asked.flag(request, "dry_run"),
        )
        outcome = await eips.change(wanted)
        if isinstance(outcome, Refused):
            return asked.refusal(outcome)
        return await _accepted(eips, outcome, wait_s, dry_run=wanted.dry_run)

    return asked.understood(change, *CHANGE_PARAMETERS, *parameters)


async def _accepted(eips: Eips, done: Done, wait_s: float | None, *, dry_run: bool) -> web.Response:
    """Answer 202 with a task that runs, 200 when there is nothing (more) to wait for."""
    task, shown = done.task, done.shown
    status = 200 if task is None else 202
    if task is not None and wait_s is not None:
        later = await eips.finished(task.id, wait_s)
        if later is not None and later.state is not TaskState.RUNNING:
            status, task = 200, later
            shown = eips.show(str(shown.view.eip.address)) or shown
    response = ask.answer(_changed(eips, done, task, shown, dry_run), status)
    if task is not None:
        response.headers["Location"] = f"/v1/tasks/{task.id}"
    return _tagged(asked.told_again(response, done.replayed), shown)


def _changed(eips: Eips, done: Done, task: Task | None, shown: Shown, dry_run: bool) -> dict[str, Any]:
    return {
        "task": None if task is None else views.task(task),
        "eip": _shown(eips, shown),
        "dry_run": dry_run,
        "changes": list(done.changes),
    }
