"""The part of the OpenAPI document that is about the journal."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from anycastd.api import schema
from anycastd.api import schema_journal as shapes
from anycastd.api.openapi_parts import content
from anycastd.model.decision import Reason
from anycastd.model.journal import EntryKind

ANSWERS: tuple[type[BaseModel], ...] = (
    shapes.JournalDecisions,
    shapes.WholeDecision,
    shapes.JournalEntries,
    shapes.JournalEntry,
    shapes.EventGap,
)
_WHEN = {
    400: "A query parameter that is not understood.",
    403: "Over TCP: a Host header that is not ours.",
    404: "The journal has no decision with this number.",
    503: "The journal cannot be read now, or there are as many readers of events as there may be.",
}


def _parameter(name: str, shape: dict[str, Any], text: str, where: str = "query") -> dict[str, Any]:
    return {"name": name, "in": where, "required": where == "path", "description": text, "schema": shape}


_TEXT, _NUMBER = {"type": "string"}, {"type": "integer", "minimum": 0}
_SINCE = _parameter("since", _TEXT, "Only what is newer: `2h` (so long ago) or an ISO 8601 time.")
_LIMIT = _parameter("limit", {"type": "integer", "minimum": 1, "maximum": 1000}, "Entries of a page; default 100.")
_TOKEN = _parameter("next_token", _TEXT, "Of the page before; what came meanwhile does not move the pages.")
_TYPES = _parameter(
    "types", _TEXT, f"Only these, with commas between them: {', '.join(kind.value for kind in EntryKind)}."
)


def _get(summary: str, answer: dict[str, Any], parameters: list[dict[str, Any]], *errors: int) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": {"description": "OK", "content": answer}}
    for status in (400, 403, *errors):
        responses[str(status)] = {"description": _WHEN[status], "content": content(schema.Error)}
    return {"get": {"summary": summary, "parameters": parameters, "responses": responses}}


def paths() -> dict[str, Any]:
    """Return the paths."""
    reason = _parameter("reason", {"enum": [one.value for one in Reason]}, "Only with this reason or hold.")
    prefix = _parameter("prefix", _TEXT, "Only of this prefix.")
    stream = {"text/event-stream": {"schema": {"type": "string"}}}
    resume = _parameter("Last-Event-ID", _NUMBER, "As `after`; a browser sends it when it connects again.", "header")
    return {
        "/v1/decisions": _get(
            "Decisions, the newest first.",
            content(shapes.JournalDecisions),
            [prefix, reason, _SINCE, _LIMIT, _TOKEN],
            503,
        ),
        "/v1/decisions/{number}": _get(
            "A decision with the facts, the memory and the rules that made it.",
            content(shapes.WholeDecision),
            [_parameter("number", _NUMBER, "The number of its entry.", "path")],
            404,
            503,
        ),
        "/v1/journal": _get(
            "Entries of every kind, the newest first.",
            content(shapes.JournalEntries),
            [
                _TYPES,
                _parameter("subject", _TEXT, "Only of this prefix, check, tunnel, neighbor ..."),
                _parameter("reason", _TEXT, "Only with this reason or hold."),
                _SINCE,
                _LIMIT,
                _TOKEN,
            ],
            503,
        ),
        "/v1/events": _get(
            "Entries as they happen, as server-sent events: `event` the kind, `id` the number, `data` a JournalEntry; "
            "an event `gap` without an id says what this reader does not get (EventGap).",
            stream,
            [_TYPES, _parameter("after", _NUMBER, "First what came after this number."), resume],
            503,
        ),
    }
