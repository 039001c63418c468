"""The endpoints of the journal: decisions, entries, and events as they happen."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

from aiohttp import web

from anycastd.api.door import ask
from anycastd.api.endpoints import asked
from anycastd.api.endpoints.events import events
from anycastd.api.ports import Journal
from anycastd.api.views import journal as views
from anycastd.api.views.since import since
from anycastd.config.values.net import read_prefix
from anycastd.model.decision import Reason
from anycastd.model.journal import EntryKind, Wanted
from anycastd.resources.journal_reasons import read_reason
from anycastd.store.journal_reading import JournalUnavailable

DECISION_FILTERS = ("prefix", "reason", "since", "limit", "next_token")
ENTRY_FILTERS = ("types", "subject", "reason", "since", "limit", "next_token")
EVENT_FILTERS = ("types", "after")
STREAMS = frozenset({"/v1/events"})
"""What goes on for as long as the client likes."""
DEFAULT_LIMIT, MAX_LIMIT = 100, 1000
_NUMBER = re.compile(r"[0-9]{1,15}\Z")

T = TypeVar("T")


def reads(journal: Journal) -> list[web.RouteDef]:
    """Return the routes of the journal."""
    return [
        web.get("/v1/decisions", asked.understood(_told(_decisions(journal)), *DECISION_FILTERS)),
        web.get("/v1/decisions/{number}", asked.understood(_told(_decision(journal)))),
        web.get("/v1/journal", asked.understood(_told(_entries(journal)), *ENTRY_FILTERS)),
        web.get("/v1/events", asked.understood(_events(journal), *EVENT_FILTERS)),
    ]


def _told(answer: ask.Answer) -> ask.Answer:
    async def show(request: web.Request) -> web.StreamResponse:
        try:
            return await answer(request)
        except JournalUnavailable as error:
            return unreadable(error)

    return show


def unreadable(error: JournalUnavailable) -> web.Response:
    """Return the answer while the file cannot be read."""
    response = ask.error(503, "JournalUnavailable", str(error))
    response.headers["Retry-After"] = str(asked.RETRY_AFTER_S)
    return response


def number(text: str) -> int:
    """Return an entry's number; ValueError if the text is none."""
    if not (text.isascii() and _NUMBER.match(text)):
        message = f"{text[:64]!r} is no number of an entry"
        raise ValueError(message)
    return int(text)


def kinds(text: str) -> frozenset[EntryKind]:
    """Return kinds of entries from words with commas between them."""
    return frozenset(asked.word(EntryKind)(one) for one in text.split(","))


def _page_of(request: web.Request, **more: Any) -> Wanted:
    return Wanted(
        since_unix_s=asked.parameter(request, "since", lambda text: since(text, time.time())),
        before=asked.parameter(request, "next_token", number),
        limit=asked.parameter(request, "limit", asked.count(1, MAX_LIMIT)) or DEFAULT_LIMIT,
        **more,
    )


def _decisions(journal: Journal) -> ask.Answer:
    async def show(request: web.Request) -> web.Response:
        prefix = asked.parameter(request, "prefix", read_prefix)
        reason = asked.parameter(request, "reason", _lower(asked.word(Reason)))
        wanted = _page_of(
            request,
            kinds=frozenset({EntryKind.DECISION}),
            subject=None if prefix is None else str(prefix),
            reason=None if reason is None else reason.value,
        )
        page = await journal.page(wanted)
        return await ask.made_answer(lambda: views.decisions(page))

    return show


def _lower(read: Callable[[str], T]) -> Callable[[str], T]:
    return lambda text: read(text.lower())


def _decision(journal: Journal) -> ask.Answer:
    async def show(request: web.Request) -> web.Response:
        text = request.match_info["number"]
        try:
            found = await journal.one(number(text))
        except ValueError as error:
            return ask.error(400, "bad_parameter", str(error))
        if found is None or found[0].kind is not EntryKind.DECISION:
            what = f"entry {text} is no decision" if found else f"the journal has no entry {text}"
            return ask.error(404, "no_such_decision", what)
        one, snapshot = found
        return ask.answer(views.whole_decision(one, snapshot))

    return show


def _entries(journal: Journal) -> ask.Answer:
    async def show(request: web.Request) -> web.Response:
        types = asked.parameter(request, "types", kinds)
        wanted = _page_of(
            request,
            kinds=types,
            subject=request.query.get("subject"),
            reason=asked.parameter(request, "reason", lambda text: read_reason(text, types)),
        )
        page = await journal.page(wanted)
        return await ask.made_answer(lambda: views.entries(page))

    return show


def _events(journal: Journal) -> ask.Answer:
    async def show(request: web.Request) -> web.StreamResponse:
        wanted = asked.parameter(request, "types", kinds)
        after = asked.parameter(request, "after", number)
        # a browser that connects again says by this where it was
        header = request.headers.get("Last-Event-ID")
        if header:
            try:
                after = number(header)
            except ValueError as error:
                return ask.error(400, "bad_parameter", f"Last-Event-ID: {error}")
        return await events(request, journal, wanted, after)

    return show
