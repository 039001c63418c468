"""The OpenAPI 3.1 document, generated from the endpoints and the shapes of their answers."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from anycastd.api.endpoints.state import READY, VIEWS
from anycastd.api.openapi import eips as openapi_eips
from anycastd.api.openapi import filters as openapi_filters
from anycastd.api.openapi import journal as openapi_journal
from anycastd.api.openapi import orders as openapi_orders
from anycastd.api.openapi import playbooks as openapi_playbooks
from anycastd.api.openapi.parts import REF, content
from anycastd.api.shapes import answers as schema
from anycastd.api.shapes import attack as schema_attack
from anycastd.api.shapes import orders as schema_orders
from anycastd.api.shapes import safety as schema_safety

SHAPES: Mapping[str, type[BaseModel]] = {
    "/v1/status": schema.Overview,
    "/v1/prefixes": schema.Prefixes,
    "/v1/tunnels": schema.Tunnels,
    "/v1/backends": schema.Backends,
    "/v1/regions": schema.Regions,
    "/v1/neighbors": schema.Neighbors,
    "/v1/attacks": schema_attack.Attacks,
    "/v1/drains": schema_orders.DrainList,
    "/v1/overrides": schema_orders.OverrideList,
    "/v1/freeze": schema_orders.FreezeShape,
    "/v1/checks": schema.Checks,
    "/readyz": schema.Readiness,
}
"""What the endpoints that show the state answer, by their path."""
_MODELS: tuple[type[BaseModel], ...] = (
    *SHAPES.values(),
    schema.Alive,
    schema.Explanation,
    schema.Reloaded,
    schema_safety.BreakerReset,
    schema.Error,
    *openapi_eips.ANSWERS,
    *openapi_journal.ANSWERS,
    *openapi_orders.ANSWERS,
    *openapi_playbooks.ANSWERS,
    *openapi_filters.ANSWERS,
)


def _get(
    summary: str,
    model: type[BaseModel],
    *,
    parameters: list[dict[str, Any]] | None = None,
    errors: tuple[int, ...] = (),
) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": {"description": "OK", "content": content(model)}}
    for status in (400, 401, 403, *errors):
        responses[str(status)] = {"description": _WHEN[status], "content": content(schema.Error)}
    operation: dict[str, Any] = {"summary": summary, "responses": responses}
    if parameters:
        operation["parameters"] = parameters
    return {"get": operation}


_WHEN = {
    400: "A query parameter or prefix that is not understood.",
    401: "A token is needed, or the one shown is unknown.",
    403: "The token or user may not do this, or the Host header is not ours.",
    404: "No such prefix is configured.",
    409: "The new configuration is refused; the old one stays in force.",
}


def _parameter(name: str, where: str, kind: str, text: str, *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": where, "required": required, "description": text, "schema": {"type": kind}}


def _reload() -> dict[str, Any]:
    refused = {str(s): {"description": _WHEN[s], "content": content(schema.Error)} for s in (400, 401, 409)}
    only = "The token or user may not do this, or there is no token and it came over TCP."
    return {
        "post": {
            "summary": "Read the configuration again and apply the difference, or refuse it whole. Role admin.",
            "parameters": [
                _parameter("dry_run", "query", "boolean", "Say what would change; change nothing."),
                _parameter("expect_removals", "query", "integer", "How many things go, or EIPs stop, in all."),
                _parameter("bake_s", "query", "integer", "On trial for so many seconds: taken back if it harms."),
                _parameter("confirm", "query", "boolean", "Read nothing: keep the file that is on trial."),
            ],
            "responses": {
                "200": {"description": "OK", "content": content(schema.Reloaded)},
                **refused,
                "403": {"description": only, "content": content(schema.Error)},
            },
        }
    }


def _reset() -> dict[str, Any]:
    refused = {str(s): {"description": _WHEN[s], "content": content(schema.Error)} for s in (400, 401, 403)}
    return {
        "post": {
            "summary": "Let the circuit breaker pass as many withdrawals again as may. Role admin.",
            "responses": {"200": {"description": "OK", "content": content(schema_safety.BreakerReset)}, **refused},
        }
    }


def _ready() -> dict[str, Any]:
    item = _get(READY.summary, SHAPES[READY.path])
    item["get"]["responses"]["503"] = {"description": "Not ready.", "content": content(SHAPES[READY.path])}
    return item


def document(version: str) -> dict[str, Any]:
    """Return the document."""
    # here: a POP alone, of which nobody asks the document, has no use for these shapes
    fleet = import_module("anycastd.api.openapi.fleet")
    answered = [(model, "serialization") for model in (*_MODELS, *fleet.ANSWERS)]
    bodies = (*openapi_eips.BODIES, *openapi_orders.BODIES, *openapi_filters.BODIES, *fleet.BODIES)
    asked = [(model, "validation") for model in bodies]
    _, shapes = models_json_schema([*answered, *asked], ref_template=REF)  # type: ignore[list-item]
    cidr = _parameter("cidr", "path", "string", "A prefix, its slash plain or as %2F.", required=True)
    holds = _parameter("prefix", "query", "string", "A prefix, or an address inside one.", required=True)
    text = {"description": "OK", "content": {"text/plain": {"schema": {"type": "string"}}}}
    paths: dict[str, Any] = {view.path: _get(view.summary, SHAPES[view.path]) for view in VIEWS}
    paths |= openapi_eips.paths()
    paths |= openapi_journal.paths()
    paths |= openapi_filters.paths()
    paths |= fleet.paths()
    openapi_orders.add_to(paths)
    paths |= openapi_playbooks.paths()
    paths |= {
        "/healthz": _get("Whether the process runs.", schema.Alive),
        "/readyz": _ready(),
        "/metrics": {"get": {"summary": "Prometheus metrics (docs/metrics.md).", "responses": {"200": text}}},
        "/v1/prefixes/{cidr}": _get("One prefix.", schema.Prefix, parameters=[cidr], errors=(404,)),
        "/v1/explain": _get("Why a prefix is as it is.", schema.Explanation, parameters=[holds], errors=(404,)),
        "/v1/reload": _reload(),
        "/v1/breaker/reset": _reset(),
        "/v1/openapi.json": {
            "get": {
                "summary": "This document.",
                "responses": {
                    "200": {"description": "OK", "content": {"application/json": {"schema": {"type": "object"}}}}
                },
            }
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "anycastd",
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": dict(sorted(paths.items())),
        # {}: a read over loopback and whatever comes by the unix socket needs none
        "security": [{}, {"token": []}],
        "components": {
            "schemas": dict(sorted(shapes["$defs"].items())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
