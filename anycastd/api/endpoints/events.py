"""Entries as they happen, as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

An event's id is the entry's number, so a reader that comes back with `Last-Event-ID` gets what it missed from the file.
A reader that does not keep up is told how much it missed; one that takes nothing at all is let go. None costs more
memory than its backlog, and none is waited for by anybody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiohttp import web

from anycastd.api.door import access, ask
from anycastd.api.ports import EventReader, Journal
from anycastd.api.views.journal import entry
from anycastd.model.journal import Entry, EntryKind, LostWhy, Page, Wanted
from anycastd.store.journal_reading import JournalUnavailable

PAGE = 200
BITE = 20
"""Events made and sent between two breaths of the event loop: less than a millisecond."""
RETRY_MS = 2000
TOO_MANY_RETRY_AFTER_S = 30

Kinds = frozenset[EntryKind] | None


async def events(request: web.Request, journal: Journal, kinds: Kinds, after: int | None) -> web.StreamResponse:
    """Send entries of these kinds: with `after` first those of the file with a greater number, then live ones."""
    if not journal.readers.reserve():
        message = f"{journal.config.max_readers} readers of events are here already (journal.max_readers)"
        response = ask.error(503, "too_many_readers", message)
        response.headers["Retry-After"] = str(TOO_MANY_RETRY_AFTER_S)
        return response
    stream = _Stream(request, journal, kinds)
    try:
        await stream.begin()
        await stream.catch_up(after)
        await stream.live()
    except (ConnectionError, TimeoutError):
        # gone, or it took nothing for too long: nobody is left to be told
        stream.abort()
    finally:
        journal.readers.release(stream.reader)
    return stream.response


class _Stream:
    """One reader's connection; `reader` once it gets live entries. It has all up to the number `sent`."""

    def __init__(self, request: web.Request, journal: Journal, kinds: Kinds) -> None:
        self._request, self._journal, self._kinds = request, journal, kinds
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        self.response = web.StreamResponse(headers=headers)
        self.reader: EventReader | None = None
        self._sent, self._begun = 0, False
        self._out: list[str] = []

    async def begin(self) -> None:
        """Answer that events will follow."""
        await self.response.prepare(self._request)
        self._out.append(f": anycastd\nretry: {RETRY_MS}\n\n")
        await self._flush()

    async def catch_up(self, after: int | None) -> None:
        """Send what the file has after a number, and go live without losing what comes meanwhile."""
        if after is None:
            self.reader = self._journal.readers.join()
            return
        self._sent = after
        try:
            page = await self._look()
            # while one page is read and sent more may be written
            while page.more or self._journal.last_written > page.last:
                page = await self._look()
        except JournalUnavailable as error:
            self._gap(LostWhy.NOT_READABLE, str(error), first=after + 1)
        # no await between the two: an entry is among the waiting, or given to the reader
        waiting = list(self._journal.unwritten)
        self.reader = self._journal.readers.join()
        await self._tell(waiting)

    async def _look(self) -> Page:
        """Send the next page of the file."""
        page = await self._journal.page(Wanted(kinds=self._kinds, after=self._sent, limit=PAGE, newest_first=False))
        if not self._begun:
            self._begun = True
            self._tell_missing(page)
        await self._tell(page.entries)
        if not page.more:
            self._sent = max(self._sent, page.last)
        return page

    def _tell_missing(self, page: Page) -> None:
        """Say if what was asked for is not there any more, or is not of this file."""
        if self._sent + 1 < page.first:
            detail = f"the journal begins with entry {page.first}"
            self._gap(LostWhy.NOT_KEPT, detail, first=self._sent + 1, last=page.first - 1)
        elif self._sent > max([page.last, *(one.number for one in self._journal.unwritten)]):
            detail = f"entry {self._sent} is not of this journal, which ends with {page.last}"
            self._sent = page.last
            self._gap(LostWhy.NOT_KEPT, detail)

    async def live(self) -> None:
        """Send entries as they happen until the reader or the daemon ends."""
        reader, config = self.reader, self._journal.config
        # a token that was replaced is shut out at the latest with the next heartbeat, and before anything is told
        while reader is not None and access.may_stay(self._request):
            if not reader.ended and not await reader.wait(config.heartbeat_s):
                self._out.append(": alive\n\n")
            if not access.may_stay(self._request):
                return
            while taken := [one for _ in range(BITE) if (one := reader.take()) is not None]:
                await self._tell(taken)
            if reader.lost:
                lost, first, last = reader.take_lost()
                detail = "this reader was too slow; the journal has them: read on from the id before (Last-Event-ID)"
                self._gap(LostWhy.SLOW_READER, detail, lost=lost, first=first or None, last=last or None)
            await self._flush()
            if reader.ended:
                return

    async def _tell(self, entries: Sequence[Entry]) -> None:
        for one in entries:
            if one.number and one.number <= self._sent:
                continue
            self._sent = max(self._sent, one.number)
            if self._kinds is None or one.kind in self._kinds:
                number = f"id: {one.number}\n" if one.number else ""
                self._out.append(f"{number}event: {one.kind.value}\ndata: {ask.dumps(entry(one))}\n\n")
            if len(self._out) >= BITE:
                await self._flush()
                await asyncio.sleep(0)
        await self._flush()

    def _gap(
        self, why: LostWhy, detail: str, *, lost: int | None = None, first: int | None = None, last: int | None = None
    ) -> None:
        """Say what this reader does not get; without an id, so that it can ask for it again."""
        body = {"lost": lost, "first": first, "last": last, "reason": why.value, "detail": detail}
        self._out.append(f"event: gap\ndata: {ask.dumps(body)}\n\n")

    async def _flush(self) -> None:
        """Send what is to be sent; TimeoutError if the reader takes nothing for too long."""
        if self._out:
            text, self._out = "".join(self._out), []
            await asyncio.wait_for(self.response.write(text.encode()), self._journal.config.reader_patience_s)

    def abort(self) -> None:
        """Cut the connection, with what waits in it."""
        if self._request.transport is not None:
            self._request.transport.abort()
