"""What the OpenAPI document says of orders: drains and overrides."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from anycastd.api import schema
from anycastd.api import schema_orders as shapes
from anycastd.api.openapi_eips import content

ANSWERS: tuple[type[BaseModel], ...] = (shapes.OrderedShape,)
BODIES: tuple[type[BaseModel], ...] = (shapes.DrainBody, shapes.OverrideBody)

_WHEN = {
    400: "A parameter, header or body that is not understood; every mistake in `problems`.",
    403: "Who asks may not: a token's role, or a Host header that is not ours.",
    404: "Nothing is called so, or no order has the id.",
    409: "A rule refuses it: the guard, `announce_when`, a freeze; `force` with a reason passes the first two.",
    422: "Not possible, or an Idempotency-Key of another request.",
    503: "The file of orders cannot be read or written; nothing was changed.",
}
_DRY_RUN: dict[str, Any] = {
    "name": "dry_run",
    "in": "query",
    "required": False,
    "description": "Say what would change; change nothing.",
    "schema": {"type": "boolean"},
}
_FORCE: dict[str, Any] = {
    "name": "force",
    "in": "query",
    "required": False,
    "description": "Past the guard and `announce_when`; needs a reason, and the role `admin`.",
    "schema": {"type": "boolean"},
}
_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "For 24 h the same request with it gets the same answer.",
    "schema": {"type": "string"},
}
_ID: dict[str, Any] = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The id of a drain or override.",
    "schema": {"type": "string"},
}


def _change(summary: str, body: type[BaseModel] | None, *parameters: dict[str, Any]) -> dict[str, Any]:
    errors = {str(status): {"description": text, "content": content(schema.Error)} for status, text in _WHEN.items()}
    operation: dict[str, Any] = {
        "summary": f"{summary} Over TCP with a token.",
        "parameters": [*parameters, *([] if body is None else [_FORCE]), _DRY_RUN, _KEY],
        "responses": {"200": {"description": "Taken, and on disk.", "content": content(shapes.OrderedShape)}, **errors},
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": content(body)}
    return operation


def add_to(paths: dict[str, Any]) -> None:
    """Add the writes to the paths of the document, which has the reads already."""
    paths["/v1/drains"]["post"] = _change("Drain something, or renew its drain.", shapes.DrainBody)
    paths["/v1/drains/{id}"] = {"delete": _change("End a drain.", None, _ID)}
    paths["/v1/overrides"]["post"] = _change("Force a level or state by hand.", shapes.OverrideBody)
    paths["/v1/overrides/{id}"] = {"delete": _change("End an override.", None, _ID)}
