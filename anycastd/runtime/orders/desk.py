"""Where orders of operators are taken, kept, and led through their phases; the freeze is looked for here too.

    command -> plan (pure) -> file -> control loop
    each EACH_S: frozen? over? next phase? -> file -> control loop

Nothing is done that a restart would not know: the file is written first. Only what ends by itself ends although the
disk is full, for the file names its end.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

from anycastd.api.ports import Clocks, OrderDone, OrderRequest
from anycastd.model.operator import After, Carried, Drain, DrainPhase, Freeze, Interventions
from anycastd.model.status import Alarm
from anycastd.model.topology import Config
from anycastd.policy.draining import advance
from anycastd.resources.orders import DrainCommand, PlannedOrder, Undo, expired, plan_order, set_aside
from anycastd.resources.refusal import Code, Refused, refused
from anycastd.runtime.alarms import Reported
from anycastd.runtime.control import Control
from anycastd.runtime.followed.drain_progress import no_room, refusal_of, seen_of, would_change
from anycastd.runtime.kept import memory_file, orders_file
from anycastd.runtime.kept.disk import StateFile
from anycastd.runtime.kept.freeze_file import FreezeFile, standing
from anycastd.runtime.kept.orders_file import Kept, Orders
from anycastd.runtime.orders.ordering import UnderWay, answered, with_answer
from anycastd.runtime.traffic.carried import DeviceRates, quiet
from anycastd.telemetry.logs import log_event

EACH_S = 0.4
"""A freeze must be noticed within a second."""
LOOK_WITHIN_S = 2.0
ORDERS, FREEZE = "orders.json", "freeze"

log = logging.getLogger("anycastd")


class AskFleet(Protocol):
    """Who is asked before a drain begins."""

    async def __call__(self, drain: Drain, *, dry_run: bool) -> Refused | tuple[str, ...]:
        """Return the refusal, or what there is to say."""
        ...


async def _alone(drain: Drain, *, dry_run: bool) -> tuple[str, ...]:
    """Refuse nothing: there is no fleet's store."""
    return ()


