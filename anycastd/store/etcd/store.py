"""The `Store` port on an etcd that the fleet shares. What was applied is on this POP's disk, and stands without it.

A start uses what is kept, whether or not a member answers; the watch then brings what happened meanwhile. Contents
that look lost or foreign (`trust.py`) are not applied until an operator accepts them. No heartbeat of ours on the
watch for `stale_after` = the member is stale: the next one is asked. Nothing of this ever unbinds an EIP.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from importlib import import_module
from math import ceil
from pathlib import Path
from typing import Any, TypeVar, cast

from anycastd.model.store import StoreConfig
from anycastd.store.etcd import trust, wire
from anycastd.store.etcd.kept import Kept, KeptFile, NotKept
from anycastd.store.etcd.members import Freshness
from anycastd.store.etcd.pen import Pen, WentBack
from anycastd.store.port import ABSENT, Compacted, Item, Snapshot, StoreUnavailable, Write

PAGE = 500
"""Keys read at once: more would hold the event loop for longer than 5 ms."""
BEAT_KEPT_EACH = 20
"""Heartbeats after which one is noted on disk, beside those that are with a change."""
WORKED_S = 5.0
NAME, KEPT = "pop name", "kept"
T = TypeVar("T")


class EtcdStore:
    """Implements `store.port.Store`. `carries` says of a key and its text whether it is a bound EIP."""

    max_writes = 100
    """etcd takes 128 operations in a transaction, unless it is told otherwise."""

    def __init__(
        self,
        config: StoreConfig,
        pop: str,
        path: Path,
        *,
        carries: Callable[[str, str], bool],
        complain: Callable[[str, str | None], None],
    ) -> None:
        self._config, self.pop, self._carries, self._complain = config, pop, carries, complain
        self._data, self._fleet = f"{config.prefix}/data", f"{config.prefix}/fleet"
        self._beat_key = f"{config.prefix}/beats/{pop}"
        self._file = KeptFile(path)
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kept")
        self._pen = Pen(self._beat_key, lambda detail: complain(NAME, detail))
        self._known = trust.Known("", 0)
        self._bound: set[str] = set()
        self._history_doubt = self._contents_doubt = self._trouble = ""
        self._is_read = self._accepted = self._closed = False
        self._making, self._made = asyncio.Lock(), cast(Any, None)
        self._lease, self._beats = "", 0
        self._owed: Kept | None = None
        """A snapshot that the disk did not take: nothing is kept before it, for a later revision would stand for it."""
        self._unsaved: dict[str, Item] = {}
        self._facts: dict[str, int] = {}
        self._saving: asyncio.Task[None] | None = None
        self._seen: deque[tuple[float, int]] = deque()

    @property
    def where(self) -> str:
        """Return the members."""
        return f"etcd {', '.join(self._config.endpoints)}"

    @property
    def heartbeat_s(self) -> float:
        """Return how often `beat` is to be called."""
        return self._config.heartbeat_s

    @property
    def held(self) -> str:
        """Return why what the store holds is not applied; "" = it is."""
        doubt = self._history_doubt or self._contents_doubt
        return f"{doubt}; nothing is applied or changed until: anycastd fleet accept" if doubt else ""

    @property
    def trouble(self) -> str:
        """Return why the store cannot be used now; "" = it can."""
        return self.held or self._trouble

    @property
    def known(self) -> trust.Known:
        """Return what is known of the store."""
        return replace(self._known, bound=len(self._bound))

    @property
    def member(self) -> str:
        """Return the member that is asked; "" before the first."""
        return str(self._made.members.present) if self._made is not None else ""

    async def open_gateway(self) -> Any:
        """Return who asks the members, for what is beside the port: beacons."""
        return await self._gateway()

    async def _gateway(self) -> Any:
        async with self._making:
            if self._made is None:
                # here, so that only who has an etcd pays for aiohttp, and in a thread, so that no start waits for it
                http = await asyncio.to_thread(import_module, "anycastd.store.etcd.http")
                self._made = http.Gateway(self._config)
                self._made.cluster = self._known.cluster
            return self._made

    async def _on_disk(self, work: Callable[[], T], failed: T) -> T:
        """Do it in the thread of the disk; what fails is complained of, and kept from nothing else."""
        try:
            done = await asyncio.get_running_loop().run_in_executor(self._disk, work)
        except NotKept as error:
            self._complain(KEPT, str(error))
            return failed
        self._complain(KEPT, None)
        return done

    def _keep(self, items: Mapping[str, Item], facts: Mapping[str, int]) -> None:
        """Have it on disk soon: who binds waits for the kernel, not for this disk; many changes go at once."""
        for key, item in items.items():
            if key not in self._unsaved or item.revision >= self._unsaved[key].revision:
                self._unsaved[key] = item
        self._facts |= facts
        self._begin_saving()

    def _begin_saving(self) -> asyncio.Task[None]:
        if self._saving is None or self._saving.done():
            self._saving = asyncio.get_running_loop().create_task(self._save())
        return self._saving

    async def _save(self) -> None:
        """Have on disk what waits for it; what it does not take goes with the next change, or heartbeat."""
        while self._owed is not None or self._facts:
            if (owed := self._owed) is not None:
                if not await self._is_kept(partial(self._file.replace, owed)):
                    return
                self._owed = None if self._owed is owed else self._owed
                continue
            items, facts = self._unsaved, self._facts
            self._unsaved, self._facts = {}, {}
            if not await self._is_kept(partial(self._file.change, items, facts)):
                self._unsaved, self._facts = items | self._unsaved, facts | self._facts
                return

    async def _is_kept(self, work: Callable[[], None]) -> bool:
        def done() -> bool:
            work()
            return True

        return await self._on_disk(done, failed=False)

    async def snapshot(self, prefix: str) -> Snapshot:
        """Return every key that begins with `prefix`: first what is kept of an earlier life, then what is there."""
        if not self._is_read:
            kept = await self._on_disk(self._file.read, None)
            # one that cannot be read now is tried again, while the store is away
            self._is_read = kept is not None
            if kept is not None and kept.cluster:
                self._adopt(kept)
                return _below(prefix, Snapshot(kept.revision, kept.items))
        return _below(prefix, await self._fresh())

    def _adopt(self, kept: Kept) -> None:
        self._known = trust.Known(kept.cluster, max(kept.revision, kept.beat), kept.beat)
        self._pen.revision = kept.beat
        self._bound = {key for key, item in kept.items.items() if self._carries(key, item.value or "")}

    async def _fresh(self) -> Snapshot:
        """Read everything at one revision; StoreUnavailable if it cannot be had, or is not to be applied."""
        gateway = await self._gateway()
        if self._accepted:
            gateway.cluster = ""
        # as it was before: a heartbeat may be written while this is read
        known = self.known
        beat, header, items = await self._read(gateway)
        bound = {key for key, item in items.items() if self._carries(key, item.value or "")}
        if not self._accepted:
            self._history_doubt = trust.history_doubt(known, header.cluster, header.revision, beat)
            self._contents_doubt = trust.contents_doubt(known, len(bound))
        if self.held and not self._accepted:
            raise StoreUnavailable(self.held)
        gateway.cluster = header.cluster
        kept = Kept(header.cluster, header.revision, beat, items)
        self._unsaved, self._facts, self._owed = {}, {}, kept
        # not cancelled with us: what it has in hand would be lost
        await asyncio.wait([self._begin_saving()])
        self._is_read = True
        self._adopt(kept)
        self._history_doubt = self._contents_doubt = self._trouble = ""
        self._accepted = False
        return Snapshot(kept.revision, items)

    async def _read(self, gateway: Any) -> tuple[int, wire.Header, dict[str, Item]]:
        """Return our heartbeat's revision, who answered as of which revision, and every key without our root."""
        items: dict[str, Item] = {}
        try:
            body = await gateway.call("/kv/range", wire.single(self._beat_key))
            beat = max((item.revision for item in wire.items_of(body).values()), default=0)
            last, first = "", None
            while first is None or body.get("more"):
                revision = first.revision if first else 0
                body = await gateway.call("/kv/range", wire.page(f"{self._data}/", last, PAGE, revision))
                first = first or wire.header_of(body)
                for last, item in wire.items_of(body).items():
                    items[last.removeprefix(self._data)] = item
        except Compacted as error:
            raise StoreUnavailable(str(error)) from error
        except StoreUnavailable as error:
            raise self._unavailable(gateway, error) from error
        return beat, first, items

    def _unavailable(self, gateway: Any, error: StoreUnavailable) -> StoreUnavailable:
        """Note why the store cannot be used, and return what says so."""
        self._trouble = str(error)
        self._history_doubt = ""
        if gateway.foreign:
            self._history_doubt = trust.history_doubt(self._known, gateway.foreign, self._known.revision, 0)
        return StoreUnavailable(self.trouble)

    def accept(self) -> str:
        """Let what the store holds be applied although it looks lost or foreign; return what was held ("": nothing)."""
        held = self.held
        self._accepted = bool(held)
        return held

    async def dump(self, *, here: bool) -> Kept:
        """Return everything with where it is of: from the store as it is, or `here`: what this POP has applied."""
        if here:
            kept = await self._on_disk(self._file.read, None)
            if kept is None:
                message = f"{self._file.path} cannot be read"
                raise StoreUnavailable(message)
            return kept
        beat, header, items = await self._read(await self._gateway())
        return Kept(header.cluster, header.revision, beat, items)

    async def overwrite(self, items: Mapping[str, str], *, last: bool, dry_run: bool) -> tuple[int, int]:
        """Have these keys in the store with these texts, whatever is held; return how many were missing, and differed.

        Keys that are not named stay. With the `last` of them, what is in the store then is applied.
        """
        gateway, was_held = await self._gateway(), bool(self.held)
        if was_held:
            gateway.cluster = ""
        beat, _, there = await self._read(gateway)
        differ = [key for key, text in items.items() if there.get(key, Item(None, 0)).value != text]
        missing = sum(key not in there for key in differ)
        if dry_run:
            return missing, len(differ) - missing
        if was_held:
            self._pen.revision = beat
        for first in range(0, len(differ), self.max_writes):
            keys = differ[first : first + self.max_writes]
            expected = {self._data + key: there[key].revision if key in there else 0 for key in keys}
            await self._write([wire.put(self._data + key, items[key]) for key in keys], expected)
        if last and was_held:
            self._accepted = True
        return missing, len(differ) - missing

    async def commit(self, writes: Sequence[Write], expected: Mapping[str, int]) -> int:
        """Do all writes or none and return the new revision; Conflict when a key is not at its expected revision."""
        revision = await self._commit(self._data, writes, expected)
        # later writes of a key win, as they do in the file's store
        items = {write.key: Item(write.value, revision) for write in writes}
        self._count(items)
        self._keep(items, {"beat": revision})
        return revision

    async def _commit(self, root: str, writes: Sequence[Write], expected: Mapping[str, int]) -> int:
        if self.held:
            raise StoreUnavailable(self.held)
        last = {write.key: Write(root + write.key, write.value) for write in writes}
        compared = {root + key: revision for key, revision in expected.items()}
        return await self._write([wire.operation(write) for write in last.values()], compared)

    async def _write(
        self, operations: Sequence[wire.Json], expected: Mapping[str, int], within_s: float | None = None
    ) -> int:
        gateway = await self._gateway()
        try:
            revision = await self._pen.commit(gateway, operations, expected, within_s)
        except WentBack as error:
            self._history_doubt = trust.history_doubt(
                self._known, self._known.cluster, self._known.revision, error.found
            )
            raise StoreUnavailable(self.held) from error
        except StoreUnavailable as error:
            if getattr(error, "unknown", False):
                message = (
                    f"{error}: no member confirmed it, so it counts as refused; was it done nevertheless, it shows as "
                    "soon as the store answers"
                )
                raise StoreUnavailable(message) from error
            raise
        self._known = replace(self._known, revision=max(self._known.revision, revision), beat=revision)
        return revision

    async def watch(self, prefix: str, after_revision: int) -> AsyncIterator[Snapshot]:
        """Yield what changed after a revision; goes on at another member when one fails, falls silent or is stale.

        StoreUnavailable only after every member failed in a row, or when something is not to be applied.
        """
        failures = 0
        while True:
            if self._accepted:
                message = "what the store holds was accepted"
                raise Compacted(message)
            gateway, begun_s = await self._gateway(), self._now_s()
            member = gateway.members.choose(begun_s)
            try:
                async with aclosing(self._stream(gateway, member, after_revision)) as stream:
                    async for batch in stream:
                        after_revision = max(after_revision, batch.revision)
                        if batch.items:
                            yield _below(prefix, batch)
            except Compacted:
                raise
            except StoreUnavailable as error:
                gateway.members.failed(member, self._now_s())
                # one that was told something for a while has worked; one that only began has not
                failures = failures + 1 if self._now_s() - begun_s < WORKED_S else 1
                if self.held or failures >= len(gateway.members):
                    raise self._unavailable_unless_held(gateway, error) from error

    def _unavailable_unless_held(self, gateway: Any, error: StoreUnavailable) -> StoreUnavailable:
        return StoreUnavailable(self.held) if self.held else self._unavailable(gateway, error)

    async def _stream(self, gateway: Any, member: str, after_revision: int) -> AsyncGenerator[Snapshot, None]:
        """Yield what one member tells, first an empty batch once it is known to be of our history."""
        await self._verify(gateway, member)
        fresh = Freshness(self._config.stale_after_s)
        fresh.seen(self._now_s())
        body = wire.watches(f"{self._data}/", after_revision, self._beat_key)
        async with gateway.stream(member, body) as lines:
            while True:
                try:
                    async with asyncio.timeout(max(fresh.left_s(self._now_s()), 0)):
                        told = wire.told(await anext(lines))
                except TimeoutError as error:
                    silent = f"{member}: our own heartbeat was not seen for {self._config.stale_after_s:g} s"
                    raise StoreUnavailable(silent) from error
                except (ValueError, KeyError, TypeError) as error:
                    message = f"{member}: {error!r}"
                    raise StoreUnavailable(message) from error
                gateway.check_cluster(member, told.header.cluster)
                if told.compacted:
                    message = f"{member} does not know any more what was at revision {after_revision}"
                    raise Compacted(message)
                if told.canceled:
                    message = f"{member} ended the watch: {told.canceled}"
                    raise StoreUnavailable(message)
                if told.watch == wire.BEAT and told.changes:
                    fresh.seen(self._now_s())
                    gateway.members.worked(member)
                    self._trouble = ""
                yield await self._taken(told) if told.watch == wire.DATA else Snapshot(after_revision)

    async def _verify(self, gateway: Any, member: str) -> None:
        """Ask a member, by way of its leader, for our heartbeat: whether its history is the one we know."""
        known = self._known
        answer = await gateway.call_at(member, "/kv/range", wire.single(self._beat_key), self._config.attempt_s)
        header = wire.header_of(answer)
        beat = max((item.revision for item in wire.items_of(answer).values()), default=0)
        self._history_doubt = trust.history_doubt(known, header.cluster, header.revision, beat)
        if self.held:
            raise StoreUnavailable(self.held)

    async def _taken(self, told: wire.Told) -> Snapshot:
        """Return changes to be applied; StoreUnavailable if they are not to be."""
        items = {key.removeprefix(self._data): item for key, item in told.changes.items()}
        removed = sum(item.value is None and key in self._bound for key, item in items.items())
        self._contents_doubt = trust.removal_doubt(len(self._bound), removed)
        if self.held:
            raise StoreUnavailable(self.held)
        revision = told.revision
        if items:
            self._count(items)
            self._known = replace(self._known, revision=max(self._known.revision, revision))
            self._keep(items, {"revision": revision, "beat": self._known.beat})
        return Snapshot(revision, items)

    def _count(self, items: Mapping[str, Item]) -> None:
        for key, item in items.items():
            if item.value is not None and self._carries(key, item.value):
                self._bound.add(key)
            else:
                self._bound.discard(key)

    async def beat(self, summary: str) -> None:
        """Write our heartbeat, and what this POP says of itself, gone when it says nothing for `presence`."""
        if self._history_doubt:
            raise StoreUnavailable(self.held)
        gateway = await self._gateway()
        within_s = self._config.heartbeat_s
        if self._lease:
            answer = await gateway.call("/lease/keepalive", {"ID": self._lease}, within_s)
            self._lease = self._lease if int(answer.get("TTL", 0)) > 0 else ""
        if not self._lease:
            ttl = str(ceil(self._config.presence_s))
            self._lease = str((await gateway.call("/lease/grant", {"TTL": ttl}, within_s))["ID"])
        lease, self._lease = self._lease, ""
        presence = wire.put(f"{self._fleet}/pops/{self.pop}", summary, lease)
        revision = await self._write([presence], {}, within_s)
        # only now: one that etcd does not know any more is never tried again
        self._lease = lease
        self._beats += 1
        if self._config.compact_after_s:
            self._seen.append((self._now_s(), revision))
        if self._beats % BEAT_KEPT_EACH == 1 and self._known.cluster:
            self._keep({}, {"beat": revision})

    async def fleet(self, prefix: str) -> Snapshot:
        """Return what the fleet's POPs tell each other: keys below `prefix`, as a majority has them now."""
        gateway = await self._gateway()
        body = await gateway.call("/kv/range", wire.page(self._fleet + prefix, "", 10 * PAGE, 0))
        found = {key.removeprefix(self._fleet): item for key, item in wire.items_of(body).items()}
        return Snapshot(wire.header_of(body).revision, found)

    async def commit_fleet(self, writes: Sequence[Write], expected: Mapping[str, int]) -> int:
        """Do the same as `commit` for what POPs tell each other."""
        return await self._commit(self._fleet, writes, expected)

    async def claim(self, keys: Collection[str], text: str, for_s: float) -> None:
        """Write keys of the fleet that are not there, all or none; etcd deletes them after a time.

        Conflict names one that is there. By etcd's clock, which a new leader begins anew: they may stay for longer.
        """
        if self.held:
            raise StoreUnavailable(self.held)
        gateway = await self._gateway()
        lease = str((await gateway.call("/lease/grant", {"TTL": str(ceil(for_s))}))["ID"])
        names = [self._fleet + key for key in keys]
        await self._write([wire.put(name, text, lease) for name in names], dict.fromkeys(names, ABSENT))

    async def tidy(self) -> None:
        """Say what is wrong, and let etcd forget what is older than `compact_after`: it keeps all history else."""
        if self.trouble:
            raise StoreUnavailable(self.trouble)
        if not self._config.compact_after_s:
            return
        old = 0
        while self._seen and self._seen[0][0] <= self._now_s() - self._config.compact_after_s:
            old = self._seen.popleft()[1]
        if old:
            gateway = await self._gateway()
            try:
                await gateway.call("/kv/compaction", {"revision": str(old)})
            except Compacted:
                # another POP was first
                return

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()

    async def close(self) -> None:
        """Let go of connections and file."""
        if self._closed:
            return
        self._closed = True
        if self._made is not None:
            await self._made.close()
        if self._saving is not None:
            await self._saving
        await self._save()
        await asyncio.get_running_loop().run_in_executor(self._disk, self._file.close)
        self._disk.shutdown(wait=False)


def _below(prefix: str, snapshot: Snapshot) -> Snapshot:
    if prefix == "/":
        return snapshot
    found = {key: item for key, item in snapshot.items.items() if key.startswith(prefix)}
    return Snapshot(snapshot.revision, found)
