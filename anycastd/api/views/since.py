"""From when on, as people write it. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from anycastd.config.values.fields import read_duration


def since(text: str, now_unix_s: float) -> float:
    """Return Unix seconds from `2h` (so long ago) or a time as ISO 8601 has it, UTC unless it says otherwise."""
    if text[:1].isdigit() and "-" not in text:
        return now_unix_s - read_duration(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text[:64]!r} is no time; write 2h (so long ago) or 2026-01-31T12:00:00Z"
        raise ValueError(message) from None
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
