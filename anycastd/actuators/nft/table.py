"""The packet filter's table of ours: rules kept, elements changed, and everything read back.

What others do to it is heard of by the generations that the kernel tells; then all is read anew and put right.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping, Sequence

from anycastd.actuators.lasting import Lasting
from anycastd.actuators.nft import conntrack, counting, events, reading
from anycastd.actuators.nft.bites import REST_S
from anycastd.actuators.nft.forgetting import AGAIN_AFTER_S, CONNECTIONS, Forgetting
from anycastd.actuators.nft.keeper import RulesKeeper
from anycastd.actuators.nft.picture import Picture
from anycastd.actuators.nft.queue import Queue
from anycastd.actuators.nft.refusals import Refusals
from anycastd.actuators.nft.thread import KernelThread
from anycastd.actuators.nft.transactions import Transactions
from anycastd.errors import ActuatorRejected, ActuatorTransient, PacketError
from anycastd.model.address import Address
from anycastd.model.conntrack import ConntrackStats
from anycastd.model.eip import FlushConnections
from anycastd.model.nft import Count, Counters, NftChange, NftObserved, NftSet, NftSettings, PopTotals

log = logging.getLogger(__name__)

RECEIVE_BYTES = 4 << 20
EVENTS_AT_ONCE = 200
RULES_AGAIN_S = 0.05
ELEMENTS_AGAIN_S, ELEMENTS_AGAIN_AT_MOST_S = 0.2, 0.8
COST_SHARE = 4.0
"""Reading all elements after a change of others rests this many times as long as it took, within the two limits."""
RETRY_S = 0.5
RULES = "rules"
"""The subject of refusals that are about the rules."""


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
        self._table, self._on_change, self._receive_bytes = settings.table, on_change, receive_bytes
        self._thread = KernelThread(netns)
        # what takes long is read beside the changes, which would wait for it
        self._reader = KernelThread(netns, has_nft=False)
        self._rules = RulesKeeper(self._thread, settings)
        self._picture = Picture()
        self._queue = Queue()
        self._refusals = Refusals(on_refused)
        self._forgetting = Forgetting(self._reader, self._refusals)
        self._work, self._doubt = asyncio.Event(), asyncio.Event()
        self._rules_lock = asyncio.Lock()
        self._acting = self._lost = False
        self._held: list[FlushConnections] = []
        self._transactions = Transactions(self._thread, settings.table, self._picture, self._refusals, self._doubt.set)
        self._verified_generation = self._heard_generation = 0
        self._events: socket.socket | None = None
        self._tasks = Lasting(self._once_more)
        self.overflows = 0
        """How often the event socket lost something, so that all was read anew."""

    @property
    def observed(self) -> NftObserved:
        """Return what was read back; the same object until something changes."""
        return self._picture.observed

    @property
    def busy(self) -> bool:
        """Return whether a change that was taken in is still to be made."""
        return self._acting or bool(self._queue)

    @property
    def is_forgetting(self) -> bool:
        """Return whether connections are still to be forgotten."""
        return bool(self._queue) or bool(self._forgetting)

    async def start(self) -> None:
        """Install or adopt the table and read everything; ActuatorTransient or ActuatorRejected if that fails.

        After a failure it can only be closed.
        """
        await self._thread.start()
        await self._reader.start()
        await self._open_events()
        await self._rules.install()
        await self._rules.sweep()
        self._verified_generation = await self._thread.ask(reading.generation)
        await self._read_all()
        self._picture.publish(rules=True)
        if not events.is_later(self._heard_generation, self._verified_generation):
            # our own installation was heard of
            self._doubt.clear()
        for name, run in (("apply", self._act), ("verify", self._verify_when_told), ("forget", self._forgetting.run)):
            self._tasks.begin(f"nft:{name}", run)

    def _once_more(self) -> None:
        """Have all read anew: a change that a task had in hand when it failed may be lost."""
        self._lost, self._acting = True, False
        self._doubt.set()
        self._work.set()

    def apply(self, changes: Sequence[NftChange]) -> None:
        """Take changes in, in this order; returns at once, and `observed` shows what was read back after them."""
        if changes:
            self._queue.put(tuple(changes))
            self._work.set()

    def flush(self, flushes: Sequence[FlushConnections]) -> None:
        """Forget connections, after all changes taken in before; tried again until the kernel has answered.

        After a change that was lost they wait until all was read again, and the change put again.
        """
        if flushes:
            self._queue.flush(flushes)
            self._work.set()

    def settled(self) -> None:
        """Take in that all elements are as wanted: one that was refused and is wanted no more is refused no more."""
        self._refusals.all_over(but=(RULES, CONNECTIONS))

    async def refresh(self) -> None:
        """Read rules and elements anew and put the rules right; ActuatorTransient or ActuatorRejected if that fails."""
        await self._verify(elements=True, rest_s=REST_S)

    async def filter_counters(self) -> Mapping[str, Count]:
        """Read what blackholes and flow rules dropped, by the names of their counters; ActuatorTransient if not."""
        return await counting.read_filters(self._reader, self._table)

    async def counters(self) -> Counters:
        """Read every counter but those of new connections; ActuatorTransient if that fails."""
        return await counting.read(self._reader, self._table, self._picture)

    async def opened(self) -> Counters:
        """Read how many connections were opened to each EIP; ActuatorTransient if that fails."""
        return await counting.read_opened(self._reader, self._table, self._picture)

    async def counters_of(self, names: Sequence[NftSet], addresses: Sequence[Address]) -> Counters:
        """Read the counters of a few EIPs in some sets; ActuatorTransient if that fails."""
        return await counting.read_some(self._reader, self._table, names, addresses)

    async def totals(self) -> PopTotals:
        """Read the POP's totals, cheap enough for each second; ActuatorTransient if that fails."""
        return await counting.read_totals(self._reader, self._table)

    async def conntrack_stats(self) -> ConntrackStats:
        """Read how full the table of tracked connections is; ActuatorTransient if that fails."""
        return await self._reader.ask(conntrack.stats)

    async def set_settings(self, settings: NftSettings) -> None:
        """Render the rules from other settings and install them if they differ; the table's name cannot change.

        ActuatorRejected if nft refuses them, ActuatorTransient if it does not answer: then they are as before, and may
        be set again.
        """
        if settings.table != self._table:
            message = "the name of the nft table changes only by a restart"
            raise ActuatorRejected(message)
        async with self._rules_lock:
            before = self._rules.settings
            if settings == before:
                return
            self._rules.settings = settings
            try:
                await self._rules.install()
            except (ActuatorRejected, ActuatorTransient):
                self._rules.settings = before
                raise
            if settings.filters != before.filters:
                await self._rules.sweep()

    async def purge(self) -> None:
        """Remove the table and nothing else; it is not put back."""
        await self._stop()
        await self._rules.remove()

    async def close(self) -> None:
        """End; the table and what is in it stay."""
        await self._stop()
        await self._reader.close()
        await self._thread.close()

    async def _stop(self) -> None:
        await self._tasks.stop()
        if self._events is not None:
            asyncio.get_running_loop().remove_reader(self._events.fileno())
            self._events.close()
            self._events = None

    async def _act(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            self._acting = True
            while self._queue:
                for _ in self._queue.sort_in():
                    await asyncio.sleep(0)
                part = self._queue.next()
                if isinstance(part, FlushConnections):
                    if self._lost:
                        # forgotten now, connections would come back to where the lost change no longer wants them
                        self._held.append(part)
                    else:
                        self._forgetting.put(part)
                else:
                    await self._forgetting.clear_of(part)
                    await self._change(part)
            self._acting = False
            # the loop may have kept something back while we were busy
            self._on_change()

    async def _change(self, changes: Sequence[NftChange]) -> None:
        try:
            changed = await self._transactions.run(changes)
            if changed:
                self._picture.publish()
        except (ActuatorTransient, PacketError) as error:
            log.warning("nft changes not made: %s", error)
            self._lost = True
            self._doubt.set()
            return
        if changed:
            self._on_change()

    async def _verify_when_told(self) -> None:
        """Look at the rules at once when there was a foreign transaction, at the elements not more often than is fair.

        A flushed ruleset shows in the rules, so all of it is put right at once.
        """
        loop = asyncio.get_running_loop()
        elements_due_s = loop.time()
        while True:
            await self._doubt.wait()
            self._doubt.clear()
            begun_s = loop.time()
            due = begun_s >= elements_due_s
            try:
                read = await self._verify(elements=due)
            except (ActuatorTransient, ActuatorRejected, PacketError) as error:
                log.warning("nft not verified: %s", error)
                self._refusals.say(RULES, str(error))
                self._doubt.set()
                await asyncio.sleep(RETRY_S)
                continue
            self._refusals.over(RULES)
            if read:
                rest_s = max(ELEMENTS_AGAIN_S, COST_SHARE * (loop.time() - begun_s))
                elements_due_s = loop.time() + min(rest_s, ELEMENTS_AGAIN_AT_MOST_S)
            else:
                loop.call_at(elements_due_s, self._doubt.set)
            await asyncio.sleep(RULES_AGAIN_S)

    async def _verify(self, *, elements: bool, rest_s: float = 0.0) -> bool:
        """Read the rules and, when told or when they are not as they were, the elements; return whether those were.

        Tells if anything was not as it was last read.
        """
        async with self._rules_lock:
            generation = await self._thread.ask(reading.generation)
            stand = await self._rules.stand()
            if not stand:
                log.warning("nft table %s was changed by another program: put back", self._table)
                self._picture.publish(rules=False)
                await self._rules.install()
                generation = await self._thread.ask(reading.generation)
            if stand and not elements:
                return False
            changed = await self._read_all(rest_s if stand else 0.0) or self._lost
            self._lost = False
            self._verified_generation = generation
            if changed or not stand:
                self._picture.publish(rules=True, resync=changed)
                self._on_change()
            if self._held:
                # behind the changes that are put again because of what was just told
                held, self._held = tuple(dict.fromkeys(self._held)), []
                asyncio.get_running_loop().call_later(AGAIN_AFTER_S, self.flush, held)
            return True

    async def _read_all(self, rest_s: float = 0.0) -> bool:
        """Read every set, with rests between the bites; return whether anything differs from what was read before."""
        changed = False
        for name in NftSet:
            self._picture.begin(name)
            found, strays = await reading.read_set(self._reader, self._table, name, rest_s)
            for one in strays:
                changed = True
                await self._thread.nft(f"delete element inet {self._table} {one.set.value} {{ {one.text} }}")
            for _ in self._picture.become(name, found):
                changed = True
                await asyncio.sleep(0)
        return changed

    async def _open_events(self) -> None:
        self._events = await self._thread.open_events(self._receive_bytes)
        asyncio.get_running_loop().add_reader(self._events.fileno(), self._heard)

    def _heard(self) -> None:
        """Look at what the kernel told: transactions of ours, or of others."""
        if self._events is None:
            return
        try:
            for _ in range(EVENTS_AT_ONCE):
                for one in events.generations(self._events.recv(events.READ_BYTES)):
                    ours = one.sender == self._thread.port
                    if not ours and events.is_later(one.number, self._verified_generation):
                        self._heard_generation = one.number
                        self._doubt.set()
        except BlockingIOError:
            return
        except (OSError, PacketError) as error:
            # ENOBUFS: what was lost may have been about us; the socket itself goes on
            log.warning("nft events lost: %r", error)
            self.overflows += 1
            self._doubt.set()
