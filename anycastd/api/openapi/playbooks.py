"""What the OpenAPI document says of playbooks."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from anycastd.api.openapi.parts import content, errors
from anycastd.api.shapes import playbooks as shapes

ANSWERS: tuple[type[BaseModel], ...] = (shapes.PlaybooksShape, shapes.PlayDoneShape)
_WHEN = {
    400: "A query parameter that is not understood.",
    403: "The token or user may not do this.",
    404: "No playbook is called so, or it is not for that prefix.",
    409: "Announcements are frozen.",
    422: "`attack.spread.mode` is off.",
}


def _parameter(name: str, where: str, kind: str) -> dict[str, Any]:
    return {"name": name, "in": where, "required": where == "path", "schema": {"type": kind}}


def _operation(summary: str, model: type[BaseModel], *refused: int) -> dict[str, Any]:
    responses = {"200": {"description": "OK", "content": content(model)}, **errors(_WHEN, 400, *refused)}
    made: dict[str, Any] = {"summary": summary, "responses": responses}
    return made


def paths() -> dict[str, Any]:
    """Return the paths."""
    name, prefix = _parameter("name", "path", "string"), _parameter("prefix", "query", "string")
    run = _operation(
        "Take the next step of a playbook, or with `dry_run` say what each would do.", shapes.PlayDoneShape,
        403, 404, 409, 422,
    )  # fmt: skip
    run["parameters"] = [name, prefix, _parameter("dry_run", "query", "boolean")]
    stop = _operation("Undo the steps of a playbook in stages.", shapes.PlayDoneShape, 403, 404, 409)
    stop["parameters"] = [name, prefix]
    listing = _operation("Playbooks, what they do now, and this POP's standbys.", shapes.PlaybooksShape)
    return {"/v1/playbooks": {"get": listing}, "/v1/playbooks/{name}": {"post": run, "delete": stop}}
