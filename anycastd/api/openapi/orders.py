"""What the OpenAPI document says of orders: drains and overrides."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from anycastd.api.openapi.parts import FLAG, ordered, parameter
from anycastd.api.shapes import orders as shapes

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
_FORCE = parameter("force", "query", "Past the guard and `announce_when`; needs a reason, and the role `admin`.", FLAG)
_ID = parameter("id", "path", "The id of a drain or override.")


def _change(summary: str, body: type[BaseModel] | None, *parameters: dict[str, Any]) -> dict[str, Any]:
    force = () if body is None else (_FORCE,)
    return ordered(summary, body, shapes.OrderedShape, _WHEN, *parameters, *force)


def add_to(paths: dict[str, Any]) -> None:
    """Add the writes to the paths of the document, which has the reads already."""
    paths["/v1/drains"]["post"] = _change("Drain something, or renew its drain.", shapes.DrainBody)
    paths["/v1/drains/{id}"] = {"delete": _change("End a drain.", None, _ID)}
    paths["/v1/overrides"]["post"] = _change("Force a level or state by hand.", shapes.OverrideBody)
    paths["/v1/overrides/{id}"] = {"delete": _change("End an override.", None, _ID)}
