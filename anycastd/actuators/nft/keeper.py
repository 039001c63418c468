"""Our table and its rules: installed or adopted, and told from what others made of them."""

from __future__ import annotations

import logging

from anycastd.actuators.nft import codec, counting, filters, reading, rules
from anycastd.actuators.nft.facts import TableFacts
from anycastd.actuators.nft.thread import KernelThread
from anycastd.errors import ActuatorRejected
from anycastd.model.nft import Count, Key, NftSet, NftSettings

log = logging.getLogger(__name__)

UNDISTURBED_TRIES = 5
NAMED_AT_MOST = 200
"""Prefixes that the rules name one by one while a table is replaced. Each packet is held against all of them, and with
thousands the transaction takes seconds: then a millisecond's packets are lost instead.
"""


class RulesKeeper:
    """Puts the rules as they should be. Elements, counters and sets that stand are never touched.

    Only a table of another make (its comment tells) is replaced, in one transaction with all that was in it, and no
    packet is lost by it (with more than `NAMED_AT_MOST` prefixes those of a millisecond).
    """

    def __init__(self, thread: KernelThread, settings: NftSettings) -> None:
        self._thread = thread
        self.settings = settings
        self._installed: TableFacts | None = None

    async def stand(self) -> bool:
        """Return whether table, chains and rules are as they were installed."""
        return await self._facts() == self._installed

    async def _facts(self) -> TableFacts:
        table = self.settings.table
        return await self._thread.ask(lambda channel: reading.table_facts(channel, table))

    async def install(self) -> None:
        """Put the rules as they should be; ActuatorRejected with what nft says."""
        for _ in range(UNDISTURBED_TRIES):
            before = await self._thread.ask(reading.generation)
            made = await self._put(await self._facts())
            # what is read now is ours only if nobody else was at it meanwhile
            after = await self._thread.ask(reading.generation)
            self._installed = await self._facts()
            if (after - before) % (1 << 32) == made and await self._thread.ask(reading.generation) == after:
                return
        log.warning("nft: other programs change rules all the time: ours may not be as they should")

    async def sweep(self) -> None:
        """Remove the counters of blackholes and flow rules that have ended."""
        table = self.settings.table
        wanted = {filters.counter_of(one.id) for one in self.settings.filters}
        for name in (await counting.read_filters(self._thread, table)).keys() - wanted:
            await self._thread.nft(f"delete counter inet {table} {name}")

    async def _put(self, now: TableFacts) -> int:
        """Make the rules so; return in how many transactions."""
        strange = now.chains - rules.chains(self.settings).keys()
        known = now.comment in (None, rules.comment(self.settings))
        if not known:
            return await self._replace()
        try:
            await self._thread.nft(rules.install(self.settings, sorted(strange)))
        except ActuatorRejected:
            if now.comment is None:
                raise
            # a set, chain or counter of ours stands there as something else
            return await self._replace()
        return 1

    async def _replace(self) -> int:
        table = self.settings.table
        log.info("nft table %s is of another make: replaced, with its elements", table)
        contents = [text for name in NftSet if (text := await self._content(name))]
        named = await counting.read_named(self._thread, table)
        own = {name: await self._prefixes(name) for name in (NftSet.OWN4, NftSet.OWN6)}
        if sum(map(len, own.values())) > NAMED_AT_MOST:
            own = {}
        await self._thread.nft(rules.replace(self.settings, contents, named, own))
        await self._thread.nft(rules.install(self.settings))
        return 2

    async def _prefixes(self, name: NftSet) -> list[str]:
        found, _ = await reading.read_set(self._thread, self.settings.table, name)
        return [codec.key_text(name, codec.decode_key(name, raw)) for raw in found]

    async def _content(self, name: NftSet) -> str:
        """Return a statement that adds what a set holds, its counters included; empty for nothing."""
        table = self.settings.table
        found, _ = await reading.read_set(self._thread, table, name)
        counts: dict[Key, Count] = {}
        if name in counting.COUNTED:
            counts.update({key: one for key, one in (await counting.read_set(self._thread, table, name)).items()})
        words = []
        for raw, value in found.items():
            key = codec.decode_key(name, raw)
            words.append(codec.element_text(name, key, codec.decode_value(name, value), counts.get(key)))
        return f"add element inet {table} {name.value} {{ {', '.join(words)} }}" if words else ""

    async def remove(self) -> None:
        """Remove the table and nothing else."""
        await self._thread.nft(rules.remove(self.settings))
