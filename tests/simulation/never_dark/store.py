"""The fleet's store in the simulation: texts by POP and part, written and watched late, cut off, lost, rolled back.

As `runtime/fleet/stored.py` and `store/etcd/beacons.py` use it: a write may be lost, or be done once more much later; a
POP whose own beacon does not come back takes the channel for lost, and begins anew with all that is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_network
from typing import TYPE_CHECKING

from anycastd.fleet.seen import down, up
from anycastd.fleet.stored import STORE, part_in, stored_spec, text_of
from anycastd.model.fleet import FleetSpec, Part
from anycastd.store.etcd.beacons import SILENT_HEARTBEATS

if TYPE_CHECKING:
    from tests.simulation.never_dark.run import Run

HOP_S = 0.2
AGAIN_S = 1.0
LATE_S = 4.0
LATE_CHANCE = 0.1
Texts = Mapping[tuple[int, int], str]
_SPEC = stored_spec(FleetSpec(number=1, pops={}, base=ip_network("10.0.0.0/24"), asn=64500))


@lru_cache(maxsize=1 << 12)
def _read(pop: int, number: int, text: str) -> Part:
    return part_in(_SPEC, pop, number, text)


@dataclass
class Watch:
    """How one POP follows the store; `life` counts its streams."""

    is_up: bool = False
    life: int = 0
    turn: int = -1
    own_s: float = 0.0
    to_s: float = 0.0
    from_s: float = 0.0
    all: bool = True
    """Whether everything is to be written, not only what changed."""


@dataclass
class SimStore:
    """One store; `cut` are the POPs that it does not reach, and that do not know it."""

    run: Run
    is_up: bool = True
    cut: set[int] = field(default_factory=set)
    texts: dict[tuple[int, int], str] = field(default_factory=dict)
    saved: dict[tuple[int, int], str] = field(default_factory=dict)
    watches: dict[int, Watch] = field(default_factory=dict)

    def begin(self) -> None:
        """Have every POP follow it from now on."""
        for number in self.run.nodes:
            self.watches[number] = Watch()
            self._look(number)

    def _reaches(self, number: int) -> bool:
        return self.is_up and number not in self.cut

    def put(self, number: int, parts: Iterable[Part]) -> None:
        """Write what a POP says; what does not arrive is written anew with its next beacon."""
        watch, node, run = self.watches.get(number), self.run.nodes[number], self.run
        if watch is None:
            return
        some = node.parts if watch.all else parts
        watch.all = not self._reaches(number)
        if watch.all:
            return
        texts = {(number, part.number): text_of(_SPEC, part) for part in some}
        watch.to_s = max(watch.to_s, run.now_s + run.random.random() * HOP_S)
        run.at(watch.to_s, lambda: self._write(texts))
        if run.random.random() < LATE_CHANCE:
            run.at(watch.to_s + run.random.random() * LATE_S, lambda: self._write(texts))

    def _write(self, texts: Texts) -> None:
        if not self.is_up:
            for sender, _ in texts:
                self.watches[sender].all = True
            return
        self.texts.update(texts)
        for reader, watch in self.watches.items():
            if watch.is_up:
                self._pass_on(reader, watch, texts)

    def _pass_on(self, reader: int, watch: Watch, texts: Texts) -> None:
        run, life = self.run, watch.life
        watch.from_s = max(watch.from_s, run.now_s + run.random.random() * HOP_S)
        run.at(watch.from_s, lambda: self._arrive(reader, life, texts))

    def _arrive(self, reader: int, life: int, texts: Texts) -> None:
        watch, node = self.watches[reader], self.run.nodes[reader]
        if watch.life != life or not watch.is_up or node.turn != watch.turn or not self._reaches(reader):
            return
        if (reader, 0) in texts:
            watch.own_s = self.run.now_s
        parts = [_read(pop, number, text) for (pop, number), text in sorted(texts.items(), key=lambda one: -one[0][1])]
        self.run.take(reader, STORE, parts, node.seen)

    def _look(self, number: int) -> None:
        """Look whether our own beacon still comes back; begin anew if the store is reached again."""
        run, node, watch = self.run, self.run.nodes[number], self.watches[number]
        run.at(run.now_s + AGAIN_S * (0.5 + run.random.random()), lambda: self._look(number))
        if not (node.alive and node.daemon):
            return
        if watch.turn != node.turn:
            watch.is_up, watch.turn = False, node.turn
        if watch.is_up and run.now_s >= watch.own_s + SILENT_HEARTBEATS * node.spec.heartbeat_s:
            self._end(number)
        elif not watch.is_up and self._reaches(number):
            watch.is_up, watch.life, watch.own_s, watch.all = True, watch.life + 1, run.now_s, True
            node.seen = up(node.seen, STORE, run.now_s)
            run.soon(number)
            self._pass_on(number, watch, dict(self.texts))

    def _end(self, number: int) -> None:
        node, watch = self.run.nodes[number], self.watches[number]
        if watch.is_up and node.alive and node.daemon and node.turn == watch.turn:
            node.seen = down(node.seen, node.spec, STORE, self.run.now_s)
            self.run.soon(number)
        watch.is_up = False

    def save(self) -> None:
        """Take a snapshot."""
        self.saved = dict(self.texts)

    def roll_back(self) -> None:
        """Lose everything since the snapshot; every stream ends."""
        self.texts = dict(self.saved)
        for number in self.watches:
            self._end(number)
