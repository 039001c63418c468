"""What the OpenAPI document says of the fleet. Imported when somebody asks for the document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from anycastd.api.openapi.parts import content, errors
from anycastd.api.shapes import fleet as shapes

ANSWERS: tuple[type[BaseModel], ...] = (
    shapes.FleetShape, shapes.FleetPopsShape, shapes.FleetSnapshotShape, shapes.FleetChangedShape,
)  # fmt: skip
BODIES: tuple[type[BaseModel], ...] = (shapes.FleetRestoreBody,)
_WHEN = {
    403: "The token or user may not do this.",
    409: "This POP has no fleet (`store.kind` is embedded), or the POP to be forgotten is present.",
    422: "A key is not an EIP or dial as the store has it.",
    503: "The fleet's store cannot be asked now; the message says why.",
}


def _operation(summary: str, model: type[BaseModel], *refused: int, flags: tuple[str, ...] = ()) -> dict[str, Any]:
    responses = {"200": {"description": "OK", "content": content(model)}, **errors(_WHEN, 409, *refused)}
    made: dict[str, Any] = {"summary": summary, "responses": responses}
    if flags:
        made["parameters"] = [{"name": flag, "in": "query", "schema": {"type": "boolean"}} for flag in flags]
    return made


def _of_pop(summary: str) -> dict[str, Any]:
    made = _operation(summary, shapes.FleetChangedShape, 403, 503)
    made["parameters"] = [{"name": "pop", "in": "path", "required": True, "schema": {"type": "string"}}]
    return made


def paths() -> dict[str, Any]:
    """Return the paths."""
    changed, snapshot = shapes.FleetChangedShape, shapes.FleetSnapshotShape
    restore = _operation(
        "Have EIPs and dials in the store as given, or as this POP applied them; nothing else is removed. Role admin.",
        changed, 403, 422, 503, flags=("dry_run",),
    )  # fmt: skip
    restore["requestBody"] = {"required": True, "content": content(shapes.FleetRestoreBody)}
    return {
        "/v1/fleet": {"get": _operation("The fleet's store, and every POP.", shapes.FleetShape)},
        "/v1/fleet/pops": {"get": _operation("Every POP of the fleet as it says it is.", shapes.FleetPopsShape, 503)},
        "/v1/fleet/snapshot": {
            "get": _operation("Every EIP and dial of the store, or `here`: as applied.", snapshot, 503, flags=("here",))
        },
        "/v1/fleet/restore": {"post": restore},
        "/v1/fleet/accept": {
            "post": _operation("Apply what the store holds although it looks lost. Role admin.", changed, 403)
        },
        "/v1/fleet/pops/{pop}": {"delete": _of_pop("Forget a POP that is gone for good.")},
        "/v1/fleet/drains/{pop}": {"delete": _of_pop("Count a POP as drained no longer.")},
    }
