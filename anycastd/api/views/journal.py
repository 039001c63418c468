"""Entries of the journal as the API and the command line show them. Pure: from the file alone, also with no daemon."""

from __future__ import annotations

import json
from typing import Any

from anycastd.api.views.moments import Json, iso_unix
from anycastd.model.journal import Entry, EntryKind, Page


def entry(one: Entry) -> Json:
    """Return any entry; `number` is null while the file that gives it is not open."""
    return {
        "number": one.number or None,
        "at": iso_unix(one.unix_s),
        "kind": one.kind.value,
        "subject": one.subject,
        "before": one.before,
        "after": one.after,
        "reason": one.reason,
        "hold": one.hold or None,
        "detail": one.detail,
    }


def decision(one: Entry) -> Json:
    """Return a decision without what made it."""
    return {
        "number": one.number,
        "at": iso_unix(one.unix_s),
        "prefix": one.subject,
        "before": one.before or None,
        "level": one.after,
        "reason": one.reason,
        "hold": one.hold or None,
        "detail": one.detail,
    }


def whole_decision(one: Entry, snapshot: str) -> Json:
    """Return a decision with the facts and the memory that made it, the trail of rules, and what would change it."""
    return {**decision(one), **_parts(json.loads(snapshot))}


def _parts(snapshot: dict[str, Any]) -> Json:
    return {part: snapshot[part] for part in ("format", "facts", "memory", "decision")}


def entries(page: Page) -> Json:
    """Return a page of entries, and the token of the next one if there is more."""
    return {"entries": [entry(one) for one in page.entries], "next_token": _token(page)}


def decisions(page: Page) -> Json:
    """Return a page of decisions, and the token of the next one if there is more."""
    found = [decision(one) for one in page.entries if one.kind is EntryKind.DECISION]
    return {"decisions": found, "next_token": _token(page)}


def _token(page: Page) -> str | None:
    return str(page.entries[-1].number) if page.more and page.entries else None
