"""What the OpenAPI document says of blackholes and flow rules."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from anycastd.api.openapi.parts import content, errors, ordered, parameter
from anycastd.api.shapes import filters as shapes

ANSWERS: tuple[type[BaseModel], ...] = (
    shapes.BlackholeList,
    shapes.FlowList,
    shapes.ProposalList,
    shapes.FilteredShape,
)
BODIES: tuple[type[BaseModel], ...] = (shapes.BlackholeBody, shapes.FlowBody)

_WHEN = {
    400: "A parameter, header or body that is not understood; every mistake in `problems`.",
    403: "Who asks may not: a token's role, or a Host header that is not ours.",
    404: "No neighbor is called so, or nothing has the id.",
    409: "A rule refuses it: too many stand, too wide, a neighbor that takes none, a freeze.",
    422: "Not possible: outside of the prefixes, too long, no reason; or an Idempotency-Key of another request.",
    503: "The file that holds them cannot be read or written; nothing was changed.",
}
_ID = parameter("id", "path", "The id of a blackhole or flow rule.")
_EIP = parameter("eip", "query", "An EIP's address.", required=True)


def _list(summary: str, model: type[BaseModel]) -> dict[str, Any]:
    responses = {"200": {"description": "OK", "content": content(model)}, **errors(_WHEN, 400, 403)}
    return {"summary": summary, "responses": responses}


def _change(summary: str, body: type[BaseModel] | None, *parameters: dict[str, Any]) -> dict[str, Any]:
    return ordered(summary, body, shapes.FilteredShape, _WHEN, *parameters)


def paths() -> dict[str, Any]:
    """Return the paths."""
    return {
        "/v1/blackholes": {
            "get": _list("Every blackhole: to whom it is sent, and what it dropped here.", shapes.BlackholeList),
            "post": _change("Blackhole an address, or renew its blackhole.", shapes.BlackholeBody),
        },
        "/v1/blackholes/{id}": {"delete": _change("End a blackhole.", None, _ID)},
        "/v1/flowspec": {
            "get": _list("Every flow rule: to whom it is sent, and what it dropped here.", shapes.FlowList),
            "post": _change("Drop or limit packets, or renew the rule for them.", shapes.FlowBody),
        },
        "/v1/flowspec/proposals": {
            "get": _list("The flow rules that fit the attack on an EIP.", shapes.ProposalList) | {"parameters": [_EIP]}
        },
        "/v1/flowspec/{id}": {"delete": _change("End a flow rule.", None, _ID)},
    }
