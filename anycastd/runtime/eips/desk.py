"""Where EIPs are changed: one writer, the store first, then the plane; what a crash leaves undone the next start does.

    request -> plan (pure) -> one commit (EIP, task, answer) -> plane -> act -> observed -> the task has ended

The plane always gets what is in force: the file's EIPs, and those of the store that the file does not hide.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Protocol, TypeVar

from anycastd.api.ports import Clocks, Dialed, DialRequest, Done, Quota, Request, Shown
from anycastd.config.binding_rules import facts_of, problems_of
from anycastd.model.address import Address, RegionName
from anycastd.model.eip import Eip, EipId, EipStatus, EipView, Task, TaskId
from anycastd.model.nft import NftObserved
from anycastd.model.topology import Config
from anycastd.resources import codec
from anycastd.resources.plan import Planned, Stamp, World, plan
from anycastd.resources.records import Records, address_at
from anycastd.resources.refusal import Code, Refused, key_reused, of_breaches, refused
from anycastd.resources.tasks import accepted, begun, status_when_accepted
from anycastd.runtime.eips.book import BITE, Complain, EipBook, write_of
from anycastd.runtime.eips.dials import set_dial
from anycastd.runtime.eips.steady import SteadyClock
from anycastd.store.port import Compacted, Store, StoreUnavailable, Write

AGAIN_AFTER_S = 1.0
JUDGED_AT_ONCE = 32
"""Running tasks judged after each transaction: 1 ms. More wait for the next look of the loop at everything."""

T = TypeVar("T")


def _told_nobody(eip: Eip, changes: tuple[str, ...]) -> None:
    """Take note of a change for want of somebody who does."""


class Plane(Protocol):
    """Who brings EIPs into the kernel."""

    def put(self, eip: Eip, now_s: float, /) -> object:
        """Want an EIP so."""
        ...

    def drop(self, address: Address, now_s: float, /) -> object:
        """Want no EIP at an address."""
        ...

    def set_dials(self, dials: Mapping[RegionName, int], now_s: float, /) -> object:
        """Take the operator's dials; a region without one has the file's."""
        ...

    def view(self, address: Address, observed: NftObserved, /) -> EipView | None:
        """Return an EIP as wanted and as it is; None if there is none."""
        ...


class EipDesk:
    """Implements `api.ports.Eips`. `complain` is told of a subject's trouble, and of its end (None).

    `loaded`: the store was read. `complete`: everything in it is known; until then nothing that the kernel has may be
    taken for foreign to us, or a store that cannot be read would unbind every EIP it holds (I3).
    """

    def __init__(
        self,
        store: Store,
        plane: Plane,
        config: Config,
        *,
        observed: Callable[[], NftObserved],
        act: Callable[[], None],
        complain: Complain,
        clocks: Callable[[], Clocks],
    ) -> None:
        self._store, self._plane = store, plane
        self._observed, self._act, self._complain, self.clocks = observed, act, complain, clocks
        self.config, self._facts = config, facts_of(config)
        self._book = EipBook(store, config.eips, complain)
        self._clock = SteadyClock(clocks())
        self._errors: dict[Address, str] = {}
        self.on_changed: Callable[[Eip, tuple[str, ...]], None] = _told_nobody
        self._filled = self._filling = False
        self._writing, self._review_due = asyncio.Lock(), True
        self._under_way: set[asyncio.Task[object]] = set()
        self.frozen: Callable[[], str] = lambda: ""
        """Says why nothing may be changed by the API; empty = it may."""

    @property
    def loaded(self) -> bool:
        """Return whether the store was read, so that changes can be made."""
        return self._book.loaded

    @property
    def complete(self) -> bool:
        """Return whether everything in the store is known, to the plane too."""
        return self._book.complete and not self._filling

    @property
    def filled(self) -> bool:
        """Return whether the plane has what could be read at the start."""
        return self._filled

    @property
    def records(self) -> Records:
        """Return every EIP there is."""
        return self._book.records

    @property
    def dials(self) -> Mapping[RegionName, int]:
        """Return the dials that an operator set."""
        return self._book.dials

    @property
    def dial_generations(self) -> Mapping[RegionName, int]:
        """Return what counts on with each change of a dial, of those that an operator set; 0 of the others."""
        return {region: self._book.revision_of(codec.DIALS + region) for region in self.dials}

    def text_of(self, key: str) -> str | None:
        """Return what is in force of a stored EIP or dial, as a text of the store; None: nothing is."""
        return self._book.text_of(key)

    async def start(self) -> None:
        """Put everything in force into the plane, and act once; `tick` tries a store again that cannot be read."""
        if not await self._load():
            await self._put_all()
            self._filled = True
            self._act()

    async def _load(self) -> bool:
        async with self._writing:
            self._filling = True
            try:
                gone = await self._book.load()
                if gone is None:
                    return False
                for address in gone:
                    self._apply(address)
                # first, or packets would go to a drained region until the last EIP is there
                self._plane.set_dials(self.dials, self.clocks().now_s)
                await self._put_all()
            finally:
                self._filling = False
        self._filled = self._review_due = True
        self._act()
        self.on_observed()
        return True

    async def _put_all(self) -> None:
        for number, place in enumerate(list(self.records.places)):
            if number % BITE == 0:
                await asyncio.sleep(0)
            # a reload may come between two bites, so what is in force is asked anew
            self._apply(address_at(place))

    def _apply(self, address: Address) -> None:
        """Tell the plane what is in force at an address."""
        eip, now_s = self.records.get(address), self.clocks().now_s
        if eip is None:
            self._plane.drop(address, now_s)
        else:
            self._plane.put(eip, now_s)

    def _apply_all(self, addresses: Iterable[Address]) -> None:
        for address in addresses:
            self._apply(address)
        self._act()
        self.on_observed()

    def configure(self, config: Config) -> None:
        """Take a new configuration: its EIPs win over stored ones, and those it lost are gone."""
        before, self.config, self._facts = self.records.file, config, facts_of(config)
        self.records.set_file(config.eips)
        self._review_due = True
        self._apply_all([a for a in before.keys() | config.eips.keys() if before.get(a) != config.eips.get(a)])

    def on_observed(self) -> None:
        """End the tasks whose EIP was read back from the kernel as wanted."""
        self._book.tasks.judge(self.records.get, self._view, self.clocks().wall_s)

    def on_read_back(self, at_most: int = JUDGED_AT_ONCE) -> None:
        """Do the same at once after one transaction, where it costs little: who waits for a task waits for this."""
        if self._book.tasks.running <= at_most:
            self.on_observed()

    def on_refused(self, address: Address, detail: str | None) -> None:
        """Take in that the kernel refuses an EIP, or (None) no longer does."""
        if detail is None:
            self._errors.pop(address, None)
        else:
            self._errors[address] = detail
            self._book.tasks.refused(address, detail, self.clocks().wall_s)

    def _view(self, address: Address) -> EipView | None:
        return self._plane.view(address, self._observed())

    def show(self, name: str) -> Shown | None:
        """Return the EIP with an id or address as it is."""
        eip = self.records.find(name)
        if eip is None:
            return None
        view = self._view(eip.address) or accepted(eip, EipStatus.CREATING)
        return self._shown(replace(view, eip=eip))

    def _shown(self, view: EipView) -> Shown:
        eip = view.eip
        notes = [str(refusal) for refusal in of_breaches(problems_of(eip, self._facts))]
        if self.records.hidden(eip.address):
            notes.append("an EIP of the store has this address too; this one, of the file, hides it")
        if (error := self._errors.get(eip.address)) is not None:
            view = replace(view, eip=replace(eip, last_error=error))
        prefixes = (prefix for prefix in self.config.prefixes if eip.address in prefix)
        return Shown(view, max(prefixes, key=lambda prefix: prefix.prefixlen, default=None), tuple(notes))

    def tasks(self) -> Sequence[Task]:
        """Return the tasks that are remembered, newest first."""
        return self._book.tasks.newest_first()

    def task(self, task: TaskId) -> Task | None:
        """Return one task."""
        return self._book.tasks.get(task)

    async def finished(self, task: TaskId, within_s: float) -> Task | None:
        """Return a task when it has ended, or as it is after `within_s`."""
        return await self._book.tasks.finished(task, within_s)

    def quotas(self) -> tuple[Quota, ...]:
        """Return what is limited."""
        limits = self.config.eip
        return (
            Quota("eips", len(self.records), limits.max_eips),
            Quota("targets_of_an_eip", None, limits.max_targets),
        )

    async def change(self, request: Request) -> Done | Refused:
        """Do what is asked, or say every rule that it breaks; an accepted change is in the store."""
        return await self._unbroken(self._change(request))

    async def dial(self, request: DialRequest) -> Dialed | Refused:
        """Set a region's dial; an accepted change is in the store."""
        return await self._unbroken(self._dial(request))

    async def _unbroken(self, work: Coroutine[object, object, T]) -> T:
        """Go on to the end although who asked goes away: a commit without its consequences would be half a change."""
        task = asyncio.get_running_loop().create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Wait for the changes under way, then let go of the store."""
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._store.close()

    async def _change(self, request: Request) -> Done | Refused:
        async with self._writing:
            if not self.loaded:
                return self._not_now()
            if why := self.frozen():
                return refused(Code.FROZEN, 409, why)
            answer = None if request.key is None or request.dry_run else self._book.answers.get(request.key)
            if answer is not None:
                return self._replayed(request, answer)
            stamp = Stamp(self.clocks().wall_s, EipId(f"eip-{secrets.token_hex(4)}"))
            planned = plan(request.command, World(self.records, self.config, self._facts), stamp, request.expected)
            if isinstance(planned, Refused):
                return planned
            if request.dry_run:
                status = status_when_accepted(planned.after, request.command.verb)
                return Done(self._shown(accepted(planned.after, status)), None, planned.changes)
            if not planned.changes and request.key is None:
                return self._unchanged(planned.after)
            return await self._store_change(request, planned)

    def _not_now(self) -> Refused:
        return refused(
            Code.STORE,
            503,
            f"{self._store.where} could not be read yet, so nothing can be changed: anycastd status says why",
        )

    def _replayed(self, request: Request, answer: codec.AnyAnswer) -> Done | Refused:
        if answer.request != request.digest or not isinstance(answer, codec.Answer):
            return key_reused(request.key)
        return Done(self._shown(accepted(answer.eip, answer.status)), answer.task, answer.changes, replayed=True)

    def _unchanged(self, eip: Eip) -> Done:
        return Done(self.show(str(eip.address)) or self._shown(accepted(eip, EipStatus.CREATING)), None)

    async def _store_change(self, request: Request, planned: Planned) -> Done | Refused:
        """Commit a change with its task and its answer, then let the plane have it."""
        after, key, now_unix_s = planned.after, codec.key_of(planned.after.address), self.clocks().wall_s
        verb, tasks = request.command.verb, self._book.tasks
        status = status_when_accepted(after, verb)
        task = begun(TaskId(f"task-{secrets.token_hex(6)}"), verb, after) if planned.changes else None
        # a commit may have so many writes; the others go with the next
        ends, writes = dict(islice(tasks.unsaved.items(), self._store.max_writes // 2)), list[Write]()
        if task is not None:
            overtaken = tasks.overtaken(after.id, after.generation, now_unix_s)
            ends |= {end.id: end for end in overtaken[: self._store.max_writes // 4]}
            writes += [Write(key, codec.encode_eip(after)), write_of(task)]
        answer = codec.Answer(request.digest, now_unix_s, status, after, task, planned.changes)
        if request.key is not None:
            writes.append(Write(codec.answer_key(request.key, answer), codec.encode_answer(answer)))
        refusal = await self._book.commit([*writes, *map(write_of, ends.values())], [key])
        if refusal is not None:
            return refusal
        self._book.saved(ends.values())
        if request.key is not None:
            self._book.answers[request.key] = answer
        if task is None:
            return self._unchanged(after)
        tasks.put(task)
        self.records.put(after)
        self.on_changed(after, planned.changes)
        self._errors.pop(after.address, None)
        self._apply_all([after.address])
        return Done(self._shown(accepted(after, status)), task, planned.changes)

    async def _dial(self, request: DialRequest) -> Dialed | Refused:
        async with self._writing:
            if not self.loaded:
                return self._not_now()
            if why := self.frozen():
                return refused(Code.FROZEN, 409, why)
            before = self.dials
            outcome = await set_dial(self._book, self.config, request, self.clocks().wall_s)
            if self.dials != before:
                self._plane.set_dials(self.dials, self.clocks().now_s)
                self._act()
            return outcome

    async def tick(self) -> None:
        """Do what has time: read a store that could not be read, purge what was kept long enough, tidy up."""
        if self.loaded or await self._load():
            # watched at each tick, also while nothing is old enough
            if self._clock.is_steady(clocks := self.clocks()):
                async with self._writing:
                    gone = await self._book.purge(self.config.eip.keep_released_s, clocks.wall_s)
                    if gone:
                        self._apply_all(gone)
            try:
                await self._store.tidy()
            except StoreUnavailable as error:
                self._complain(self._store.where, str(error))
            else:
                self._complain(self._store.where, None)
        if self._review_due:
            self._review_due = False
            await self._review()

    async def _review(self) -> None:
        """Tell which stored EIPs the configuration does not allow any more, or hides."""
        wrong, first = 0, ""
        for number, eip in enumerate(list(self.records.stored.values())):
            if number % BITE == 0:
                await asyncio.sleep(0)
            hidden = "hidden by the file's EIP" if self.records.hidden(eip.address) else ""
            breaches = of_breaches(problems_of(eip, self._facts)) if eip.released_unix_s is None else ()
            if hidden or breaches:
                wrong += 1
                first = first or f"{eip.address}: {hidden or breaches[0]}"
        self._complain("eips", f"{wrong} of the store are not as the file allows: {first}" if wrong else None)

    async def follow(self) -> None:
        """Take over what others commit to the store, for ever."""
        while True:
            try:
                if self.loaded:
                    async for batch in self._store.watch(codec.ROOT, self._book.revision):
                        async with self._writing:
                            news = self._book.adopt(batch)
                            if news.dials:
                                self._plane.set_dials(self.dials, self.clocks().now_s)
                            if news.addresses or news.dials:
                                self._apply_all(news.addresses)
            except Compacted:
                await self._load()
            except StoreUnavailable as error:
                self._complain(self._store.where, str(error))
            await asyncio.sleep(AGAIN_AFTER_S)
