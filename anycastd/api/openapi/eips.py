"""What the OpenAPI document says of EIPs, tasks, quotas and dials."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from anycastd.api.endpoints.listing import DEFAULT_LIMIT, FILTERS, MAX_LIMIT
from anycastd.api.openapi.parts import DRY_RUN, FLAG, KEY, content, errors, parameter
from anycastd.api.shapes import answers, traffic
from anycastd.api.shapes import eips as shapes
from anycastd.model.eip import EipStatus, TaskState

ANSWERS: tuple[type[BaseModel], ...] = (
    shapes.EipShape,
    shapes.EipList,
    shapes.TaskShape,
    shapes.TaskList,
    shapes.Changed,
    shapes.Quotas,
    shapes.DialedShape,
    traffic.EipTrafficShape,
    traffic.TrafficShape,
)
BODIES: tuple[type[BaseModel], ...] = (shapes.AllocateBody, shapes.ModifyBody, shapes.DialBody)
"""`AssociationShape` is asked for in the shape in which it is answered."""

_WHEN = {
    400: "A parameter, header or body that is not understood; every mistake in `problems`.",
    401: "A token is needed, or the one shown is unknown.",
    403: "The token or user may not do this, or the Host header is not ours.",
    404: "There is no such EIP, task or region.",
    409: "A rule refuses it: the status of the EIP, its quota, the file, another writer.",
    412: "The EIP or dial is not at the generation that If-Match names.",
    422: "Not possible under this configuration, or an Idempotency-Key of another request.",
    503: "The store cannot be read or written; nothing was changed.",
}
_FILTER_TEXT = {
    "status": "Only EIPs with this status.",
    "prefix": "Only EIPs inside this prefix.",
    "region": "Only EIPs bound to a backend of this region.",
    "backend": "Only EIPs bound to this backend.",
    "address": "Only the EIP with this address.",
    "limit": f"How many at most; {DEFAULT_LIMIT} if it is not given.",
    "next_token": "From the page before.",
}
_FILTER_SCHEMA: dict[str, Any] = {
    "status": {"enum": [status.value for status in EipStatus]},
    "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
}


_REGION = parameter("region", "path", "The name of a region.")
_EIP = parameter("eip", "path", "The id or the address of an EIP.")
_WAIT = parameter("wait", "query", "How long to wait for the task (`5s`, 60s at most): 200 when it has ended.")
_REPLACE = parameter("replace", "query", "Also of an EIP that is bound: make before break.", FLAG)
_MATCH = parameter("If-Match", "header", 'The generation to change, in quotes, as ETag gives it: `"3"`.')


def _read(summary: str, model: type[BaseModel], *parameters: dict[str, Any], missing: bool = False) -> dict[str, Any]:
    responses = {"200": {"description": "OK", "content": content(model)}}
    return {
        "summary": summary,
        "parameters": list(parameters),
        "responses": responses | errors(_WHEN, 400, 401, 403, *([404] if missing else [])),
    }


def _change(summary: str, body: type[BaseModel] | None, *parameters: dict[str, Any]) -> dict[str, Any]:
    done = {
        "200": {"description": "Done, or nothing to do.", "content": content(shapes.Changed)},
        "202": {"description": "Stored; the task tells when the kernel has it.", "content": content(shapes.Changed)},
    }
    operation: dict[str, Any] = {
        "summary": f"{summary} Role operate.",
        "parameters": [*parameters, DRY_RUN, _WAIT, KEY],
        "responses": done | errors(_WHEN, 400, 401, 403, 404, 409, 412, 422, 503),
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": content(body)}
    return operation


def _tasks() -> dict[str, Any]:
    return _read(
        "Changes of EIPs, newest first; ended ones are kept for 24 h, 20,000 at most.",
        shapes.TaskList,
        parameter("state", "query", "Only tasks in this state.", {"enum": [state.value for state in TaskState]}),
        parameter("eip", "query", "Only tasks of this EIP (id or address)."),
        parameter("limit", "query", "How many at most.", _FILTER_SCHEMA["limit"]),
    )


def _dial() -> dict[str, Any]:
    return {
        "summary": "Set how much of a region's traffic may go there; null = as the file says. Role operate.",
        "parameters": [_REGION, _MATCH, DRY_RUN, KEY],
        "requestBody": {"required": True, "content": content(shapes.DialBody)},
        "responses": {"200": {"description": "OK", "content": content(shapes.DialedShape)}}
        | errors(_WHEN, 400, 401, 403, 404, 409, 412, 422, 503),
    }


def paths() -> dict[str, Any]:
    """Return the paths of these endpoints."""
    filters = [parameter(name, "query", _FILTER_TEXT[name], _FILTER_SCHEMA.get(name)) for name in FILTERS]
    task = parameter("task", "path", "The id of a task.")
    return {
        "/v1/eips": {
            "get": _read("EIPs in the order of their addresses.", shapes.EipList, *filters),
            "post": _change("Allocate an EIP.", shapes.AllocateBody),
        },
        "/v1/eips/{eip}": {
            "get": _read("One EIP; ETag is its generation.", shapes.EipShape, _EIP, missing=True),
            "patch": _change("Change limits, ping, tracking, description, blocked.", shapes.ModifyBody, _EIP, _MATCH),
            "delete": _change("Release an unbound EIP; it can be restored for a time.", None, _EIP, _MATCH),
        },
        "/v1/eips/{eip}/restore": {"post": _change("Take a released EIP back.", None, _EIP, _MATCH)},
        "/v1/eips/{eip}/association": {
            "put": _change("Bind an EIP to backends.", shapes.AssociationShape, _EIP, _MATCH, _REPLACE),
            "delete": _change("Unbind an EIP.", None, _EIP, _MATCH),
        },
        "/v1/tasks": {"get": _tasks()},
        "/v1/tasks/{task}": {"get": _read("One task.", shapes.TaskShape, task, missing=True)},
        "/v1/eips/{eip}/traffic": {
            "get": _read(
                "Traffic of one EIP: rates, totals, 95th percentile, and the curve.",
                traffic.EipTrafficShape,
                _EIP,
                parameter("span", "query", "How far back the curve goes: `90s`, `30m`, `1h` (the default), `7d`."),
                missing=True,
            )
        },
        "/v1/traffic": {"get": _read("The POP's traffic, and its busiest EIPs.", traffic.TrafficShape)},
        "/v1/quotas": {"get": _read("What is limited, and how much of it is used.", shapes.Quotas)},
        "/v1/regions/{region}": {
            "get": _read("One region; ETag is the generation of its dial.", answers.Region, _REGION, missing=True),
            "patch": _dial(),
        },
    }
