"""An etcd of three members in virtual time, behind the real store: cut off, without a majority, with lost answers.

It does what the JSON gateway was seen to do (`tests/lab/test_etcd.py` runs the real one); what it gives and takes are
the gateway's own bodies.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from anycastd.simulation.clock import VirtualLoop
from anycastd.store.etcd import wire
from anycastd.store.etcd.members import Members
from anycastd.store.port import Compacted, StoreUnavailable

ANSWER_S = 0.004
MEMBERS = ("m1", "m2", "m3")


class InlineLoop(VirtualLoop):
    """Virtual time in which the disk's thread takes none: what it is given is done at once."""

    def run_in_executor(self, executor: object, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        async def done() -> Any:
            return func(*args)

        return self.create_task(done())


class InlineThread:
    """The thread of a state file that takes no time: the virtual clock would run away from a real one."""

    def submit(self, work: Callable[[], Any]) -> Future[Any]:
        """Do it at once."""
        future = Future[Any]()
        try:
            future.set_result(work())
        except OSError as error:
            future.set_exception(error)
        return future

    def shutdown(self, **_: bool) -> None:
        """There is nothing to end."""


class Unreachable(StoreUnavailable):
    """As the gateway's."""

    def __init__(self, message: str, *, unknown: bool) -> None:
        super().__init__(message)
        self.unknown = unknown


class Cluster:
    """Keys with their revisions, who can be reached, and what a majority has agreed on."""

    def __init__(self, random: Random) -> None:
        self.random, self.id, self.revision, self.compacted = random, "7", 1, 0
        self.items: dict[str, tuple[str, int]] = {}
        self.history: list[tuple[int, str, str | None]] = []
        self.cut: set[str] = set()
        self.lost_answers = 0.0
        """How likely an answer is lost after the work was done."""
        self.leases: dict[str, float] = {}
        self.of_lease: dict[str, str] = {}
        self.asked = 0
        self.life = 0
        """Grows when the members begin anew: then every stream ends."""

    @property
    def has_majority(self) -> bool:
        """Return whether two members see each other."""
        return len(self.cut) <= 1

    def snapshot(self) -> tuple[dict[str, tuple[str, int]], int]:
        """Return what an operator's snapshot holds."""
        return dict(self.items), self.revision

    def restore(self, snapshot: tuple[dict[str, tuple[str, int]], int]) -> None:
        """Lose everything since a snapshot; leases are lost with their members."""
        self.items, self.revision = dict(snapshot[0]), snapshot[1]
        self.history, self.leases, self.of_lease, self.compacted = [], {}, {}, 0
        self.life += 1

    def expire(self, now_s: float) -> None:
        """Remove what belongs to leases that were not renewed."""
        for lease, until_s in list(self.leases.items()):
            if until_s <= now_s:
                del self.leases[lease]
                gone = [key for key, of in self.of_lease.items() if of == lease]
                self.apply([(key, None) for key in gone if key in self.items])
                for key in gone:
                    del self.of_lease[key]

    def apply(self, writes: list[tuple[str, str | None]]) -> None:
        """Do a commit."""
        if not writes:
            return
        self.revision += 1
        for key, text in writes:
            if text is None:
                self.items.pop(key, None)
            else:
                self.items[key] = (text, self.revision)
            self.history.append((self.revision, key, text))

    @property
    def header(self) -> wire.Json:
        """Return what stands over each answer."""
        return {"cluster_id": self.id, "revision": str(self.revision)}

    def answer(self, path: str, body: wire.Json, now_s: float) -> wire.Json:
        """Do a request."""
        self.expire(now_s)
        if path == "/kv/range":
            return self._range(body)
        if path == "/kv/txn":
            return self._txn(body)
        if path == "/lease/grant":
            lease = str(len(self.leases) + self.revision * 1000)
            self.leases[lease] = now_s + float(body["TTL"])
            return {"header": self.header, "ID": lease}
        if path == "/lease/keepalive":
            known = body["ID"] in self.leases
            if known:
                self.leases[body["ID"]] = now_s + 10.0
            return {"header": self.header, "ID": body["ID"], **({"TTL": "10"} if known else {})}
        assert path == "/kv/compaction"
        self.compacted = max(self.compacted, int(body["revision"]))
        return {"header": self.header}

    def _range(self, body: wire.Json) -> wire.Json:
        first = wire.decoded(body["key"])
        end = wire.decoded(body["range_end"]) if "range_end" in body else None
        keys = [key for key in sorted(self.items) if (key == first if end is None else first <= key < end)]
        limit = int(body.get("limit", len(keys) or 1))
        return {"header": self.header, "kvs": list(map(self._kv, keys[:limit])), "more": len(keys) > limit}

    def _kv(self, key: str) -> wire.Json:
        text, revision = self.items[key]
        return {"key": wire.encoded(key), "value": wire.encoded(text), "mod_revision": str(revision)}

    def _txn(self, body: wire.Json) -> wire.Json:
        for one in body["compare"]:
            if self.items.get(wire.decoded(one["key"]), ("", 0))[1] != int(one["mod_revision"]):
                keys = [wire.decoded(found["request_range"]["key"]) for found in body["failure"]]
                found = [{"response_range": {"kvs": [self._kv(key)] if key in self.items else []}} for key in keys]
                return {"header": self.header, "responses": found}
        writes: list[tuple[str, str | None]] = []
        for operation in body["success"]:
            put = operation.get("request_put")
            if put is None:
                writes.append((wire.decoded(operation["request_delete_range"]["key"]), None))
                continue
            writes.append((wire.decoded(put["key"]), wire.decoded(put["value"])))
            if "lease" in put:
                self.of_lease[wire.decoded(put["key"])] = put["lease"]
        self.apply(writes)
        return {"header": self.header, "succeeded": True}


class Gateway:
    """Stands where `store.etcd.http.Gateway` does."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self.members = cluster, Members(MEMBERS)
        self.cluster = self.foreign = ""

    async def close(self) -> None:
        """Nothing is open."""

    async def call(self, path: str, body: wire.Json, within_s: float | None = None) -> wire.Json:
        """Ask member after member."""
        loop = asyncio.get_running_loop()
        end_s, unknown = loop.time() + (4.0 if within_s is None else within_s), False
        while loop.time() < end_s:
            member = self.members.choose(loop.time())
            try:
                return await self.call_at(member, path, body, min(1.0, end_s - loop.time()))
            except Unreachable as error:
                unknown = unknown or error.unknown
                self.members.failed(member, loop.time())
        raise Unreachable("no member answers", unknown=unknown)

    async def call_at(self, member: str, path: str, body: wire.Json, within_s: float) -> wire.Json:
        """Ask one member."""
        cluster, loop = self._cluster, asyncio.get_running_loop()
        cluster.asked += 1
        await asyncio.sleep(ANSWER_S)
        if member in cluster.cut or not cluster.has_majority:
            await asyncio.sleep(max(within_s - ANSWER_S, 0))
            raise Unreachable(f"{member}: no answer in time", unknown=False)
        answer = cluster.answer(path, body, loop.time())
        if cluster.random.random() < cluster.lost_answers:
            await asyncio.sleep(max(within_s - ANSWER_S, 0))
            raise Unreachable(f"{member}: no answer in time", unknown=True)
        self.check_cluster(member, answer["header"]["cluster_id"])
        return answer

    def check_cluster(self, member: str, cluster: str) -> None:
        """As the real one."""
        if self.cluster and cluster != self.cluster:
            self.foreign = cluster
            raise Unreachable(f"{member} is of cluster {cluster}", unknown=False)
        self.foreign = ""

    @asynccontextmanager
    async def stream(self, member: str, body: bytes) -> AsyncIterator[AsyncIterator[bytes]]:
        """Give a watch at one member: silent while that is cut off."""
        creates = [json.loads(line)["create_request"] for line in body.splitlines()]
        yield self._told(member, creates)

    async def _told(self, member: str, creates: list[wire.Json]) -> AsyncIterator[bytes]:
        cluster = self._cluster
        at, life = len(cluster.history), cluster.life
        for create in creates:
            yield self._line(create, {"created": True})
            first = int(create.get("start_revision", cluster.revision + 1))
            if first <= cluster.compacted:
                yield self._line(create, {"canceled": True, "compact_revision": str(cluster.compacted)})
            old = [event for event in cluster.history[:at] if event[0] >= first and _is_of(create, event[1])]
            if old:
                yield self._line(create, {"events": list(map(_event, old))})
        while True:
            await asyncio.sleep(ANSWER_S)
            if cluster.life != life:
                raise Unreachable(f"{member}: the stream ended", unknown=False)
            # what a member has not got it cannot tell, and gets when it is back
            if member in cluster.cut or not cluster.has_majority:
                continue
            new, at = cluster.history[at:], len(cluster.history)
            for create in creates:
                mine = [event for event in new if _is_of(create, event[1])]
                if mine:
                    yield self._line(create, {"events": list(map(_event, mine))})

    def _line(self, create: wire.Json, body: wire.Json) -> bytes:
        head = {"header": self._cluster.header, "watch_id": create["watch_id"]}
        return json.dumps({"result": head | body}).encode()


def _is_of(create: wire.Json, key: str) -> bool:
    first = wire.decoded(create["key"])
    return first <= key < wire.decoded(create["range_end"]) if "range_end" in create else key == first


def _event(event: tuple[int, str, str | None]) -> wire.Json:
    revision, key, text = event
    kv = {"key": wire.encoded(key), "mod_revision": str(revision)}
    return {"type": "DELETE", "kv": kv} if text is None else {"kv": kv | {"value": wire.encoded(text)}}


__all__ = ["ANSWER_S", "Cluster", "Compacted", "Gateway", "InlineLoop", "Unreachable"]
