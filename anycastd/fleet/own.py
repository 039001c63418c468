"""What this POP says of itself: its epochs, and claims that are never above what neighbors were really sent.

An under-statement is safe, an over-statement is not. So a claim is the lower of what is decided and what was
acknowledged: DEPREF and GONE are said before or with the UPDATE, NORMAL only after it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from anycastd.model.address import Prefix
from anycastd.model.decision import Level, Memory
from anycastd.model.fleet import Claim, Epoch

MAX_COUNTER = 0xFFFF


@dataclass(frozen=True, slots=True)
class Entered:
    """That a prefix entered DEPREF, or began to intend it: its own count (`Memory.epoch`), and the POP's epoch then."""

    entry: int
    counter: int


@dataclass(frozen=True, slots=True)
class Own:
    """The epochs of this POP. `boot` is that of the daemon's start (`model.fleet.Epoch`)."""

    boot: int
    counter: int = 0
    entered: Mapping[Prefix, Entered] = field(default_factory=dict)

    @property
    def epoch(self) -> Epoch:
        """Return the present epoch, which others echo."""
        return Epoch(self.boot, self.counter)

    def follow(self, memories: Mapping[Prefix, Memory]) -> Own:
        """Return the epochs after decisions on these prefixes; `memories` are those that the decisions left.

        To be called after every decision and before the beacon that tells of it. However many prefixes enter DEPREF at
        once, it is one new epoch. What is not known yet counts as entering: after a start, no older echo is of use.
        """
        entering = {
            prefix: memory.epoch
            for prefix, memory in memories.items()
            if (known := self.entered.get(prefix)) is None or known.entry != memory.epoch
        }
        if not entering:
            return self
        if self.counter >= MAX_COUNTER:
            # 16 bits ride in a beacon: go on as if started anew, with everything entering
            anew = {prefix: known.entry for prefix, known in self.entered.items()} | entering
            return Own(self.boot + 1, 1, {prefix: Entered(entry, 1) for prefix, entry in anew.items()})
        counter = self.counter + 1
        fresh = {prefix: Entered(entry, counter) for prefix, entry in entering.items()}
        return replace(self, counter=counter, entered={**self.entered, **fresh})

    def keep(self, prefixes: Collection[Prefix]) -> Own:
        """Return the epochs without those of prefixes that are configured no more."""
        return replace(self, entered={p: known for p, known in self.entered.items() if p in prefixes})


def honest_claim(decided: Level, sent: Iterable[Level], *, min_upstreams: int = 1, could_serve: bool = False) -> Claim:
    """Return what may be said of a prefix.

    `sent`: the level that each established upstream neighbor has, as acknowledged by ExaBGP; while a command is not
    yet acknowledged, the lower of before and after. `could_serve`: it is depreferenced for a drain only.
    """
    ranked = sorted(sent, reverse=True)
    acknowledged = ranked[min_upstreams - 1] if len(ranked) >= min_upstreams else Level.WITHDRAWN
    level = min(decided, acknowledged)
    if level is Level.NORMAL:
        return Claim.NORMAL
    if level is Level.WITHDRAWN:
        return Claim.GONE
    return Claim.DRAINING if could_serve else Claim.DEPREF