class OrderDesk:
    """Implements `api.ports.Orders`. `measure` says what a drained thing carries now, given the rates of devices."""

    def __init__(self, config: Config, reported: Reported, clocks: Callable[[], Clocks]) -> None:
        directory = Path(config.state_dir)
        self._path, self._reported, self.clocks = directory / ORDERS, reported, clocks
        self._file, self._freeze = StateFile(self._path, reported), FreezeFile(directory / FREEZE)
        self._devices = DeviceRates()
        self._writing = asyncio.Lock()
        self._answers: Mapping[str, Kept] = {}
        self._under_way = UnderWay()
        self.carried: dict[str, Carried] = {}
        self.orders = self._read(memory_file.clocks())
        """Those in force."""
        self._aside = Interventions()
        """Those of what a file on trial lacks."""
        self.on_trial: Callable[[], bool] = lambda: False
        """Says whether the configuration may yet be taken back."""
        self.on_changed: Callable[[Interventions, Interventions, str], None] | None = None
        """Is told of each change, and who or what ended that which is gone."""
        self.on_refused: Callable[[Code], None] = lambda code: None
        self.ask_fleet: AskFleet = _alone
        """Says whether the fleet's budget refuses a drain, and what else there is to say of it."""
        self.loads_bps: Callable[[], Mapping[str, float]] = dict
        """Says what other POPs carry now, as far as it is known."""
        self.may_leave: Callable[[Drain], bool] = lambda drain: True
        self._control: Control
        self._measure: Callable[[Drain, Mapping[str, float]], Carried]

    def _read(self, now: memory_file.Clocks) -> Interventions:
        found, unread = orders_file.load(self._path, now)
        if unread:
            unread = f"{unread}; move the file away to begin without orders"
            self._reported.raise_(Alarm.ORDERS_UNREAD, str(self._path), unread)
        return replace(self._of(found), freeze=self._freeze.look(now), unread=unread)

    def _of(self, found: Orders) -> Interventions:
        """Take what the file holds."""
        self._answers = found.answers
        return Interventions(found.drains, found.overrides)

    def begin(self, control: Control, measure: Callable[[Drain, Mapping[str, float]], Carried]) -> None:
        """Tell the control loop, before its first step, what is in force."""
        self._control, self._measure = control, measure
        # what ended while no daemon ran, or a full disk kept in the file, must not come to life for a moment
        self.orders, gone = expired(self.orders, control.config, self.clocks().now_s)
        for words in gone:
            log_event(log, "order_ended", level=logging.WARNING, detail=words)
        control.take(self.orders, self.clocks().now_s)

    async def run(self) -> None:
        """Look at the freeze, at what is over and at the phases, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(EACH_S)

    async def holds(self) -> str:
        """Return why nothing may change, looked at just now: a freeze of a moment ago counts; "" = nothing holds."""
        with suppress(TimeoutError):
            # a disk that does not answer must not keep the daemon from its end
            await asyncio.wait_for(self.look(), LOOK_WITHIN_S)
        return self.orders.hold

    async def look(self) -> None:
        """Look once."""
        async with self._writing:
            before = await self._read_disk()
            config, aside = self._control.config, self._aside
            every = replace(
                before,
                drains=(*before.drains, *aside.drains),
                overrides=(*before.overrides, *aside.overrides),
            )
            after, gone = expired(every, config, self.clocks().now_s, on_trial=self.on_trial())
            after, self._aside = set_aside(after, config)
            for words in gone:
                log_event(log, "order_ended", level=logging.WARNING, detail=words)
            stepped = after if after.hold else self._advanced(after)
            changed = gone or (stepped.drains, stepped.overrides) != (before.drains, before.overrides)
            # what was refused as not written, since the disk did not answer, may have been written after all
            if (changed or self._file.is_doubted) and not await self._save(stepped):
                stepped = after
            if stepped != self.orders:
                self._apply(stepped, "; ".join(gone))

    async def _read_disk(self) -> Interventions:
        """Return the orders with the freeze as it is now; while the disk does not answer, all as it was."""
        before, subject = self.orders, str(self._freeze.path)
        try:
            freeze, found = await self._file.disk.run(partial(self._look_at_disk, unread=bool(before.unread)))
        except TimeoutError as error:
            self._reported.raise_(Alarm.STATE_NOT_SAVED, subject, f"whether it is there cannot be told: {error}")
            return replace(before, freeze=standing(before.freeze, self.clocks().now_s))
        self._reported.tell(Alarm.STATE_NOT_SAVED, subject, self._freeze.trouble or None)
        if found is not None:
            self._reported.clear(Alarm.ORDERS_UNREAD)
            before = self._of(found)
        return replace(before, freeze=freeze)

    def _look_at_disk(self, *, unread: bool) -> tuple[Freeze | None, Orders | None]:
        now = memory_file.clocks()
        self._devices.read(now.monotonic_s)
        found, complaint = orders_file.load(self._path, now) if unread else (Orders(), "it was read before")
        return self._freeze.look(now), None if complaint else found

    def _advanced(self, orders: Interventions) -> Interventions:
        now_s, pace = self.clocks().now_s, self._control.config.operator
        known, self.carried = self.carried, {}
        drains = []
        for drain in orders.drains:
            carried = self._measure(drain, self._devices.bps)
            was_s = known.get(drain.id, Carried()).quiet_since_s
            since_s = (now_s if was_s is None else was_s) if quiet(drain, carried, pace) else None
            self.carried[drain.id] = replace(carried, quiet_since_s=since_s)
            seen = seen_of(self._control, drain, now_s)
            seen = replace(seen, may_leave=seen.may_leave and self.may_leave(drain))
            drains.append(advance(drain, seen, since_s, pace, now_s))
        return replace(orders, drains=tuple(drains))

    async def _save(self, orders: Interventions) -> bool:
        at = memory_file.clocks()
        drains, overrides = (*orders.drains, *self._aside.drains), (*orders.overrides, *self._aside.overrides)
        text = orders_file.encode(Orders(drains, overrides, self._answers), at)
        return await self._file.save(lambda: text)

    def _apply(self, orders: Interventions, ended_by: str) -> None:
        before, self.orders = self.orders, orders
        self._tell(before, orders)
        if self.on_changed is not None:
            self.on_changed(before, orders, ended_by)
        now_s = self.clocks().now_s
        for drain in orders.drains:
            was = next((one.phase for one in before.drains if one.id == drain.id), None)
            if drain.phase is DrainPhase.DRAINED and was is DrainPhase.DRAINING and drain.after is After.RESET:
                self._control.forwarder.steering.end_connections(replace(orders, drains=(drain,)).drained)
        self._control.take(orders, now_s)
        self._control.step(now_s)

    def _tell(self, before: Interventions, after: Interventions) -> None:
        known = {drain.id: drain for drain in before.drains}
        for drain in after.drains:
            was = known.get(drain.id)
            if was is None or was.phase is not drain.phase:
                log_event(
                    log,
                    "drain_phase",
                    level=logging.WARNING,
                    drain=drain.id,
                    what=drain.what,
                    before=was.phase.value if was else "",
                    after=drain.phase.value,
                    owner=drain.owner,
                    detail=drain.reason,
                )
        if bool(before.hold) is not bool(after.hold):
            event = "frozen" if after.hold else "unfrozen"
            log_event(log, event, level=logging.WARNING, detail=after.hold or before.hold)

    async def change(self, request: OrderRequest) -> OrderDone | Refused:
        """Do what is asked, or say which rule refuses it; an accepted order is on disk."""
        return await self._under_way.whole(self._change(request), self.on_refused)

    async def _change(self, request: OrderRequest) -> OrderDone | Refused:
        async with self._writing:
            if self.orders.unread:
                return refused(Code.STORE, 503, f"orders cannot be changed: {self.orders.unread}")
            if (known := answered(self._answers, request)) is not None:
                return known
            planned = self._planned(request)
            if isinstance(planned, Refused):
                return planned
            if isinstance(planned.order, Drain):
                said = await self.ask_fleet(planned.order, dry_run=request.dry_run)
                if isinstance(said, Refused):
                    return said
                planned = replace(planned, changes=(*planned.changes, *said))
            id_ = planned.order.id if planned.order else request.command.id if isinstance(request.command, Undo) else ""
            if request.dry_run:
                more = would_change(self._control, planned.after, self.clocks().now_s)
                return OrderDone(id_, (*planned.changes, *more))
            return await self._done(request, planned, id_)

    def _planned(self, request: OrderRequest) -> PlannedOrder | Refused:
        now_s, command = self.clocks().now_s, request.command
        if why := self.orders.eips_hold:
            return refused(Code.FROZEN, 409, why)
        carried = Carried()
        if isinstance(command, DrainCommand):
            probe = Drain(
                id="", scope=command.scope, name=command.name, owner="", reason="", began_s=0, phase_since_s=0
            )
            carried = self._measure(probe, self._devices.bps)
        new_id = f"{'drain' if isinstance(command, DrainCommand) else 'override'}-{secrets.token_hex(4)}"
        planned = plan_order(command, self.orders, self._control.config, now_s, new_id, carried.rate_bps)
        if isinstance(planned, Refused) or planned.order is None or planned.order.forced:
            return planned
        no = refusal_of(self._control, planned.after, planned.order, now_s)
        return no or no_room(self._control.config, planned.order, carried.busier_bps, self.loads_bps()) or planned

    async def _done(self, request: OrderRequest, planned: PlannedOrder, id_: str) -> OrderDone | Refused:
        before, done = self._answers, OrderDone(id_, planned.changes)
        self._answers = with_answer(before, request, done, self.clocks().now_s)
        if not await self._save(planned.after):
            self._answers = before
            return refused(Code.STORE, 503, f"{self._path} cannot be written, so nothing was changed")
        for words in planned.changes:
            owner = planned.order.owner if planned.order else request.owner
            reason = planned.order.reason if planned.order else ""
            log_event(log, "ordered", level=logging.WARNING, order=id_, owner=owner, detail=words, why=reason)
        self._apply(planned.after, f"by {request.owner}")
        return done

    async def close(self) -> None:
        """Wait for the changes under way."""
        await self._under_way.close()
        self._file.disk.close()
