"""This POP's part in the fleet: it says how it is, each `store.heartbeat`, and enters itself before it leaves by order.

Nothing here changes an announcement, an EIP or a binding; what is not in the ledger only keeps a drain at DEPREF.
Without a fleet's store there is no desk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

from anycastd.api.ports import Clocks, Overwritten
from anycastd.model.decision import Level
from anycastd.model.operator import Drain, DrainPhase, DrainScope
from anycastd.model.status import Alarm
from anycastd.model.topology import Config
from anycastd.policy.guard import wanted
from anycastd.resources import codec
from anycastd.resources.fleet import (
    LEDGER,
    MEMBERS,
    PRESENCE,
    Entry,
    Ledger,
    Member,
    Presence,
    decode_ledger,
    decode_member,
    decode_presence,
    encode_ledger,
    encode_member,
    encode_presence,
)
from anycastd.resources.fleet_budget import FleetSeen, Flights, budget_refusal
from anycastd.resources.refusal import Code, Refused, refused
from anycastd.runtime.alarms import Reported
from anycastd.runtime.control import Control
from anycastd.store.etcd.store import EtcdStore
from anycastd.store.port import ABSENT, Conflict, Item, Snapshot, StoreUnavailable, Write
from anycastd.telemetry.logs import log_event

log = logging.getLogger("anycastd")

AT_ONCE = 50
"""Texts looked at before the loop is given back: a millisecond."""
TRIES = 5
"""How often a commit of the ledger is tried anew when another POP was first."""
ASK_WITHIN_S = 2.0
BEGINS_WITHIN_S = 10.0
"""So long after it was asked for a drain may not have begun yet: it is on its way to the disk."""
ROLLOUT, ROLLOUT_MARGIN_S = "/rollout", 30.0
RECORDS = "fleet records"


class FleetDesk:
    """Made where `store.kind` is etcd. `presence` says how this POP is now."""

    def __init__(
        self,
        store: EtcdStore,
        control: Control,
        reported: Reported,
        presence: Callable[[], Presence],
        clocks: Callable[[], Clocks],
    ) -> None:
        self.store, self._control, self._reported = store, control, reported
        self._presence, self.clocks = presence, clocks
        self._flights = Flights()
        self._entered = self._trouble = self._granted = self._asking = ""
        self._asked_s = 0.0
        self._entered_of: Config | None = None
        self.seen = FleetSeen()
        """What was read last; for display."""
        self.applied: Callable[[str], str | None] = lambda key: None
        """Says what is in force here of a key whose text in the store cannot be read; None: nothing is."""
        self.stages: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {"fleet": self.run}
        """What the daemon runs of the fleet, by name."""

    @property
    def config(self) -> Config:
        """Return the configuration in force."""
        return self._control.config

    @property
    def pop(self) -> str:
        """Return our name."""
        return self.config.pop.name

    async def run(self) -> None:
        """Say how we are and follow the ledger, for ever."""
        while True:
            begun_s = self.clocks().now_s
            await self.once()
            left_s = begun_s + self.config.store.heartbeat_s - self.clocks().now_s
            await asyncio.sleep(max(left_s, 0.05))

    async def once(self) -> None:
        """Say how we are and follow the ledger, once."""
        try:
            await self.store.beat(encode_presence(self._presence()))
            await self._enter_member()
            await self._follow()
        except (StoreUnavailable, Conflict) as error:
            self._tell(str(error))
        else:
            self._tell("")
        self._tell_held()

    def _tell(self, trouble: str) -> None:
        """Log the first failure, and the end of them; the alarm is the store's."""
        if bool(trouble) is not bool(self._trouble):
            event, level = ("fleet_away", logging.WARNING) if trouble else ("fleet_back", logging.INFO)
            log_event(log, event, level=level, detail=trouble or self.store.where)
        self._trouble = trouble

    async def _enter_member(self) -> None:
        """Have our record in the store as the configuration is."""
        config = self.config
        if config is self._entered_of:
            return
        member = Member(pop=self.pop, asn=config.pop.asn, prefixes=frozenset(map(str, config.prefixes)))
        text = encode_member(member)
        if text != self._entered:
            await self.store.commit_fleet([Write(MEMBERS + self.pop, text)], {})
            self._entered = text
        self._entered_of = config

    async def read(self) -> FleetSeen:
        """Return the fleet as a majority of the store has it; what cannot be read counts as not there."""
        return self._noted(seen_of(await self.store.fleet("/")))

    def _noted(self, seen: FleetSeen) -> FleetSeen:
        self.seen = seen
        clocks = self.clocks()
        self._flights.note(seen.ledger, clocks.now_s, clocks.wall_s)
        self._reported.tell(Alarm.STORE_TROUBLE, RECORDS, seen.unread or None)
        return seen

    async def _follow(self) -> None:
        """Have the ledger as our drain is: entered before it leaves, taken back when we announce again.

        What POPs may announce is read only when it is needed: it may be long.
        """
        ledger = seen_of(await self.store.fleet(LEDGER))
        drain = self._control.orders.pop
        if drain is not None and self._granted != drain.id:
            seen = await self.read()
        else:
            present = seen_of(await self.store.fleet(PRESENCE))
            unread = present.unread or ledger.unread
            seen = FleetSeen(self.seen.members, present.present, ledger.ledger, ledger.ledger_revision, unread)
            self._noted(seen)
        mine = seen.ledger.entries.get(self.pop)
        self._asking = self._asking if drain is None else ""
        if drain is None:
            if mine is not None and self._begins(mine):
                return
            self._granted = ""
            if mine is not None and self._announces():
                await self._commit(seen, seen.ledger.released(self.pop, self.clocks().wall_s))
        elif mine is not None and mine.drain == drain.id:
            self._granted = drain.id
        elif drain.forced or drain.phase is not DrainPhase.DEPREF or not self._refusal(seen):
            # one that has left already is entered whatever the budget says: it is true
            await self._commit(seen, seen.ledger.entered(self._entry(drain)))
            self._granted = drain.id

    def _begins(self, mine: Entry) -> bool:
        """Return whether our entry is of a drain that was just asked for: without it another POP may leave too."""
        return mine.drain == self._asking and self.clocks().now_s < self._asked_s + BEGINS_WITHIN_S

    def _announces(self) -> bool:
        decisions = self._control.decisions.values()
        return not decisions or any(one.level is not Level.WITHDRAWN for one in decisions)

    def _entry(self, drain: Drain) -> Entry:
        return Entry(
            pop=self.pop, drain=drain.id, owner=drain.owner, reason=drain.reason, forced=drain.forced,
            since_unix_s=round(self.clocks().wall_s, 3),
        )  # fmt: skip

    async def _commit(self, seen: FleetSeen, ledger: Ledger) -> None:
        if seen.unread:
            # a newer release may have written it: never over what we cannot read
            raise StoreUnavailable(seen.unread)
        await self.store.commit_fleet([Write(LEDGER, encode_ledger(ledger))], {LEDGER: seen.ledger_revision})

    def _refusal(self, seen: FleetSeen) -> tuple[Code, str] | None:
        """Return which rule holds a drain that is not forced, and why; None = it may begin."""
        settings = self.config.store
        if why := budget_refusal(self.pop, seen, settings.budget_percent):
            return Code.FLEET_BUDGET, f"fleet_budget: {why}"
        flight = self._flights.refusal(self.pop, seen, settings.single_flight_s, self.clocks().now_s)
        return (Code.SINGLE_FLIGHT, f"single_flight: {flight}") if flight else None

    async def ask(self, drain: Drain, *, dry_run: bool) -> Refused | tuple[str, ...]:
        """Enter our POP before its drain begins: refused by the budget, or what else there is to say.

        While the store cannot be asked the drain may begin, and stays at DEPREF.
        """
        if drain.scope is not DrainScope.POP:
            return ()
        try:
            # the desk of orders waits for this, and a freeze must not wait long for the desk
            async with asyncio.timeout(ASK_WITHIN_S):
                return await self._asked(drain, dry_run)
        except (StoreUnavailable, TimeoutError) as error:
            why = str(error) or "no answer in time"
        if drain.forced:
            return (f"the fleet is not told yet: {why}",)
        return (
            f"the fleet's budget cannot be asked, so it stays at DEPREF until it can, or beacons confirm others: {why}",
        )

    async def _asked(self, drain: Drain, dry_run: bool) -> Refused | tuple[str, ...]:
        for _ in range(TRIES):
            seen = await self.read()
            mine = seen.ledger.entries.get(self.pop)
            if mine is not None and mine.drain == drain.id:
                return ()
            held = None if drain.forced else self._refusal(seen)
            if held is not None:
                return refused(held[0], 409, f"{held[1]}; --force with a reason does it")
            if dry_run:
                return ()
            self._asking, self._asked_s = drain.id, self.clocks().now_s
            try:
                await self._commit(seen, seen.ledger.entered(self._entry(drain)))
            except Conflict:
                continue
            self._granted = drain.id
            return ()
        return refused(Code.IN_PROGRESS, 409, "other POPs begin to leave at this moment; try again")

    async def try_alone(self, for_s: float) -> str:
        """Claim that this POP alone tries a new file, for so long; return why it may not ("": it may) (S10, S23)."""
        try:
            await self.store.claim([ROLLOUT], self.pop, for_s + ROLLOUT_MARGIN_S)
        except Conflict:
            there = (await self.store.fleet(ROLLOUT)).items.get(ROLLOUT)
            other = "another POP" if there is None else (there.value or "")[:64]
            return f"single_flight: {other} tries a new file: one POP at a time"
        except StoreUnavailable as error:
            return f"whether another POP tries a new file cannot be asked (without --bake it need not be): {error}"
        return ""

    async def tried(self) -> None:
        """Let other POPs try theirs; while the store is away the claim ends by itself."""
        with suppress(StoreUnavailable, Conflict):
            await self.store.commit_fleet([Write(ROLLOUT, None)], {})

    def may_leave(self, drain: Drain) -> bool:
        """Return whether a drain of the POP may go beyond DEPREF as far as the fleet's budget is concerned."""
        if drain.scope is not DrainScope.POP or drain.forced or drain.phase is not DrainPhase.DEPREF:
            return True
        return self._granted == drain.id or (bool(self._trouble) and self._is_confirmed())

    def _is_confirmed(self) -> bool:
        """Return whether other POPs confirm every prefix by their beacons: then the store need not answer."""
        fleet = self._control.announcer.fleet
        for prefix, spec in self.config.prefixes.items():
            others = fleet.others(prefix)
            if others is None or len(others.counted) < wanted(spec, others.pops):
                return False
        return bool(self.config.prefixes)

    def present(self) -> Mapping[str, Presence] | None:
        """Return what each POP that is there said last, ours too; None while it cannot be told."""
        return None if self._trouble or self.seen.unread or not self.seen.present else self.seen.present

    def loads_bps(self) -> Mapping[str, float]:
        """Return what the other POPs say that they carry, in the busier direction; nothing while the store is away."""
        if self._trouble:
            return {}
        return {pop: max(one.in_bps, one.out_bps) for pop, one in self.seen.present.items() if pop != self.pop}

    def _tell_held(self) -> None:
        drain = self._control.orders.pop
        if drain is None or self.may_leave(drain):
            self._reported.clear(Alarm.FLEET_BUDGET, self.pop)
            return
        held = self._refusal(self.seen)
        why = self._trouble or (held[1] if held else "it is not entered yet")
        self._reported.raise_(Alarm.FLEET_BUDGET, self.pop, f"the drain stays at DEPREF: {why}")

    def facts(self) -> Mapping[str, Any]:
        """Return how the store is."""
        known, store = self.store.known, self.store
        return {
            "member": store.member,
            "cluster": known.cluster,
            "applied_revision": known.revision,
            "bound": known.bound,
            "trouble": store.trouble,
            "held": store.held,
        }

    async def dump(self, *, here: bool) -> tuple[str, int, Mapping[str, str]]:
        """Return cluster, revision, and every EIP and dial: of the store, or of what this POP has applied."""
        kept = await self.store.dump(here=here)
        items = _resources(kept.items)
        return kept.cluster, kept.revision, (await self._as_applied(items))[0] if here else items

    async def _as_applied(self, items: Mapping[str, str]) -> tuple[Mapping[str, str], int]:
        """Return them with what is in force where a text cannot be read, and how many are left out since nothing is.

        Such a text was written past the API: put back, it would be in the way of its EIP again, at every POP.
        """
        found: dict[str, str] = {}
        for number, (key, text) in enumerate(items.items()):
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                codec.check(key, text)
                found[key] = text
            except ValueError as error:
                applied = self.applied(key)
                how = "left out, since nothing of it is in force" if applied is None else "taken as it is in force"
                log_event(log, "fleet_record_unread", level=logging.WARNING, key=key[:64], detail=f"{error}; {how}")
                if applied is not None:
                    found[key] = applied
        return found, len(items) - len(found)

    async def overwrite(self, items: Mapping[str, str] | None, *, last: bool, dry_run: bool) -> Overwritten:
        """Have these (None: all that this POP has applied) in the store; return what that changed."""
        left = 0
        if items is None:
            items, left = await self._as_applied(_resources((await self.store.dump(here=True)).items))
        missing, differed = await self.store.overwrite(items, last=last, dry_run=dry_run)
        if not dry_run:
            detail = f"{missing} added, {differed} replaced"
            log_event(log, "fleet_restored", level=logging.WARNING, detail=detail)
        return Overwritten(missing, differed, left)

    def accept(self) -> str:
        """Have what was held applied; return why it was held ("": nothing was)."""
        held = self.store.accept()
        if held:
            log_event(log, "fleet_accepted", level=logging.WARNING, detail=held)
        return held

    async def release(self, pop: str) -> str:
        """Take a POP out of the ledger by hand; return what was done ("": it was not there)."""
        for _ in range(TRIES):
            seen = await self.read()
            if pop not in seen.ledger.entries:
                return ""
            try:
                await self._commit(seen, seen.ledger.released(pop, self.clocks().wall_s))
            except Conflict:
                continue
            return f"{pop} is not counted as drained any more"
        message = "the ledger changes at this moment; try again"
        raise StoreUnavailable(message)

    async def forget(self, pop: str) -> Refused | str:
        """Take a POP that is gone for good out of the fleet; return what was done ("": it is not known)."""
        seen = await self.read()
        if pop in seen.present:
            return refused(Code.STATUS, 409, f"{pop} is present: stop it, or give it another store, first")
        if pop not in seen.members:
            return ""
        await self.store.commit_fleet([Write(MEMBERS + pop, None)], {})
        await self.release(pop)
        return f"{pop} is forgotten: it does not count any more"


def _resources(items: Mapping[str, Item]) -> Mapping[str, str]:
    """Return EIPs and dials, without tasks and answers."""
    return {key: item.value or "" for key, item in items.items() if key.startswith((codec.EIPS, codec.DIALS))}


def seen_of(snapshot: Snapshot) -> FleetSeen:
    """Return what the keys say."""
    members: dict[str, Member] = {}
    present: dict[str, Presence] = {}
    ledger, revision, unread = Ledger(), ABSENT, ""
    for key, item in snapshot.items.items():
        text = item.value or ""
        try:
            if key.startswith(MEMBERS):
                members[key.removeprefix(MEMBERS)] = decode_member(text)
            elif key.startswith(PRESENCE):
                present[key.removeprefix(PRESENCE)] = decode_presence(text)
            elif key == LEDGER:
                revision = item.revision
                ledger = decode_ledger(text)
        except ValueError as error:
            unread = f"{key[:64]}: {error}"
    return FleetSeen(members, present, ledger, revision, unread)
