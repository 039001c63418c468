"""Tokens of the fleet's store: of one prefix one POP at a time leaves because of health (S3).

A token is a key that is there for `withdrawals_apart`; who made it may leave within that time. The control loop never
waits for it: what has no token stays at DEPREF, and is decided anew when it has one. It changes nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from anycastd.model.address import Prefix
from anycastd.model.decision import Decision, Level, Reason
from anycastd.model.store import StoreConfig
from anycastd.resources.fleet import TOKENS
from anycastd.runtime.fleet.link import FleetLink
from anycastd.store.etcd.store import EtcdStore
from anycastd.store.port import Conflict, StoreUnavailable

AGAIN_S = 1.0
AT_ONCE = 50
ASKED = "the fleet's store is asked whether another POP has just left"


@dataclass(frozen=True, slots=True)
class Token:
    """Leave to withdraw a prefix, for one entry into DEPREF, until a time."""

    entry: int
    until_s: float


class Tokens:
    """The tokens of this POP, and what it waits for; `link` tells of decisions and has them made anew."""

    def __init__(
        self, store: EtcdStore, link: FleetLink, settings: StoreConfig, pop: str, clock: Callable[[], float]
    ) -> None:
        self._store, self._link, self._settings, self._pop, self._clock = store, link, settings, pop, clock
        self._wanted: dict[Prefix, int] = {}
        self._tokens: dict[Prefix, Token] = {}
        self._why: dict[Prefix, str] = {}
        self._news = asyncio.Event()
        link.token_missing, link.on_decided = self.missing, self.note

    def missing(self, prefix: Prefix, entry: int) -> str:
        """Return why the prefix may not be withdrawn for health now; "" = it may be."""
        token = self._tokens.get(prefix)
        if not self._settings.withdrawals_apart_s or (
            token is not None and token.entry == entry and self._clock() < token.until_s
        ):
            return ""
        return self._why.get(prefix, ASKED)

    def note(self, decisions: Mapping[Prefix, Decision], entries: Mapping[Prefix, int]) -> None:
        """Take the newest decisions, with their entries into DEPREF."""
        for prefix, entry in entries.items():
            if decisions[prefix].hold is Reason.FLEET_TOKEN:
                self._wanted[prefix] = entry
                self._news.set()
            elif self._wanted.pop(prefix, None) is not None and decisions[prefix].level >= Level.DEPREF:
                self._why.pop(prefix, None)

    async def run(self) -> None:
        """Ask for what is wanted, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._wanted:
                # one that a reload took is decided no more, so nobody would ever take it out
                self._wanted = {one: e for one, e in self._wanted.items() if one in self._link.config.prefixes}
                some = dict(list(self._wanted.items())[:AT_ONCE])
                if not await self._ask(some):
                    await asyncio.sleep(AGAIN_S)

    async def _ask(self, some: Mapping[Prefix, int]) -> bool:
        """Ask for tokens; return whether there are others to ask for at once."""
        begun_s = self._clock()
        try:
            there = await self._there()
            mine = {prefix: entry for prefix, entry in some.items() if there.get(prefix) == self._text(entry)}
            free = {prefix: entry for prefix, entry in some.items() if prefix not in there}
            for entry in set(free.values()):
                keys = [prefix for prefix, one in free.items() if one == entry]
                await self._store.claim([f"{TOKENS}{key}" for key in keys], self._text(entry), self._apart_s)
                mine |= dict.fromkeys(keys, entry)
        except StoreUnavailable as error:
            self._tell(dict.fromkeys(some, f"the fleet's store cannot be asked: {error}"))
            return False
        except Conflict:
            # another POP was first: what it has shows at the next look
            return True
        self._tokens |= {prefix: Token(entry, begun_s + self._apart_s) for prefix, entry in mine.items()}
        left = {prefix: there[prefix].partition(" ")[0] for prefix in some.keys() - mine.keys()}
        self._tell({prefix: f"{pop[:64]} left less than {self._apart_s:g} s ago" for prefix, pop in left.items()})
        for prefix in mine:
            self._wanted.pop(prefix, None)
            self._why.pop(prefix, None)
        self._link.decide_anew(mine)
        return bool(mine)

    @property
    def _apart_s(self) -> float:
        return self._settings.withdrawals_apart_s

    def _text(self, entry: int) -> str:
        return f"{self._pop} {entry}"

    async def _there(self) -> dict[Prefix, str]:
        """Return the tokens that are there, of all prefixes that we have."""
        known = {f"{TOKENS}{prefix}": prefix for prefix in self._link.config.prefixes}
        found = await self._store.fleet(TOKENS)
        return {known[key]: item.value or "" for key, item in found.items.items() if key in known}

    def _tell(self, why: Mapping[Prefix, str]) -> None:
        """Note why prefixes wait, and have it shown."""
        new = {prefix for prefix, words in why.items() if self._why.get(prefix) != words}
        self._why |= why
        self._link.decide_anew(new)
