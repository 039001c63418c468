"""Changes of elements as transactions of the kernel, each read back before anybody is told of it."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from anycastd.actuators.nft import codec, wire
from anycastd.actuators.nft.channel import Channel, Refusal
from anycastd.actuators.nft.layout import LAYOUTS
from anycastd.actuators.nft.picture import BITE, Picture
from anycastd.actuators.nft.reading import datagrams_of, raw_set
from anycastd.actuators.nft.refusals import Refusals
from anycastd.actuators.nft.thread import KernelThread
from anycastd.errors import ActuatorTransient
from anycastd.model.nft import NftChange, NftSet, PutElement

DUMP_FROM = 256
"""So many touched elements of one set, and more than a third of it, are read back by reading the whole set."""


WHOEVER_ASKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN, errno.EINTR})
"""What the kernel says to a whole transaction whatever is in it."""


class _Work(NamedTuple):
    """A change with its bytes; `value` None removes the element. `again`: it was refused once, and read anew."""

    change: NftChange
    key: bytes
    value: bytes | None
    again: bool = False


_Touched = dict[NftSet, dict[bytes, _Work]]


class _Read(NamedTuple):
    """What the kernel told of the touched elements of a set."""

    name: NftSet
    wanted: dict[bytes, _Work]
    datagrams: list[bytes]


class Transactions:
    """Runs transactions one at a time. `doubtful` is told when the kernel is not as it was read."""

    def __init__(
        self, thread: KernelThread, table: str, picture: Picture, refusals: Refusals, doubtful: Callable[[], None]
    ) -> None:
        self._thread, self._table, self._picture = thread, table, picture
        self._refusals, self._doubtful = refusals, doubtful

    async def run(self, changes: Sequence[NftChange]) -> bool:
        """Bring changes about, all in one transaction if none is refused; return whether the picture changed.

        ActuatorTransient when the kernel does not answer: then nothing is known to have happened.
        """
        try:
            return await self._run(await self._encoded(changes))
        finally:
            self._picture.expect({})

    async def _encoded(self, changes: Sequence[NftChange]) -> list[_Work]:
        work: list[_Work] = []
        for count, change in enumerate(changes):
            if count % BITE == BITE - 1:
                await asyncio.sleep(0)
            try:
                key = codec.encode_key(change.set, change.key)
                value = codec.encode_value(change.set, change.value) if isinstance(change, PutElement) else None
                work.append(_Work(change, key, value))
            except codec.UnfitError as error:
                self._refusals.failed(change, str(error))
        return work

    async def _run(self, work: list[_Work]) -> bool:
        changed = False
        while work:
            messages, owners = await self._render(work)
            refused, datagrams = await self._transact(messages, _by_set(work[owner] for owner in dict.fromkeys(owners)))
            if not refused:
                changed = await self._take(datagrams) or changed
                for one in work:
                    self._refusals.settled(one.change)
                return changed
            whole = next((one.code for one in refused if one.place < 0), 0)
            if whole in WHOEVER_ASKS:
                message = f"nft transaction: {os.strerror(whole)}"
                raise ActuatorTransient(message)
            if whole:
                return await self._halves(work, refused) or changed
            news, work = await self._without(work, {owners[one.place]: one for one in refused})
            changed = news or changed
        return changed

    async def _transact(self, messages: Sequence[bytes], touched: _Touched) -> tuple[list[Refusal], list[_Read]]:
        """Run a transaction and read what it touched, if it went through."""

        def job(channel: Channel) -> tuple[list[Refusal], list[_Read]]:
            refused = channel.transact(messages)
            return refused, [] if refused else self._ask(channel, touched)

        if not messages:
            return [], []
        self._picture.expect(touched)
        return await self._thread.ask(job)

    async def _halves(self, work: list[_Work], refused: Sequence[Refusal]) -> bool:
        """The kernel refused the whole and names nobody: find out who it is."""
        if len(work) == 1:
            self._refusals.failed(work[0].change, os.strerror(refused[0].code))
            return await self._read_back(work)
        half = len(work) // 2
        first = await self._run(work[:half])
        return await self._run(work[half:]) or first

    async def _without(self, work: list[_Work], refused: dict[int, Refusal]) -> tuple[bool, list[_Work]]:
        """Return whether reading the refused ones brought news, and what is left to do without them.

        One that the kernel does not hold as we thought has another try.
        """
        before = {owner: self._picture.value(work[owner].change.set, work[owner].key) for owner in refused}
        news = await self._read_back(work[owner] for owner in refused)
        if news or any(one.code == errno.ENOENT for one in refused.values()):
            self._doubtful()
        left: list[_Work] = []
        for owner, one in enumerate(work):
            if owner not in refused:
                left.append(one)
            elif not one.again and self._picture.value(one.change.set, one.key) != before[owner]:
                left.append(one._replace(again=True))
            else:
                self._refusals.failed(one.change, os.strerror(refused[owner].code))
        return news, left

    async def _render(self, work: Sequence[_Work]) -> tuple[list[bytes], list[int]]:
        """Return the messages that make what is not so already, and whose each is."""
        messages: list[bytes] = []
        owners: list[int] = []
        for owner, one in enumerate(work):
            now = self._picture.value(one.change.set, one.key)
            if now == one.value:
                continue
            # an add with another value is taken for done, and changes nothing
            if now is not None:
                messages += self._drops(one.change.set, one.key)
            if one.value is not None:
                messages += self._puts(one.change.set, one.key, one.value)
            owners += [owner] * (len(messages) - len(owners))
            if owner % BITE == BITE - 1:
                await asyncio.sleep(0)
        return messages, owners

    def _puts(self, name: NftSet, key: bytes, value: bytes) -> list[bytes]:
        if not LAYOUTS[name].interval:
            return [wire.encode_put(self._table, name, key, value)]
        start, end = codec.ends(key)
        found = [wire.encode_put(self._table, name, start, value)]
        return found if end is None else [*found, wire.encode_put(self._table, name, end, b"", end=True)]

    def _drops(self, name: NftSet, key: bytes) -> list[bytes]:
        if not LAYOUTS[name].interval:
            return [wire.encode_drop(self._table, name, key)]
        start, end = codec.ends(key)
        found = [wire.encode_drop(self._table, name, start)]
        return found if end is None else [*found, wire.encode_drop(self._table, name, end, end=True)]

    async def _read_back(self, work: Iterable[_Work]) -> bool:
        """Read elements; return whether that brought news."""
        touched = _by_set(work)
        return await self._take(await self._thread.ask(lambda channel: self._ask(channel, touched)))

    def _ask(self, channel: Channel, touched: _Touched) -> list[_Read]:
        found = []
        for name, wanted in touched.items():
            many = len(wanted) >= DUMP_FROM and len(wanted) * 3 > self._picture.size(name)
            if many or LAYOUTS[name].interval:
                datagrams = datagrams_of(channel, self._table, name)
            else:
                datagrams = channel.get(self._table, name, list(wanted))
            found.append(_Read(name, wanted, datagrams))
        return found

    async def _take(self, found: Iterable[_Read]) -> bool:
        changed = False
        for name, wanted, datagrams in found:
            now, _ = await raw_set(name, datagrams)
            for count, (key, one) in enumerate(wanted.items()):
                value = now.get(key)
                asked = one.change if isinstance(one.change, PutElement) and value == one.value else None
                changed = self._picture.take(name, key, value, asked) or changed
                if count % BITE == BITE - 1:
                    await asyncio.sleep(0)
        return changed


def _by_set(work: Iterable[_Work]) -> _Touched:
    touched: _Touched = {}
    for one in work:
        touched.setdefault(one.change.set, {})[one.key] = one
    return touched
