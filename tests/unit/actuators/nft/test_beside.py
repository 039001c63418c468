"""What goes on beside the changes of elements: a whole set is read, connections are forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from typing import TypeVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycastd.actuators.nft import codec, conntrack
from anycastd.actuators.nft.channel import Channel
from anycastd.actuators.nft.forgetting import Forgetting
from anycastd.actuators.nft.picture import Picture
from anycastd.actuators.nft.refusals import Refusals
from anycastd.actuators.nft.thread import KernelThread
from anycastd.errors import ActuatorTransient
from anycastd.model.eip import FlushConnections
from anycastd.model.nft import NftSet, PutElement

T = TypeVar("T")
SET = NftSet.EIP4
ADDRESSES = [IPv4Address("198.51.100.1") + number for number in range(4)]
KEYS = [codec.encode_key(SET, address) for address in ADDRESSES]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.sampled_from(KEYS), st.sampled_from([None, 1, 2])),
        st.tuples(st.sampled_from(["commit", "take", "dump", "step"]), st.none(), st.none()),
    ),
    max_size=40,
)


class _Interleaved:
    """A kernel, one transaction at a time as `Transactions` makes it, and a dump, each at any step of its own."""

    def __init__(self) -> None:
        self.kernel: dict[bytes, bytes] = {}
        self.picture = Picture()
        self.change: tuple[bytes, bytes | None] | None = None
        self.committed = False
        self.dump: Iterator[bool] | dict[bytes, bytes] | None = None

    def begin(self, key: bytes, value: int | None) -> None:
        if self.change is None:
            self.change = (key, None if value is None else codec.encode_value(SET, value))
            self.picture.expect({SET: [key]})

    def commit(self) -> None:
        if self.change is not None and not self.committed:
            key, value = self.change
            self.committed = True
            if value is None:
                self.kernel.pop(key, None)
            else:
                self.kernel[key] = value

    def take(self) -> None:
        if self.change is not None and self.committed:
            self.picture.take(SET, *self.change)
            self.picture.expect({})
            self.change, self.committed = None, False

    def read(self) -> None:
        if self.dump is None:
            self.picture.begin(SET)
            self.dump = dict(self.kernel)

    def step(self) -> None:
        if isinstance(self.dump, dict):
            self.dump = self.picture.become(SET, self.dump)
        if self.dump is not None and next(self.dump, None) is None:
            self.dump = None

    def end(self) -> None:
        self.commit()
        self.take()
        while self.dump is not None:
            self.step()


@given(STEPS)
def test_however_a_reading_and_changes_meet_the_picture_is_the_kernels_at_the_end(
    steps: list[tuple[str, bytes | None, int | None]],
) -> None:
    now = _Interleaved()
    for what, key, value in steps:
        match what:
            case "change":
                assert key is not None
                now.begin(key, value)
            case "commit":
                now.commit()
            case "take":
                now.take()
            case "dump":
                now.read()
            case _:
                now.step()
    now.end()
    assert {key: now.picture.value(SET, key) for key in KEYS} == {key: now.kernel.get(key) for key in KEYS}


class _Slow:
    """A kernel that answers each request to forget when it is let go on; `broken` ones not at all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[FlushConnections] = []
        self.go_on, self.broken = asyncio.Semaphore(0), 0
        self.third = asyncio.Event()
        monkeypatch.setattr(conntrack, "flush", lambda _, what: self.asked.append(what))

    async def ask(self, job: Callable[[Channel], T]) -> T:
        done = job(cast("Channel", self))
        if len(self.asked) == 3:
            self.third.set()
        await self.go_on.acquire()
        if self.broken:
            self.broken -= 1
            message = "no answer"
            raise ActuatorTransient(message)
        return done


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_only_what_may_bring_connections_back_waits_until_they_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel, told = _Slow(monkeypatch), list[tuple[str, str | None]]()
    refusals = Refusals(lambda subject, detail: told.append((subject, detail)))
    forgetting = Forgetting(cast("KernelThread", kernel), refusals)
    running = asyncio.create_task(forgetting.run())
    here, there = (PutElement(SET, address, 3) for address in ADDRESSES[:2])
    pool = PutElement(NftSet.POOL, 3, 7)
    of_address, of_path = FlushConnections(1, address=ADDRESSES[0]), FlushConnections(2)
    forgetting.put(of_address)
    await _settle()
    await asyncio.wait_for(forgetting.clear_of([there, pool]), 1)
    waiting = asyncio.create_task(forgetting.clear_of([here]))
    # while it is being done it is wanted once more: what came since is to be forgotten, too
    forgetting.put(of_address)
    forgetting.put(of_path)
    kernel.go_on.release()
    await _settle()
    assert not waiting.done()
    kernel.go_on.release()
    await _settle()
    assert waiting.done()
    waiting = asyncio.create_task(forgetting.clear_of([pool]))
    await _settle()
    assert not waiting.done()
    assert forgetting
    kernel.go_on.release()
    await asyncio.wait_for(waiting, 1)
    assert kernel.asked == [of_address, of_address, of_path]
    assert not forgetting
    assert told == []
    running.cancel()


async def test_what_the_kernel_does_not_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, told = _Slow(monkeypatch), list[tuple[str, str | None]]()
    refusals = Refusals(lambda subject, detail: told.append((subject, detail)))
    forgetting = Forgetting(cast("KernelThread", kernel), refusals)
    running = asyncio.create_task(forgetting.run())
    kernel.broken = 1
    first, second = FlushConnections(1), FlushConnections(2)
    forgetting.put(first)
    forgetting.put(second)
    for _ in range(3):
        kernel.go_on.release()
    await asyncio.wait_for(kernel.third.wait(), 5)
    assert kernel.asked == [first, second, first]
    await _settle()
    assert told[0] == ("connections", "not forgotten: no answer")
    assert told[-1] == ("connections", None)
    running.cancel()
