"""Options that orders have in common: who, why, for how long, and how a time is written."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|m|h|d)\Z")
LONGEST_S = 100 * 365.25 * 86400
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration_s(text: str) -> float:
    """Return the seconds of `90s`, `30m`, `2h` or `1d`; ValueError says what is expected."""
    found = _DURATION.match(text)
    if found is None or float(found[1]) <= 0:
        message = f"{text!r} is not a time; write 90s, 30m, 2h, 1d or never"
        raise ValueError(message)
    return _near(text, float(found[1]) * _UNIT_S[found[2]])


def _near(text: str, left_s: float) -> float:
    if left_s > LONGEST_S:
        message = f"{text} is farther away than a hundred years; write never"
        raise ValueError(message)
    return left_s


def until_s(text: str, now: datetime) -> float:
    """Return the seconds until an ISO 8601 time; one without a zone is UTC. ValueError if it has passed."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is not a time; write 2026-01-31T18:00Z"
        raise ValueError(message) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    left_s = (moment - now).total_seconds()
    if left_s <= 0:
        message = f"{text} has passed: it is {now.isoformat(timespec='minutes')}"
        raise ValueError(message)
    return _near(text, left_s)


def lasting_options(verb: F) -> F:
    """Add --reason, --for, --until, --force and --owner to a verb."""
    for option in (
        click.option("--owner", metavar="NAME", help="Who orders it, where the socket does not tell [the user]."),
        click.option("--force", is_flag=True, help="Past the rule that refuses or holds; needs --reason."),
        click.option("--until", metavar="TIME", help="When it ends by itself: 2026-01-31T18:00Z."),
        click.option("--for", "for_", metavar="TIME", help="How long it lasts: 90s, 30m, 2h, 1d, never."),
        click.option("--reason", metavar="TEXT", default="", help="Why; shown wherever the order is."),
    ):
        verb = option(verb)
    return verb


def expiry_of(for_: str | None, until: str | None) -> dict[str, Any]:
    """Return the fields of a request that say when an order ends."""
    if for_ is not None and until is not None:
        message = "--for and --until both say when it ends; give one"
        raise click.UsageError(message)
    if for_ == "never":
        return {"never_expires": True}
    try:
        if for_ is not None:
            return {"expires_in_s": duration_s(for_)}
        if until is not None:
            return {"expires_in_s": until_s(until, datetime.now(UTC))}
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return {}


def owner() -> str:
    """Return the user behind a sudo, whom the socket would tell as root."""
    return os.environ.get("SUDO_USER", "")


def body_of(reason: str, for_: str | None, until: str | None, force: bool, owner_: str | None) -> dict[str, Any]:
    """Return what every order's request has."""
    if force and not reason:
        message = "--force needs a --reason: it is what the others will read"
        raise click.UsageError(message)
    return {"reason": reason, "owner": owner_ or owner(), **expiry_of(for_, until)}


def target_of(path: str, *, force: bool, dry_run: bool) -> str:
    """Return a path with the query parameters of a change."""
    flags = [name for name, given in (("dry_run", dry_run), ("force", force)) if given]
    return path + ("?" + "&".join(f"{name}=true" for name in flags) if flags else "")
