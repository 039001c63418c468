"""The packet filter's table of ours: rules installed and kept, elements changed, and everything read back.

What others do to it is heard of by the generations that the kernel tells; then all is read anew and put right.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Sequence

from anycastd.actuators.nft import codec, conntrack, counting, events, reading, rules
from anycastd.actuators.nft.facts import TableFacts
from anycastd.actuators.nft.picture import Picture
from anycastd.actuators.nft.queue import Queue
from anycastd.actuators.nft.refusals import Refusals
from anycastd.actuators.nft.thread import KernelThread
from anycastd.actuators.nft.transactions import Transactions
from anycastd.errors import ActuatorRejected, ActuatorTransient, PacketError
from anycastd.model.conntrack import ConntrackStats
from anycastd.model.eip import FlushConnections
from anycastd.model.nft import Count, Counters, Key, NftChange, NftObserved, NftSet, NftSettings

log = logging.getLogger(__name__)

RECEIVE_BYTES = 4 << 20
EVENTS_AT_ONCE = 200
AGAIN_AFTER_S = 0.2
AGAIN_AT_MOST_S = 0.8
COST_SHARE = 4.0
"""Verifying what others changed rests this many times as long as it took, within the two limits above."""
RETRY_S = 0.5
FLUSH_AGAIN_AFTER_S = 0.05
RULES = "rules"
"""The subject of a refusal of the rules themselves."""


class NftTable:
    """Implements `runtime.ports.NftPort`. `on_refused` gets a subject with a reason, and with None when it is settled.

    The table stays as it is when this ends: packets are carried without the daemon.
    """

    def __init__(
        self,
        settings: NftSettings,
        *,
        on_change: Callable[[], None],
        on_refused: Callable[[str, str | None], None],
        netns: str | None = None,
        receive_bytes: int = RECEIVE_BYTES,
    ) -> None:
        self._settings, self._on_change, self._receive_bytes = settings, on_change, receive_bytes
        self._thread = KernelThread(netns)
        self._picture = Picture()
        self._queue = Queue()
        self._refusals = Refusals(on_refused)
        self._work, self._doubt = asyncio.Event(), asyncio.Event()
        self._lock = asyncio.Lock()
        self._acting = False
        self._transactions = Transactions(self._thread, settings.table, self._picture, self._refusals, self._doubt.set)
        self._installed: TableFacts | None = None
        self._verified_generation = 0
        self._events: socket.socket | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.reopened = 0
        """How often the event socket was lost."""

    @property
    def observed(self) -> NftObserved:
        """Return what was read back; the same object until something changes."""
        return self._picture.observed

    async def start(self) -> None:
        """Install or adopt the table and read everything; ActuatorTransient or ActuatorRejected if that fails."""
        await self._thread.start()
        await self._open_events()
        await self._install()
        self._verified_generation = await self._thread.ask(reading.generation)
        await self._read_all()
        self._picture.publish(rules=True)
        for name, run in (("apply", self._apply), ("verify", self._verify_when_told)):
            self._tasks.append(asyncio.create_task(run(), name=f"nft:{name}"))

    @property
    def busy(self) -> bool:
        """Return whether something that was taken in is still to be done."""
        return self._acting or bool(self._queue)

    def apply(self, changes: Sequence[NftChange]) -> None:
        """Take changes in, in this order; returns at once, and `observed` shows what was read back after them."""
        if changes:
            self._queue.put(tuple(changes))
            self._work.set()

    def flush(self, flushes: Sequence[FlushConnections]) -> None:
        """Forget connections, after all changes taken in before; tried again until the kernel has answered."""
        if flushes:
            self._queue.flush(flushes)
            self._work.set()

    async def refresh(self) -> None:
        """Read rules and elements anew and put the rules right; ActuatorTransient or ActuatorRejected if that fails."""
        await self._verify()

    async def counters(self) -> Counters:
        """Read every counter; ActuatorTransient if that fails."""
        return await counting.read(self._thread, self._settings.table, self._picture)

    async def conntrack_stats(self) -> ConntrackStats:
        """Read how full the table of tracked connections is; ActuatorTransient if that fails."""
        return await self._thread.ask(conntrack.stats)

    async def set_settings(self, settings: NftSettings) -> None:
        """Render the rules from other settings, and install them if they differ. The table's name cannot change."""
        if settings == self._settings:
            return
        if settings.table != self._settings.table:
            message = "the name of the nft table changes only by a restart"
            raise ActuatorRejected(message)
        self._settings = settings
        await self._install()

    async def purge(self) -> None:
        """Remove the table and nothing else; it is not put back."""
        await self._stop()
        await self._thread.nft(rules.remove(self._settings))

    async def close(self) -> None:
        """End; the table and what is in it stay."""
        await self._stop()
        await self._thread.close()

    async def _stop(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._close_events()

    async def _install(self) -> None:
        """Put the rules as they should be, in one transaction; of a table of another make all elements are kept."""
        async with self._lock:
            table = self._settings.table
            now = await self._thread.ask(lambda channel: reading.table_facts(channel, table))
            strange = now.chains - rules.chains(self._settings).keys()
            known = now.comment in (None, rules.comment(self._settings))
            try:
                if known:
                    await self._thread.nft(rules.install(self._settings, sorted(strange)))
                else:
                    await self._replace()
            except ActuatorRejected:
                if not known or now.comment is None:
                    raise
                # a set, chain or counter of ours stands there as something else
                await self._replace()
            self._installed = await self._thread.ask(lambda channel: reading.table_facts(channel, table))

    async def _replace(self) -> None:
        table = self._settings.table
        contents: list[str] = []
        for name in NftSet:
            found, _ = await reading.read_set(self._thread, table, name)
            counts: dict[Key, Count] = {}
            if name in counting.COUNTED:
                counted = await counting.read_set(self._thread, table, name, self._picture)
                counts = {key: count for key, count in counted.items()}
            words = []
            for raw, value in found.items():
                key = codec.decode_key(name, raw)
                words.append(codec.element_text(name, key, codec.decode_value(name, value), counts.get(key)))
            if words:
                contents.append(f"add element inet {table} {name.value} {{ {', '.join(words)} }}")
        await self._thread.nft(rules.replace(self._settings, contents))

    async def _apply(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            self._acting = True
            while self._queue:
                for _ in self._queue.sort_in():
                    await asyncio.sleep(0)
                part = self._queue.next()
                before = self._picture.observed
                if isinstance(part, FlushConnections):
                    await self._forget(part)
                else:
                    await self._change(part)
                if self._picture.observed is not before:
                    self._on_change()
            self._acting = False

    async def _change(self, changes: Sequence[NftChange]) -> None:
        try:
            async with self._lock:
                if await self._transactions.run(changes):
                    self._picture.publish()
        except (ActuatorTransient, PacketError) as error:
            log.warning("nft changes not made: %s", error)
            self._doubt.set()

    async def _forget(self, what: FlushConnections) -> None:
        """Forget connections; behind what waits if the kernel does not answer, so that nothing is held up."""
        try:
            await self._thread.ask(lambda channel: conntrack.flush(channel, what))
        except (ActuatorTransient, PacketError) as error:
            log.warning("connections not forgotten: %s", error)
            await asyncio.sleep(FLUSH_AGAIN_AFTER_S)
            self._queue.flush([what])

    async def _verify_when_told(self) -> None:
        while True:
            await self._doubt.wait()
            self._doubt.clear()
            begun_s = time.monotonic()
            try:
                await self._verify()
            except (ActuatorTransient, ActuatorRejected, PacketError) as error:
                log.warning("nft not verified: %s", error)
                self._refusals.say(RULES, str(error))
                self._doubt.set()
                await asyncio.sleep(RETRY_S)
            else:
                self._refusals.over(RULES)
            took_s = time.monotonic() - begun_s
            await asyncio.sleep(min(max(AGAIN_AFTER_S, COST_SHARE * took_s), AGAIN_AT_MOST_S))

    async def _verify(self) -> None:
        """Read everything, put the rules right, and tell if anything was not as it was last read."""
        table = self._settings.table
        generation = await self._thread.ask(reading.generation)
        now = await self._thread.ask(lambda channel: reading.table_facts(channel, table))
        if now != self._installed:
            self._picture.publish(rules=False)
            log.warning("nft rules of table %s were changed by another program: put back", table)
            await self._install()
        changed = await self._read_all()
        if changed or not self._picture.observed.rules:
            self._picture.publish(rules=True, resync=changed)
            self._on_change()
        self._verified_generation = generation

    async def _read_all(self) -> bool:
        """Read every set; return whether anything differs from what was read before."""
        changed = False
        table = self._settings.table
        for name in NftSet:
            async with self._lock:
                found, strays = await reading.read_set(self._thread, table, name)
                for one in strays:
                    await self._thread.nft(f"delete element inet {table} {one.set.value} {{ {one.text} }}")
                for _ in self._picture.become(name, found):
                    changed = True
                    await asyncio.sleep(0)
        return changed

    async def _open_events(self) -> None:
        opened = await self._thread.open_events(0, self._receive_bytes)
        opened.setblocking(False)
        events.attach(opened)
        # only now: what came before the filter would have passed
        opened.setsockopt(270, 1, 7)
        self._events = opened
        asyncio.get_running_loop().add_reader(opened.fileno(), self._heard)

    def _close_events(self) -> None:
        if self._events is not None:
            asyncio.get_running_loop().remove_reader(self._events.fileno())
            self._events.close()
            self._events = None

    def _heard(self) -> None:
        """Look at what the kernel told: generations of ours, or of others."""
        if self._events is None:
            return
        try:
            for _ in range(EVENTS_AT_ONCE):
                for one in events.generations(self._events.recv(8192)):
                    ours = one.sender == self._thread.port
                    if not ours and events.is_later(one.number, self._verified_generation):
                        self._doubt.set()
        except BlockingIOError:
            return
        except OSError as error:
            # ENOBUFS: what was lost may have been about us
            log.warning("nft event socket lost: %r", error)
            self.reopened += 1
            self._doubt.set()
            with contextlib.suppress(OSError):
                self._events.recv(8192)
