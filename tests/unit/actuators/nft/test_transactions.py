"""A transaction that the kernel refuses as a whole, which a lab cannot bring about: who is to blame is found."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import pytest

from anycastd.actuators.nft import wire
from anycastd.actuators.nft.channel import Channel, Refusal
from anycastd.actuators.nft.picture import Picture
from anycastd.actuators.nft.refusals import Refusals
from anycastd.actuators.nft.thread import KernelThread
from anycastd.actuators.nft.transactions import Transactions
from anycastd.errors import ActuatorTransient
from anycastd.model.nft import NftChange, NftSet, PutElement

T = TypeVar("T")


class Kernel:
    """Holds one set, and refuses transactions that have a bad element without saying which."""

    def __init__(self, bad: int, code: int) -> None:
        self.bad, self.code = bad.to_bytes(4, sys.byteorder), code
        self.held: dict[bytes, bytes] = {}
        self.transactions = 0

    async def ask(self, job: Callable[[Channel], T]) -> T:
        return job(cast("Channel", self))

    def transact(self, messages: Sequence[bytes]) -> list[Refusal]:
        self.transactions += 1
        new: dict[bytes, bytes] = {}
        for message in messages:
            for rows in wire.ElementReader().values(message):
                new |= {key: message for key, _, _ in rows}
        if self.bad in new:
            return [Refusal(-1, self.code)]
        self.held |= new
        return []

    def get(self, table: str, name: NftSet, keys: Sequence[bytes]) -> list[bytes]:
        del table, name
        return [self.held[key] for key in keys if key in self.held]


def made(kernel: Kernel) -> tuple[Transactions, Picture, list[tuple[str, str | None]]]:
    told: list[tuple[str, str | None]] = []
    picture = Picture()
    refusals = Refusals(lambda subject, detail: told.append((subject, detail)))
    return Transactions(cast("KernelThread", kernel), "t", picture, refusals, lambda: None), picture, told


CHANGES: list[NftChange] = [PutElement(NftSet.POOL, number, 7) for number in range(1, 101)]


async def test_the_one_to_blame_is_found_by_halves() -> None:
    kernel = Kernel(42, errno.ENFILE)
    transactions, picture, told = made(kernel)
    assert await transactions.run(CHANGES)
    assert picture.size(NftSet.POOL) == 99
    assert [subject for subject, _ in told] == ["pool 0x2a"]
    assert kernel.transactions < 20


async def test_what_is_refused_to_whoever_asks_is_not_looked_into() -> None:
    kernel = Kernel(42, errno.EPERM)
    transactions, picture, told = made(kernel)
    with pytest.raises(ActuatorTransient, match="not permitted"):
        await transactions.run(CHANGES)
    assert (picture.size(NftSet.POOL), told, kernel.transactions) == (0, [], 1)
