"""The part of the OpenAPI document that is about the journal."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from anycastd.api.openapi.parts import content, errors, parameter
from anycastd.api.shapes import journal as shapes
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


_NUMBER = {"type": "integer", "minimum": 0}
_SINCE = parameter("since", "query", "Only what is newer: `2h` (so long ago) or an ISO 8601 time.")
_LIMIT = parameter(
    "limit", "query", "Entries of a page; default 100.", {"type": "integer", "minimum": 1, "maximum": 1000}
)
_TOKEN = parameter("next_token", "query", "Of the page before; what came meanwhile does not move the pages.")
_TYPES = parameter(
    "types", "query", f"Only these, with commas between them: {', '.join(kind.value for kind in EntryKind)}."
)


def _get(summary: str, answer: dict[str, Any], parameters: list[dict[str, Any]], *refused: int) -> dict[str, Any]:
    responses = {"200": {"description": "OK", "content": answer}, **errors(_WHEN, 400, 403, *refused)}
    return {"get": {"summary": summary, "parameters": parameters, "responses": responses}}


def paths() -> dict[str, Any]:
    """Return the paths."""
    reason = parameter("reason", "query", "Only with this reason or hold.", {"enum": [one.value for one in Reason]})
    prefix = parameter("prefix", "query", "Only of this prefix.")
    stream = {"text/event-stream": {"schema": {"type": "string"}}}
    resume = parameter("Last-Event-ID", "header", "As `after`; a browser sends it when it connects again.", _NUMBER)
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
            [parameter("number", "path", "The number of its entry.", _NUMBER)],
            404,
            503,
        ),
        "/v1/journal": _get(
            "Entries of every kind, the newest first.",
            content(shapes.JournalEntries),
            [
                _TYPES,
                parameter("subject", "query", "Only of this prefix, check, tunnel, neighbor ..."),
                parameter("reason", "query", "Only with this reason or hold."),
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
            [_TYPES, parameter("after", "query", "First what came after this number.", _NUMBER), resume],
            503,
        ),
    }
