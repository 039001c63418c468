"""What the store holds as it was last read or written: EIPs, tasks, dials, answers, and the revision of each key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from anycastd.model.address import Address, RegionName
from anycastd.model.eip import Eip, Task
from anycastd.resources import codec
from anycastd.resources.plan import expired
from anycastd.resources.records import Records, parsed
from anycastd.resources.refusal import Code, Refused, refused
from anycastd.runtime.eips.tasks import TaskBook
from anycastd.store.port import ABSENT, Conflict, Item, Snapshot, Store, StoreUnavailable, Write

BITE = 50
"""So many EIPs are taken before others on the loop have their turn: about 2 ms (measured)."""
PURGE_SHARE = 4
"""A purge forgets EIPs, tasks and answers, and saves ends: each at most this part of what a commit may write."""
ANSWERS_KEPT_S = 24 * 3600.0
MAX_ANSWERS = 20_000
"""So many are remembered; of more the oldest are forgotten before their time."""
UNREADABLE = "records"

Complain = Callable[[str, str | None], None]


@dataclass(slots=True)
class _Contents:
    """A snapshot, decoded."""

    records: Records
    tasks: list[Task] = field(default_factory=list)
    dials: dict[RegionName, int] = field(default_factory=dict)
    answers: dict[str, codec.AnyAnswer] = field(default_factory=dict)

    def read(self, key: str, text: str) -> None:
        """Take in one key; ValueError if it cannot be read."""
        if key.startswith(codec.EIPS):
            self.records.put(codec.eip_at(key, text))
        elif key.startswith(codec.TASKS):
            self.tasks.append(codec.decode_task(text))
        elif key.startswith(codec.DIALS):
            self.dials[RegionName(key.removeprefix(codec.DIALS))] = codec.decode_dial(text)
        elif key.startswith(codec.ANSWERS):
            self.answers[key.removeprefix(codec.ANSWERS)] = codec.decode_answer(text)
        elif key.startswith(codec.DIAL_ANSWERS):
            self.answers[key.removeprefix(codec.DIAL_ANSWERS)] = codec.decode_dial_answer(text)


@dataclass(frozen=True, slots=True)
class News:
    """What a foreign commit changed."""

    addresses: frozenset[Address] = frozenset()
    dials: bool = False


class EipBook:
    """The store's contents, with the EIPs of the file over them. Its owner lets one writer at a time use it."""

    def __init__(self, store: Store, file: Mapping[Address, Eip], complain: Complain) -> None:
        self.store, self._complain = store, complain
        self.records, self.tasks = Records(file=file), TaskBook()
        self.dials: Mapping[RegionName, int] = {}
        self.answers: dict[str, codec.AnyAnswer] = {}
        self.loaded = self.complete = False
        self.revision = 0
        self._revisions: dict[str, int] = {}
        self._unreadable: dict[str, str] = {}

    async def load(self) -> frozenset[Address] | None:
        """Read everything; return the addresses that were known and are gone, or None if it cannot be read."""
        try:
            snapshot = await self.store.snapshot(codec.ROOT)
        except StoreUnavailable as error:
            self._complain(self.store.where, str(error))
            return None
        self._complain(self.store.where, None)
        unreadable: dict[str, str] = {}
        contents, revisions = _Contents(Records(file=self.records.file)), dict[str, int]()
        for number, (key, item) in enumerate(snapshot.items.items()):
            if number % BITE == 0:
                await asyncio.sleep(0)
            try:
                contents.read(key, item.value or "")
            except ValueError as error:
                # such a key counts as absent, so that no commit of ours can be one over it
                unreadable[key] = str(error)
            else:
                revisions[key] = item.revision
        for address, eip in self.records.stored.items():
            # known before, and not gone only because it cannot be read any more
            if codec.key_of(address) in unreadable:
                contents.records.put(eip)
        contents.dials |= {name: dial for name, dial in self.dials.items() if codec.DIALS + name in unreadable}
        gone = [address for address in self.records.stored if address not in contents.records.stored]
        contents.records.set_file(self.records.file)
        self.records = contents.records
        self.answers, self.dials = contents.answers, contents.dials
        self.tasks.load(contents.tasks)
        self.revision = snapshot.revision
        self._revisions = revisions
        self.loaded, self._unreadable = True, unreadable
        self._tell_unreadable()
        return frozenset(gone)

    def _tell_unreadable(self) -> None:
        """Tell of what cannot be read; an EIP among it may be any that the kernel has."""
        unreadable = self._unreadable
        self.complete = self.loaded and not any(key.startswith(codec.EIPS) for key in unreadable)
        if not unreadable:
            self._complain(UNREADABLE, None)
            return
        key, why = next(iter(unreadable.items()))
        self._complain(UNREADABLE, f"{len(unreadable)} in the store cannot be read and stay as they are: {key}: {why}")

    def text_of(self, key: str) -> str | None:
        """Return what is known of an EIP or a dial, as a text of the store; None: nothing is."""
        if key.startswith(codec.DIALS):
            dial = self.dials.get(RegionName(key.removeprefix(codec.DIALS)))
            return None if dial is None else codec.encode_dial(dial)
        address = parsed(key.removeprefix(codec.EIPS))
        eip = None if address is None else self.records.stored.get(address)
        return None if eip is None else codec.encode_eip(eip)

    def revision_of(self, key: str) -> int:
        """Return the revision of a key's last change, 0 of one that is not there."""
        return self._revisions.get(key, ABSENT)

    async def commit(self, writes: Sequence[Write], compared: Iterable[str]) -> Refused | None:
        """Commit if the compared keys are as we know them; return why not, if not. Nothing is kept of a refused one."""
        try:
            revision = await self.store.commit(writes, {key: self._revisions.get(key, ABSENT) for key in compared})
        except StoreUnavailable as error:
            self._complain(self.store.where, str(error))
            return refused(Code.STORE, 503, f"nothing was changed: {error}")
        except Conflict as conflict:
            message = f"{conflict.key} was changed by another writer meanwhile; read it and try again"
            return refused(Code.IN_PROGRESS, 409, message)
        self._complain(self.store.where, None)
        for write in writes:
            self._note(write.key, write.value, revision)
        return None

    def _note(self, key: str, value: str | None, revision: int) -> None:
        if value is None:
            self._revisions.pop(key, None)
        else:
            self._revisions[key] = revision

    def saved(self, tasks: Iterable[Task]) -> None:
        """Note that the store has these tasks as they are here."""
        for task in tasks:
            self.tasks.unsaved.pop(task.id, None)
            self.tasks.put(task)

    async def purge(self, keep_released_s: float, now_unix_s: float) -> frozenset[Address]:
        """Forget released EIPs, old tasks and old answers, and save how tasks ended; return what is gone."""
        most = self.store.max_writes // PURGE_SHARE
        gone = expired(self.records, keep_released_s, now_unix_s)[:most]
        old_tasks = list(islice(self.tasks.outlived(now_unix_s), most))
        left_out = {task.id for task in old_tasks}
        old_answers = self._old_answers(now_unix_s)[:most]
        ends = list(islice((task for id_, task in self.tasks.unsaved.items() if id_ not in left_out), most))
        keys = [codec.key_of(eip.address) for eip in gone]
        forgotten = [*keys, *(codec.TASKS + task.id for task in old_tasks)]
        forgotten += [codec.answer_key(key, self.answers[key]) for key in old_answers]
        writes = [*(Write(key, None) for key in forgotten), *map(write_of, ends)]
        if not writes or await self.commit(writes, keys) is not None:
            return frozenset()
        self.saved(ends)
        self.tasks.forget(old_tasks)
        for key in old_answers:
            del self.answers[key]
        for eip in gone:
            self.records.drop(eip.address)
        return frozenset(eip.address for eip in gone)

    def _old_answers(self, now_unix_s: float) -> list[str]:
        since = now_unix_s - ANSWERS_KEPT_S
        if len(self.answers) > MAX_ANSWERS:
            since = max(since, sorted(answer.at_unix_s for answer in self.answers.values())[-MAX_ANSWERS])
        return [key for key, answer in self.answers.items() if answer.at_unix_s < since]

    def adopt(self, batch: Snapshot) -> News:
        """Take over foreign commits: what is newer than what we know of its key."""
        self.revision = batch.revision
        addresses, dials = set[Address](), False
        for key, item in batch.items.items():
            known, mended = self._revisions.get(key, ABSENT), self._unreadable.pop(key, None) is not None
            if mended:
                self._tell_unreadable()
            if item.revision <= known or (item.value is None and known == ABSENT and not mended):
                continue
            self._note(key, item.value, item.revision)
            if key.startswith(codec.DIALS):
                dials = True
                self._adopt_dial(RegionName(key.removeprefix(codec.DIALS)), item)
            elif key.startswith(codec.EIPS):
                addresses |= self._adopt_eip(key, item)
            elif key.startswith(codec.ANSWERS):
                self._adopt_answer(key, codec.ANSWERS, item, codec.decode_answer)
            elif key.startswith(codec.DIAL_ANSWERS):
                self._adopt_answer(key, codec.DIAL_ANSWERS, item, codec.decode_dial_answer)
        return News(frozenset(addresses), dials)

    def _adopt_eip(self, key: str, item: Item) -> frozenset[Address]:
        """Take over one EIP; return its address, none if its key has none."""
        address = parsed(key.removeprefix(codec.EIPS))
        named = frozenset(() if address is None else (address,))
        if item.value is None:
            if address is not None:
                self.records.drop(address)
            return named
        try:
            self.records.put(codec.eip_at(key, item.value))
        except ValueError as error:
            self._revisions.pop(key, None)
            self._unreadable[key] = str(error)
            self._tell_unreadable()
        return named

    def _adopt_answer(self, key: str, under: str, item: Item, decode: Callable[[str], codec.AnyAnswer]) -> None:
        """Know what another POP answered: who asks again may ask here."""
        name = key.removeprefix(under)
        try:
            if item.value is None:
                self.answers.pop(name, None)
            else:
                self.answers[name] = decode(item.value)
        except ValueError as error:
            self._unreadable[key] = str(error)
            self._tell_unreadable()

    def _adopt_dial(self, region: RegionName, item: Item) -> None:
        dials = {name: value for name, value in self.dials.items() if name != region}
        try:
            self.dials = dials if item.value is None else dials | {region: codec.decode_dial(item.value)}
        except ValueError as error:
            self._unreadable[codec.DIALS + region] = str(error)
            self._tell_unreadable()


def write_of(task: Task) -> Write:
    """Return the write that saves a task."""
    return Write(codec.TASKS + task.id, codec.encode_task(task))
