"""How a POP writes: once, whatever becomes of the answers."""

from __future__ import annotations

from typing import Any

import pytest

from anycastd.store.etcd import wire
from anycastd.store.etcd.pen import Pen, WentBack
from anycastd.store.port import Conflict, StoreUnavailable, Write

KEY = "/beats/fra"


class Cluster:
    """Transactions as etcd does them. `lose`: so many answers get lost; `delayed`, if a list, keeps requests."""

    def __init__(self) -> None:
        self.revision, self.lose = 1, 0
        self.items: dict[str, tuple[str, int]] = {}
        self.delayed: list[Any] | None = None

    def do(self, body: wire.Json) -> wire.Json:
        wrong = [
            one for one in body["compare"]
            if self.items.get(wire.decoded(one["key"]), ("", 0))[1] != int(one["mod_revision"])
        ]  # fmt: skip
        header = {"cluster_id": "7", "revision": str(self.revision)}
        if wrong:
            keys = [wire.decoded(one["request_range"]["key"]) for one in body["failure"]]
            ranges = [
                {"response_range": {"kvs": [
                    {"key": wire.encoded(key), "value": wire.encoded(self.items[key][0]),
                     "mod_revision": str(self.items[key][1])}] if key in self.items else []}}
                for key in keys
            ]  # fmt: skip
            return {"header": header, "responses": ranges}
        self.revision += 1
        for operation in body["success"]:
            if "request_put" in operation:
                put = operation["request_put"]
                self.items[wire.decoded(put["key"])] = (wire.decoded(put["value"]), self.revision)
            else:
                self.items.pop(wire.decoded(operation["request_delete_range"]["key"]), None)
        return {"header": header | {"revision": str(self.revision)}, "succeeded": True}

    async def call(self, path: str, body: wire.Json, within_s: float | None = None) -> wire.Json:
        """Do a transaction, again as long as its answer is lost, as the members are asked in turn."""
        assert path == "/kv/txn"
        if self.delayed is not None:
            self.delayed.append(body)
            message = "no answer in time"
            raise StoreUnavailable(message)
        while True:
            answer = self.do(body)
            if not self.lose:
                return answer
            self.lose -= 1


class Fleet:
    """A cluster and the pen of one POP."""

    def __init__(self) -> None:
        self.cluster, self.noticed = Cluster(), []  # type: tuple[Cluster, list[str | None]]
        self.pen = Pen(KEY, self.noticed.append)

    async def put(self, key: str, text: str, at: int) -> int:
        return await self.pen.commit(self.cluster, [wire.operation(Write(key, text))], {key: at})


async def test_a_commit_whose_answers_were_lost_is_done_once() -> None:
    fleet = Fleet()
    fleet.cluster.lose = 2
    assert await fleet.put("/k", "v", 0) == 2
    assert fleet.cluster.items["/k"] == ("v", 2)
    assert await fleet.put("/k", "w", 2) == 3


async def test_a_key_that_somebody_changed_is_a_conflict_and_nothing_is_done() -> None:
    fleet = Fleet()
    fleet.cluster.items["/k"] = ("theirs", 1)
    with pytest.raises(Conflict) as told:
        await fleet.put("/k", "v", 0)
    assert (told.value.key, told.value.expected, told.value.found) == ("/k", 0, 1)
    assert fleet.cluster.items == {"/k": ("theirs", 1)}


async def test_a_commit_that_was_refused_for_want_of_an_answer_can_not_be_done_after_our_next_one() -> None:
    fleet = Fleet()
    await fleet.put("/a", "1", 0)
    fleet.cluster.delayed = []
    with pytest.raises(StoreUnavailable):
        await fleet.put("/k", "late", 0)
    (late,), fleet.cluster.delayed = fleet.cluster.delayed, None
    await fleet.put("/k", "next", 0)
    assert "succeeded" not in fleet.cluster.do(late)
    assert fleet.cluster.items["/k"][0] == "next"


async def test_one_that_was_done_after_all_is_found_by_the_next() -> None:
    fleet = Fleet()
    await fleet.put("/a", "1", 0)
    fleet.cluster.delayed = []
    with pytest.raises(StoreUnavailable):
        await fleet.put("/k", "late", 0)
    (late,), fleet.cluster.delayed = fleet.cluster.delayed, None
    fleet.cluster.do(late)
    with pytest.raises(Conflict):
        await fleet.put("/k", "next", 0)
    assert await fleet.put("/b", "2", 0) == fleet.cluster.revision
    assert not any(fleet.noticed)


async def test_a_store_that_went_back_in_time_is_not_written() -> None:
    fleet = Fleet()
    await fleet.put("/a", "1", 0)
    old = dict(fleet.cluster.items)
    await fleet.put("/a", "2", 2)
    fleet.cluster.items = old
    with pytest.raises(WentBack):
        await fleet.pen.commit(fleet.cluster, [], {})
    assert fleet.cluster.items == old


async def test_two_daemons_of_one_name_notice_each_other() -> None:
    fleet = Fleet()
    twin = Pen(KEY, lambda detail: None)
    await fleet.pen.commit(fleet.cluster, [], {})
    # a restart of our own: whoever writes first takes the key over, and says nothing
    await twin.commit(fleet.cluster, [], {})
    await fleet.pen.commit(fleet.cluster, [], {})
    assert any("two POPs have the same name" in (one or "") for one in fleet.noticed)
