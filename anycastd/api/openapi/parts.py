"""What several sections of the OpenAPI document are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from anycastd.api.shapes import answers as schema

REF = "#/components/schemas/{model}"
FLAG: dict[str, Any] = {"type": "boolean"}


def content(model: type[BaseModel]) -> dict[str, Any]:
    """Return a JSON body of a shape."""
    return {"application/json": {"schema": {"$ref": REF.format(model=model.__name__)}}}


def parameter(
    name: str, where: str, text: str, shape: dict[str, Any] | None = None, *, required: bool = False
) -> dict[str, Any]:
    """Return a parameter; one of the path is always required. Without a `shape` it is a string."""
    needed = required or where == "path"
    return {"name": name, "in": where, "required": needed, "description": text, "schema": shape or {"type": "string"}}


DRY_RUN = parameter("dry_run", "query", "Say what would change; change nothing.", FLAG)
KEY = parameter("Idempotency-Key", "header", "For 24 h the same request with it gets the same answer.")


def errors(when: Mapping[int, str], *statuses: int) -> dict[str, Any]:
    """Return the responses to what is refused: of all that `when` explains, or of these statuses."""
    return {str(one): {"description": when[one], "content": content(schema.Error)} for one in statuses or when}


def ordered(
    summary: str,
    body: type[BaseModel] | None,
    answer: type[BaseModel],
    when: Mapping[int, str],
    *parameters: dict[str, Any],
) -> dict[str, Any]:
    """Return an operation that orders something: it may be tried, and repeated without being done twice."""
    taken = {"description": "Taken, and on disk.", "content": content(answer)}
    operation: dict[str, Any] = {
        "summary": f"{summary} Over TCP with a token.",
        "parameters": [*parameters, DRY_RUN, KEY],
        "responses": {"200": taken, **errors(when)},
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": content(body)}
    return operation
