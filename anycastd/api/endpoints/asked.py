"""What the requests about EIPs have in common: parameters, headers, and how a refusal is said."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import TypeVar

from aiohttp import web

from anycastd.api.door import ask
from anycastd.api.ports import OrderDone
from anycastd.config.near import did_you_mean
from anycastd.config.values.fields import read_duration
from anycastd.resources.refusal import Refused

MAX_WAIT_S = 60.0
RETRY_AFTER_S = 5
IDEMPOTENCY_KEY = "Idempotency-Key"
_KEY = re.compile(r"[!-~]{1,64}\Z")
_TAG = re.compile(r'"([0-9]{1,15})"\Z')

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


class BadRequestError(Exception):
    """A parameter or header that is not understood; the message names it."""


def refusal(refused: Refused) -> web.Response:
    """Return the answer that tells every rule a command breaks."""
    first, problems = refused.first, [str(one) for one in refused.refusals]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    response = ask.error(first.status, first.code.value, f"{first}{more}", problems=problems)
    if first.status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def done(outcome: OrderDone | Refused, *, dry_run: bool) -> web.Response:
    """Return the answer to an order: what it changed, or why it was refused."""
    if isinstance(outcome, Refused):
        return refusal(outcome)
    changes = list(outcome.changes)
    return ask.answer({"id": outcome.id, "dry_run": dry_run, "replayed": outcome.replayed, "changes": changes})


def understood(answer: ask.Answer, *allowed: str) -> ask.Answer:
    """Return an answer that is only asked for with known, single, filled query parameters."""

    async def show(request: web.Request) -> web.StreamResponse:
        if unknown := ask.unknown_parameter(request, allowed):
            return unknown
        for name, value in request.query.items():
            if not value:
                return ask.error(400, "bad_parameter", f"the query parameter {name!r} is empty; leave it out for all")
        try:
            return await answer(request)
        except BadRequestError as error:
            return ask.error(400, "bad_parameter", str(error))

    return show


def parameter(request: web.Request, name: str, read: Callable[[str], T]) -> T | None:
    """Return a query parameter as `read` understands it, or None if it is not there; BadRequestError if it cannot."""
    text = request.query.get(name)
    if text is None:
        return None
    try:
        return read(text)
    except ValueError as error:
        message = f"{name}: {error}"
        raise BadRequestError(message) from error


def flag(request: web.Request, name: str) -> bool:
    """Return a query parameter that is true or false, and false if it is not there."""
    text = request.query.get(name, "false")
    if text not in ("true", "false"):
        message = f"{name} is true or false, not {text[:64]!r}"
        raise BadRequestError(message)
    return text == "true"


def wait_s(request: web.Request) -> float | None:
    """Return how long to wait for a task."""

    def read(text: str) -> float:
        seconds = read_duration(text)
        if not 0.0 < seconds <= MAX_WAIT_S:
            message = f"{text!r} is not between 1ms and {MAX_WAIT_S:g}s"
            raise ValueError(message)
        return seconds

    return parameter(request, "wait", read)


def word(options: type[E]) -> Callable[[str], E]:
    """Return the reader of one word of an enum."""

    def read(text: str) -> E:
        try:
            return options(text)
        except ValueError:
            words = [option.value for option in options]
            message = f"{text[:64]!r} is not one of {', '.join(words)}{did_you_mean(text.upper(), words)}"
            raise ValueError(message) from None

    return read


def one_of(known: Iterable[str], what: str) -> Callable[[str], str]:
    """Return the reader of a name that must be known."""

    def read(text: str) -> str:
        names = list(known)
        if text not in names:
            message = f"no {what} is called {text[:64]!r}{did_you_mean(text, names)}"
            raise ValueError(message)
        return text

    return read


def count(low: int, high: int) -> Callable[[str], int]:
    """Return the reader of a whole number between two bounds."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
            message = f"{text[:64]!r} is not a whole number from {low} to {high}"
            raise ValueError(message)
        return int(text)

    return read


def expected_generation(request: web.Request) -> int | None:
    """Return the generation that If-Match names; None = any."""
    text = request.headers.get("If-Match", "*")
    if text == "*":
        return None
    found = _TAG.match(text)
    if found is None:
        message = f'If-Match is the generation in quotes, as ETag gives it ("3"), not {text[:64]}'
        raise BadRequestError(message)
    return int(found[1])


def tagged(response: web.Response, generation: int) -> web.Response:
    """Return the answer with a generation as its ETag, for If-Match."""
    response.headers["ETag"] = f'"{generation}"'
    return response


def told_again(response: web.Response, replayed: bool) -> web.Response:
    """Return the answer marked as one that was given before, if it was."""
    if replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response


def idempotency_key(request: web.Request) -> str | None:
    """Return the Idempotency-Key."""
    text = request.headers.get(IDEMPOTENCY_KEY)
    if text is not None and not _KEY.match(text):
        message = f"{IDEMPOTENCY_KEY} is 1 to 64 printable ASCII characters without spaces"
        raise BadRequestError(message)
    return text


def digest_of(request: web.Request, body: bytes) -> str:
    """Return what tells this request from another: all of it but how long its sender waits."""
    query = sorted((name, value) for name, value in request.query.items() if name != "wait")
    head = repr((request.method, request.path, query, request.headers.get("If-Match")))
    return hashlib.sha256(head.encode() + b"\0" + body).hexdigest()
