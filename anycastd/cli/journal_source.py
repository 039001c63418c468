"""Where the verbs that look back get their entries: from the daemon, or if it does not answer from its file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import click

from anycastd.cli.asking import socket_of, state_dir_of, where_options
from anycastd.cli.client import DEFAULT_SOCKET, EX_UNAVAILABLE, EX_USAGE, AskError, ask

JOURNAL = "journal.db"
PAGE = 1000
EX_NOPERM = 77
F = TypeVar("F", bound=Callable[..., Any])


def source_options(verb: F) -> F:
    """Add --file, --socket and -c to a verb."""
    text = "Read this journal, and do not ask the daemon."
    return click.option("--file", "file", metavar="FILE", help=text)(where_options(verb))


def page_options(verb: F) -> F:
    """Add --since, --limit and --before to a verb."""
    verb = click.option("--before", type=click.IntRange(min=1), metavar="N", help="Only entries older than number N.")(
        verb
    )
    verb = click.option("--limit", type=click.IntRange(1, 1_000_000), default=20, show_default=True, help="How many.")(
        verb
    )
    return click.option("--since", metavar="WHEN", help="Only newer ones: 2h (ago), or an ISO 8601 time.")(verb)


def reason_of(text: str | None, types: str | None) -> str | None:
    """Return a reason as entries of these kinds (None = any) have it; UsageError if none can."""
    if text is None:
        return None
    # here, not above: only who looks for a reason needs the lists of them
    from anycastd.model.journal import EntryKind
    from anycastd.resources.journal_reasons import read_reason

    try:
        return read_reason(text, None if types is None else map(EntryKind, types.split(",")))
    except ValueError as error:
        message = f"--reason: {error}"
        raise click.UsageError(message) from error


def has_reason(one: dict[str, Any], reason: str | None) -> bool:
    """Return whether an entry has a reason, or is held by it; None = it does not matter."""
    return reason is None or reason == one["hold"] or reason in str(one["reason"] or "").split(",")


class PrefixType(click.ParamType[str]):
    """A prefix in its canonical form."""

    name = "prefix"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the prefix, or say what is wrong with it."""
        try:
            return str(ip_network(value))
        except ValueError as error:
            self.fail(f"{error}", param, ctx)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found, and where: `source` is `daemon` or `file`, `where` its path, `why` the daemon was not asked."""

    body: dict[str, Any]
    source: str
    where: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Which daemon to ask, and which file to read if it does not answer; `file_only`: do not ask."""

    socket: str
    file: Path
    file_only: bool

    @classmethod
    def of(cls, socket_path: str | None, config_file: str | None, file: str | None) -> Place:
        """Return the place that the options name."""
        if file is not None and (socket_path or config_file):
            message = "--file is read without asking a daemon; give it alone"
            raise click.UsageError(message)
        if file is not None:
            return cls(DEFAULT_SOCKET, Path(file), file_only=True)
        path = Path(state_dir_of(config_file)) / JOURNAL
        return cls(socket_of(socket_path, config_file), path, file_only=False)

    def entries(self, kind: str, query: dict[str, Any]) -> Answer:
        """Return what `/v1/KIND` answers to a query, up to its `limit`, the newest first."""
        return self._found(lambda: self._asked(kind, query), lambda: self._read(kind, query))

    def decision(self, number: int) -> Answer:
        """Return one decision with all that made it."""
        return self._found(lambda: ask(self.socket, f"/v1/decisions/{number}"), lambda: self._read_one(number))

    def _found(self, asked: Callable[[], dict[str, Any]], read: Callable[[], dict[str, Any]]) -> Answer:
        why = ""
        if not self.file_only:
            try:
                return Answer(asked(), "daemon", self.socket)
            except AskError as error:
                if error.exit_code != EX_UNAVAILABLE:
                    raise
                why = str(error)
        try:
            return Answer(read(), "file", str(self.file), why)
        except AskError as error:
            if not why:
                raise
            raise AskError(str(error), error.exit_code, (why,)) from error

    def _asked(self, kind: str, query: dict[str, Any]) -> dict[str, Any]:
        limit, found = query["limit"], list[Any]()
        given = {name: value for name, value in query.items() if value is not None}
        while True:
            given["limit"] = min(limit - len(found), PAGE)
            body: dict[str, Any] = ask(self.socket, f"/v1/{kind}?{urlencode(given)}")
            found += body[_KEY[kind]]
            given["next_token"] = body["next_token"]
            if given["next_token"] is None or len(found) >= limit:
                return {_KEY[kind]: found, "next_token": given["next_token"]}

    def _read(self, kind: str, query: dict[str, Any]) -> dict[str, Any]:
        # here, not above: only who reads the file needs SQLite
        from anycastd.api.views import journal as views
        from anycastd.model.journal import EntryKind, Wanted
        from anycastd.store.journal_reading import page

        kinds = "decision" if kind == "decisions" else query.get("types")
        token = query.get("next_token")
        wanted = Wanted(
            kinds=None if kinds is None else frozenset(map(EntryKind, kinds.split(","))),
            subject=query.get("prefix") or query.get("subject"),
            reason=query.get("reason"),
            since_unix_s=_since(query.get("since")),
            before=None if token is None else int(token),
            limit=query["limit"],
        )
        with self._opened() as db:
            found = page(db, wanted)
        return views.decisions(found) if kind == "decisions" else views.entries(found)

    def _read_one(self, number: int) -> dict[str, Any]:
        from anycastd.api.views import journal as views
        from anycastd.store.journal_reading import one

        with self._opened() as db:
            found = one(db, number)
        if found is None or not found[1]:
            message = f"entry {number} is no decision" if found else f"the journal has no entry {number}"
            raise AskError(message, EX_USAGE)
        return views.whole_decision(*found)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        from anycastd.store.journal_reading import JournalUnavailable, opened

        try:
            with opened(self.file) as db:
                yield db
        except JournalUnavailable as error:
            denied = isinstance(error.__cause__, PermissionError)
            raise AskError(str(error), EX_NOPERM if denied else EX_UNAVAILABLE) from error


_KEY = {"decisions": "decisions", "journal": "entries"}


def _since(text: str | None) -> float | None:
    if text is None:
        return None
    from anycastd.api.views.since import since

    try:
        return since(text, time.time())
    except ValueError as error:
        message = f"since: {error}"
        raise AskError(message, EX_USAGE) from error


def tell_source(answer: Answer) -> None:
    """Say on stderr where it comes from, if that is not the daemon: stdout is for what was asked for."""
    if answer.source == "file":
        why = f" ({answer.why})" if answer.why else ""
        sys.stderr.write(f"from {answer.where}{why}\n")
