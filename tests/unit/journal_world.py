"""What the tests of the journal share: real decisions, a journal on a real file, and entries of any kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path

from anycastd.model.address import Prefix
from anycastd.model.decision import Level, Memory, Truth
from anycastd.model.journal import Entry, EntryKind, Wanted
from anycastd.model.topology import JournalConfig, PrefixSpec
from anycastd.policy.draft import Facts
from anycastd.policy.engine import decide
from anycastd.policy.snapshot import Snapshot
from anycastd.runtime.journal.journal import JOURNAL, Journal
from anycastd.store.journal_file import Note
from tests.wait import wait_until

PREFIX = ip_network("203.0.113.0/24")
QUICK = JournalConfig(write_after_s=0.01, retry_s=0.1, heartbeat_s=0.1, keep_s=1e12)


def made(prefix: Prefix = PREFIX, now_s: float = 1000.0) -> Snapshot:
    """Return a real decision: of a prefix that was announced and cannot be served any more."""
    facts = Facts(now_s=now_s, spec=PrefixSpec(prefix=prefix), condition=Truth.FALSE, detail="0 of 2 regions usable")
    memory = Memory(level=Level.NORMAL, level_since_s=500.0, was_announced=True)
    return Snapshot(facts, memory, decide(facts, memory)[0])


def entry(number: int, kind: EntryKind = EntryKind.ALARM, unix_s: float = 1e9, **more: str) -> Entry:
    """Return an entry."""
    return Entry(number=number, unix_s=unix_s, kind=kind, subject=more.pop("subject", f"subject-{number}"), **more)


def note(number: int, **more: str) -> Note:
    """Return an entry on its way to the file."""
    return Note(entry(number, EntryKind.ALARM, 1e9, **more))


def decision(number: int, prefix: Prefix = PREFIX, unix_s: float = 1e9) -> Note:
    """Return a decision on its way to the file."""
    snapshot = made(prefix)
    decided = snapshot.decision
    one = entry(
        number,
        EntryKind.DECISION,
        unix_s,
        subject=str(prefix),
        before="NORMAL",
        after=decided.level.name,
        reason=decided.reason.value,
        hold=decided.hold.value if decided.hold else "",
        detail=decided.detail,
    )
    return Note(one, snapshot)


async def until(what: str, so: Callable[[], object], deadline_s: float = 10.0) -> None:
    """Wait without holding the loop until something is so."""
    await asyncio.to_thread(wait_until, what, deadline_s, so)


@dataclass
class Told:
    """Who is told of trouble: the alarms that stand, and all that were ever raised."""

    standing: dict[str, str] = field(default_factory=dict)
    ever: list[str] = field(default_factory=list)

    def __call__(self, subject: str, detail: str | None) -> None:
        if detail is None:
            self.standing.pop(subject, None)
        elif self.standing.get(subject) != detail:
            self.standing[subject] = detail
            self.ever.append(detail)


@dataclass
class Noted:
    """Keeps what it is given instead of writing it."""

    entries: list[Entry] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)

    def note(
        self,
        kind: EntryKind,
        subject: str,
        *,
        before: str = "",
        after: str = "",
        reason: str = "",
        hold: str = "",
        detail: str = "",
        snapshot: Snapshot | None = None,
    ) -> None:
        """Take an entry."""
        number = len(self.entries) + 1
        self.entries.append(
            Entry(
                number=number,
                unix_s=0.0,
                kind=kind,
                subject=subject,
                before=before,
                after=after,
                reason=reason,
                hold=hold,
                detail=detail,
            )
        )
        if snapshot is not None:
            self.snapshots.append(snapshot)


@dataclass
class Running:
    """A journal that writes."""

    journal: Journal
    told: Told

    async def written(self) -> None:
        """Wait until nothing waits any more."""
        await until("nothing waits", lambda: not self.journal.facts().waiting)

    async def all(self, **wanted: object) -> tuple[Entry, ...]:
        """Return the entries of the file, oldest first."""
        page = await self.journal.page(replace(Wanted(limit=1_000_000, newest_first=False), **wanted))  # type: ignore[arg-type]
        assert not page.more
        return page.entries


@asynccontextmanager
async def running(directory: Path, config: JournalConfig = QUICK) -> AsyncIterator[Running]:
    """Run a journal in a directory."""
    told = Told()
    journal = Journal(directory / JOURNAL, config, told)
    task = asyncio.create_task(journal.run())
    try:
        yield Running(journal, told)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await journal.close()
