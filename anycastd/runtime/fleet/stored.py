"""Beacons by way of the fleet's store (I1, channel two): ours is written when it is said, the others' are watched.

The store is one more observer: its loss is the loss of a session, and what it brings is believed as far as beacons are.
Two stages of the daemon, so that neither waits for the other.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from anycastd.actuators.disk import Disk
from anycastd.fleet.codec import BeaconError, place_of
from anycastd.fleet.signing import Signing
from anycastd.fleet.stored import BASE, STORE, part_in, text_of
from anycastd.model.fleet import FleetSpec, Part
from anycastd.model.status import Alarm
from anycastd.runtime.alarms import Reported
from anycastd.runtime.fleet.link import FleetLink
from anycastd.runtime.fleet.trust import FleetKeyError, signing_of
from anycastd.store.port import StoreUnavailable
from anycastd.telemetry.logs import log_event

if TYPE_CHECKING:
    from anycastd.store.etcd.beacons import StoredBeacons, Texts

log = logging.getLogger("anycastd")

AGAIN_S = 0.2
OFF_S = 1.0
MOST_PARTS = BASE.num_addresses // 256


class StoreChannel:
    """Between the link and the keys of beacons in the store."""

    def __init__(self, link: FleetLink, keys: StoredBeacons, reported: Reported) -> None:
        self._link, self._keys, self._reported = link, keys, reported
        self._news = asyncio.Event()
        self._written: dict[int, Part] = {}
        self._is_up = False
        self._signing: Signing | None = None
        """None: the fleet's key was not read yet."""
        link.on_said = self._news.set

    async def write(self) -> None:
        """Have our newest beacon in the store, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            if (spec := self._link.stored) is None or self._signing is None:
                continue
            key = self._signing.key
            parts = {part.number: part for part in self._link.parts}
            # of many prefixes a heartbeat changes the head only
            texts = {number: text_of(spec, part, key) for number, part in parts.items()
                     if self._written.get(number) is not part}  # fmt: skip
            try:
                if texts:
                    await self._keys.put(texts, spec.heartbeat_s)
            except StoreUnavailable:
                # whether some of it was done is not known; it is done once more
                await asyncio.sleep(AGAIN_S)
                self._write_all()
            else:
                self._written |= {number: parts[number] for number in texts}

    def _write_all(self) -> None:
        self._written = {}
        self._news.set()

    async def listen(self) -> None:
        """Hear what the others have in the store, for ever; while that cannot be done, nobody is seen by it."""
        disk = Disk("fleet key")
        try:
            while True:
                if (spec := self._link.stored) is None:
                    await asyncio.sleep(OFF_S)
                    continue
                try:
                    await self._follow(spec, disk)
                except StoreUnavailable as error:
                    self._tell(str(error))
                # not when this stage is ended: a daemon that hands over changes nothing
                self._link.channel_down(STORE)
                await asyncio.sleep(AGAIN_S)
        finally:
            disk.close()

    async def _follow(self, spec: FleetSpec, disk: Disk) -> None:
        try:
            self._signing = await disk.run(partial(signing_of, self._link.config.fleet))
        except FleetKeyError as error:
            raise StoreUnavailable(str(error)) from error
        except TimeoutError:
            # as it was read with the configuration
            self._signing = self._signing or self._link.signing
        # written before anything can come back
        self._write_all()
        async with aclosing(self._keys.follow(spec.heartbeat_s)) as told:
            first = True
            async for texts in told:
                if self._link.stored is not spec:
                    return
                if first:
                    self._begin()
                    first = False
                self._take(spec, texts)

    def _begin(self) -> None:
        self._tell("")
        self._reported.clear(Alarm.UNKNOWN_POP)
        self._reported.clear(Alarm.BEACON_REFUSED)
        self._link.channel_up(STORE)
        # an older snapshot may have brought back some of what we wrote before
        self._write_all()

    def _tell(self, trouble: str) -> None:
        """Log the first failure, and the end of them."""
        if self._is_up is bool(trouble):
            event, level = ("beacons_away", logging.WARNING) if trouble else ("beacons_back", logging.INFO)
            log_event(log, event, level=level, detail=trouble or "beacons go through the store")
        self._is_up = not trouble

    def _take(self, spec: FleetSpec, texts: Texts) -> None:
        """Take texts; the head of a beacon comes last, as it goes out. Deleted ones tell nothing but of our own."""
        pops = {name: number for number, name in spec.pops.items()}
        found = [(pop, _number(key), text) for (pop, key), text in texts.items()]
        for pop, number, text in sorted(found, key=lambda one: -one[1]):
            if pop not in pops:
                what = None if text is None else "it has a beacon in the store, and is not in the configuration"
                self._reported.tell(Alarm.UNKNOWN_POP, pop[:64], what)
            elif number >= MOST_PARTS:
                what = None if text is None else "it has a key in the store that no beacon has"
                self._reported.tell(Alarm.BEACON_REFUSED, pop, what)
            elif text is not None:
                self._hear(spec, pops[pop], number, text)
            elif pops[pop] == spec.number:
                self._write_all()

    def _hear(self, spec: FleetSpec, pop: int, number: int, text: str) -> None:
        found: Part | BeaconError
        try:
            found = part_in(spec, pop, number, text, self._signing or self._link.signing)
        except BeaconError as error:
            found = error
        self._link.take(spec, STORE, place_of(spec, pop, number), found)


def _number(key: str) -> int:
    """Return the number of a part as its key has it; one that no part has for any other key."""
    return int(key) if key.isascii() and key.isdigit() and len(key) <= 4 else MOST_PARTS
