"""The shapes of the answers about the journal, for the OpenAPI document. The tests hold every view to them."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from anycastd.api.shapes.shape import LevelName, Shape
from anycastd.model.decision import Reason
from anycastd.model.journal import EntryKind, LostWhy


class JournalEntry(Shape):
    """One entry; the data of an event. `number` is null while the journal's file could not be opened yet."""

    number: int | None
    at: str = Field(json_schema_extra={"format": "date-time"})
    kind: EntryKind
    subject: str
    before: str
    after: str
    reason: str
    hold: str | None
    detail: str


class JournalEntries(Shape):
    """Entries, the newest first; `next_token` is of the page with older ones."""

    entries: list[JournalEntry]
    next_token: str | None


class JournalDecision(Shape):
    """One decision; `before` null: the first of this daemon."""

    number: int
    at: str = Field(json_schema_extra={"format": "date-time"})
    prefix: str
    before: LevelName | None
    level: LevelName
    reason: Reason
    hold: Reason | None
    detail: str


class JournalDecisions(Shape):
    """Decisions, the newest first; `next_token` is of the page with older ones."""

    decisions: list[JournalDecision]
    next_token: str | None


class WholeDecision(JournalDecision):
    """A decision with all that made it: `anycastd decisions export` writes the same as a test case."""

    format: int
    facts: dict[str, Any]
    memory: dict[str, Any]
    decision: dict[str, Any]


class EventGap(Shape):
    """The data of an event `gap` without an id: what one reader does not get. What is not known is null."""

    lost: int | None
    first: int | None
    last: int | None
    reason: LostWhy
    detail: str
