"""Monotonic seconds to wall-clock text. The only place where the daemon's state meets a calendar."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Protocol

Json = dict[str, Any]


class Clocked(Protocol):
    """What knows both clocks at one moment: a Status, or `api.ports.Clocks`."""

    @property
    def now_s(self) -> float:
        """Return monotonic seconds."""
        ...

    @property
    def wall_s(self) -> float:
        """Return Unix seconds."""
        ...


def iso(status: Clocked, at_s: float | None) -> str | None:
    """Return a monotonic time as ISO 8601 UTC with milliseconds, or None."""
    return None if at_s is None else _text(status.wall_s - (status.now_s - at_s))


def iso_unix(unix_s: float | None) -> str | None:
    """Return Unix seconds as ISO 8601 UTC with milliseconds, or None."""
    return None if unix_s is None else _text(unix_s)


def _text(unix_s: float) -> str:
    # rounded first: isoformat cuts, and 0.9996 s must not read as one millisecond less
    moment = datetime.fromtimestamp(round(unix_s, 3), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock(status: Clocked, at_s: float, *, milliseconds: bool = True) -> str:
    """Return the time of day in UTC of a monotonic time."""
    text = _text(status.wall_s - (status.now_s - at_s))
    return text[11:23] if milliseconds else text[11:19]


def since(status: Clocked, at_s: float) -> Json:
    """Return the pair of fields that every state has: when it began, and how many seconds ago."""
    return {"since": iso(status, at_s), "age_s": age_s(status, at_s)}


def age_s(status: Clocked, at_s: float) -> float:
    """Return how many seconds ago a monotonic time was, never less than 0."""
    return round(max(status.now_s - at_s, 0.0), 3)


def span(seconds: float) -> str:
    """Return a length of time as an operator reads it: the two largest units, 0 s to years."""
    whole = int(seconds)
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h" if hours and days < 100 else f"{days} d"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    if minutes:
        return f"{minutes} min {left} s" if left and minutes < 10 else f"{minutes} min"
    return f"{whole} s"
