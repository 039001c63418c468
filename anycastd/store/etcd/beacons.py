"""Beacons in the fleet's etcd: a key for each part of each POP, and a watch of its own over all of them.

A beacon says how a POP is, not what it did: nothing is compared when one is written, each watch begins with all that is
there at that moment, and one that an older snapshot brings back is as good as one that is late. So a store that was
restored, or whose other contents are held, carries beacons all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from math import ceil
from typing import Any

from anycastd.store.etcd import wire
from anycastd.store.etcd.members import Freshness
from anycastd.store.etcd.store import EtcdStore
from anycastd.store.port import Compacted, Item, StoreUnavailable

PAGE = 100
HEARTBEATS_KEPT = 4
"""A POP that writes no more for so many heartbeats is gone from the store. Nothing follows from it: who reads it has
its own clock."""
SILENT_HEARTBEATS = 2
"""Our own beacon not seen to come back for so many: the channel is lost, before others look silent because of it."""
Texts = Mapping[tuple[str, str], str | None]
"""Texts by POP and number of the part, as the keys have them; None: deleted."""


class StoredBeacons:
    """The keys of all POPs' beacons; ours is `pop`. Every method raises StoreUnavailable."""

    def __init__(self, store: EtcdStore, root: str, pop: str, attempt_s: float) -> None:
        self._store, self._pop, self._attempt_s = store, pop, attempt_s
        self._root = f"{root}/beacons/"
        self._lease, self._renewed_s = "", 0.0

    def _key(self, number: int) -> str:
        return f"{self._root}{self._pop}/{number}"

    async def put(self, texts: Mapping[int, str], heartbeat_s: float) -> None:
        """Write parts of our beacon, all or none. It may be done twice, or late: no beacon is the worse for that."""
        gateway = await self._store.open_gateway()
        now_s = asyncio.get_running_loop().time()
        try:
            if not self._lease or now_s >= self._renewed_s + heartbeat_s:
                await self._renew(gateway, heartbeat_s, now_s)
            puts = [wire.put(self._key(number), text, self._lease) for number, text in texts.items()]
            await gateway.call("/kv/txn", wire.transaction({}, puts), heartbeat_s)
        except StoreUnavailable:
            # one that etcd does not know any more is never tried again
            self._lease = ""
            raise

    async def _renew(self, gateway: Any, heartbeat_s: float, now_s: float) -> None:
        if self._lease:
            answer = await gateway.call("/lease/keepalive", {"ID": self._lease}, heartbeat_s)
            if int(answer.get("TTL", 0)) <= 0:
                message = "the lease of our beacon ran out: all of it is written anew"
                raise StoreUnavailable(message)
        else:
            ttl = str(max(ceil(HEARTBEATS_KEPT * heartbeat_s), 2))
            self._lease = str((await gateway.call("/lease/grant", {"TTL": ttl}, heartbeat_s))["ID"])
        self._renewed_s = now_s

    async def follow(self, heartbeat_s: float) -> AsyncGenerator[Texts, None]:
        """Yield all texts that are there, then those that change; ends as StoreUnavailable, and never else.

        It ends too when our own head does not come back for SILENT_HEARTBEATS: then the next call asks another member.
        """
        gateway = await self._store.open_gateway()
        loop = asyncio.get_running_loop()
        member = gateway.members.choose(loop.time())
        try:
            revision, texts = await self._read(gateway, member)
            yield texts
            async with aclosing(self._changes(gateway, member, revision, heartbeat_s)) as changes:
                async for texts in changes:
                    yield texts
        except (StoreUnavailable, Compacted, ValueError, KeyError, TypeError) as error:
            gateway.members.failed(member, loop.time())
            raise StoreUnavailable(
                str(error) if isinstance(error, StoreUnavailable) else f"{member}: {error!r}"
            ) from error

    async def _read(self, gateway: Any, member: str) -> tuple[int, Texts]:
        """Return everything as a majority has it, and as of which revision."""
        items: dict[str, Item] = {}
        last, revision, more = "", 0, True
        while more:
            request = wire.page(self._root, last, PAGE, revision)
            body = await gateway.call_at(member, "/kv/range", request, self._attempt_s)
            revision, more = revision or wire.header_of(body).revision, bool(body.get("more"))
            found = wire.items_of(body)
            items |= found
            last, more = max(found, default=last), more and bool(found)
        return revision, self._texts(items)

    async def _changes(
        self, gateway: Any, member: str, revision: int, heartbeat_s: float
    ) -> AsyncGenerator[Texts, None]:
        loop, fresh = asyncio.get_running_loop(), Freshness(SILENT_HEARTBEATS * heartbeat_s)
        fresh.seen(loop.time())
        async with gateway.stream(member, wire.watches(self._root, revision, self._key(0))) as lines:
            while True:
                try:
                    async with asyncio.timeout(max(fresh.left_s(loop.time()), 0)):
                        told = wire.told(await anext(lines))
                except TimeoutError as error:
                    message = f"{member}: our own beacon did not come back for {SILENT_HEARTBEATS * heartbeat_s:g} s"
                    raise StoreUnavailable(message) from error
                gateway.check_cluster(member, told.header.cluster)
                if told.compacted or told.canceled:
                    message = f"{member} ended the watch: {told.canceled or 'compacted'}"
                    raise StoreUnavailable(message)
                if told.watch == wire.BEAT and told.changes:
                    fresh.seen(loop.time())
                elif told.changes:
                    yield self._texts(told.changes)

    def _texts(self, items: Mapping[str, Item]) -> Texts:
        found = {}
        for key, item in items.items():
            pop, _, number = key.removeprefix(self._root).partition("/")
            found[pop, number] = item.value
        return found
