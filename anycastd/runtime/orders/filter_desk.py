"""Where blackholes and flow rules are ordered, kept, ended, and led to the neighbors and the packet filter.

    command -> plan (pure) -> file -> the bridge is told the end -> neighbors and packet filter
    each EACH_S: over? -> file -> neighbors and packet filter

The file is written first: what a restart would not know is not done. Only what ends, ends although the disk is full,
for the file names its end; and without a daemon the bridge ends it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

from anycastd.actuators.nft.filters import counter_of
from anycastd.api.ports import Clocks, FilterRequest, OrderDone
from anycastd.errors import ActuatorTransient
from anycastd.model.address import Address
from anycastd.model.attack import AttackState, AttackView, Standing
from anycastd.model.bgp import BgpObserved, DeadManStage, FilterRoutes
from anycastd.model.filter_config import FilterConfig
from anycastd.model.filters import Auto, Filter, FilterFacts, Filters, destination_of
from anycastd.model.nft import Count, LocalFilter
from anycastd.model.status import Alarm
from anycastd.model.topology import Config
from anycastd.policy.filters import local_filters, wanted_filters
from anycastd.reconcile.filters import diff_filters, ends_of_flows, withdrawn
from anycastd.resources.filters import (
    FilterCommand,
    PlannedFilter,
    Release,
    ends_of,
    kind_of,
    plan_filter,
    without_strangers,
)
from anycastd.resources.proposal import Proposal, propose
from anycastd.resources.refusal import Code, Refused, refused
from anycastd.runtime.alarms import Reported
from anycastd.runtime.bgp.speaker_events import ENDED
from anycastd.runtime.kept import filters_file, memory_file
from anycastd.runtime.kept.disk import StateFile
from anycastd.runtime.kept.filters_file import Found
from anycastd.runtime.kept.orders_file import Kept
from anycastd.runtime.loop.ports import Bgp
from anycastd.runtime.orders.ordering import UnderWay, answered, with_answer
from anycastd.telemetry.logs import log_event

EACH_S = 0.4
COUNT_EACH_S = 2.0
EOR_AGAIN_S = 3.0
CLOCK_STEP_S = 2.0
"""By so much the wall clock may run ahead before the packet filter's rules, which go by it, are told anew."""
FILTERS = "filters.json"
AUTOMATIC = "anycastd"
"""The owner of what `auto: apply` sets."""

log = logging.getLogger("anycastd")


class FilterDesk:
    """Implements `api.ports.FilterPort`; made before anything runs, so that the packet filter begins with what stands.

    `on_local`: is told that the packet filter is to hold something else; `on_ends`: that others end, or at other times;
    `on_note`: of each that begins, is renewed or ends, with who or what ended it.
    """

    def __init__(self, config: Config, reported: Reported, clocks: Callable[[], Clocks]) -> None:
        self._path, self._reported, self.clocks = Path(config.state_dir) / FILTERS, reported, clocks
        self.config, self._file = config, StateFile(self._path, reported)
        self._writing = asyncio.Lock()
        self._under_way = UnderWay()
        self._answers: Mapping[str, Kept] = {}
        self._last_end_s = float("-inf")
        self._eor_asked_s = float("-inf")
        self.dropped: dict[str, Count] = {}
        """What each dropped here, by id, since it was set."""
        self.filtered: dict[Address, Count] = {}
        """What was dropped of each address, by those that have ended too: it never goes down."""
        self._counted: dict[str, Count] = {}
        self._until: dict[tuple[str, float], int] = {}
        self._wall_ahead_s = math.nan
        """The wall clock, less the monotonic one, when those were worked out."""
        self.filters = self._read(memory_file.clocks())
        """Those in force."""
        self._aside: tuple[Filter, ...] = ()
        """Those whose prefix a file on trial lacks."""
        self.on_trial: Callable[[], bool] = lambda: False
        """Says whether the configuration may yet be taken back."""
        self.hold: Callable[[], str] = lambda: ""
        self.on_local: Callable[[], None] = lambda: None
        self.on_ends: Callable[[], None] = lambda: None
        self.on_note: Callable[[Filter, str, str], None] = lambda one, what, detail: None
        self.on_refused: Callable[[Code], None] = lambda code: None
        self.attack: Callable[[], AttackView] = AttackView
        """Says what attacks are seen."""
        self._bgp: Bgp | None = None

    def _read(self, now: memory_file.Clocks) -> Filters:
        found, unread = filters_file.load(self._path, now)
        self._answers = found.answers
        if unread:
            detail = f"{unread}; none stands any more: move the file away to set others"
            self._reported.raise_(Alarm.ORDERS_UNREAD, str(self._path), detail)
            return Filters((), detail)
        self._reported.clear(Alarm.ORDERS_UNREAD, str(self._path))
        # what ended while no daemon ran is never announced, nor put into the packet filter
        standing = tuple(one for one in found.standing if one.expires_s > now.monotonic_s)
        for one in found.standing:
            if one not in standing:
                log_event(log, "filter_ended", level=logging.WARNING, filter=one.id, detail=f"{one.what}: expired")
        return without_strangers(Filters(standing), self.config)[0]

    def begin(
        self, bgp: Bgp, *, hold: Callable[[], str], on_local: Callable[[], None], on_ends: Callable[[], None]
    ) -> None:
        """Lead what stands to the neighbors of this ExaBGP, from now on. `hold` says why nothing new may be said."""
        self._bgp, self.hold, self.on_local, self.on_ends = bgp, hold, on_local, on_ends

    # what others ask

    def filtered_of(self, address: Address) -> Count:
        """Return what was dropped of an address since the daemon started."""
        return self.filtered.get(address, Count())

    @property
    def local(self) -> tuple[LocalFilter, ...]:
        """Return what the packet filter should hold."""
        return local_filters(self.filters.standing, self._until_unix_s)

    def _until_unix_s(self, one: Filter) -> int:
        """Return when the kernel itself ends it: without a daemon nobody else would. Worked out once, so that it stays
        until the wall clock is set.

        Later than it ends here, even if all others end one by one before it.
        """
        key = one.id, one.expires_s
        if key not in self._until:
            pace = self._pace
            turns_s = pace.release_each_s * (pace.max_blackholes + pace.max_flow_rules)
            if math.isnan(self._wall_ahead_s):
                self._wall_ahead_s = self._ahead_s()
            self._until = {k: v for k, v in self._until.items() if k[0] != one.id}
            self._until[key] = math.ceil(self._wall_ahead_s + one.expires_s + turns_s + CLOCK_STEP_S)
        return self._until[key]

    def _ahead_s(self) -> float:
        clocks = self.clocks()
        return clocks.wall_s - clocks.now_s

    def _follow_clock(self) -> None:
        """Tell the packet filter anew when each ends, after the wall clock was set: set forward, it would end them all.

        As on a machine without a clock of its own, which is set when the network is there.
        """
        ahead_s = self._ahead_s()
        if abs(ahead_s - self._wall_ahead_s) > CLOCK_STEP_S:
            self._wall_ahead_s, self._until = ahead_s, {}
            if self.filters.standing:
                self.on_local()

    @property
    def wanted(self) -> FilterRoutes:
        """Return what every neighbor should be sent besides prefixes."""
        return wanted_filters(self.config, self.filters.standing)

    @property
    def observed(self) -> BgpObserved:
        """Return what ExaBGP says it sends."""
        return self._bgp.observed if self._bgp is not None else BgpObserved()

    def facts(self) -> Iterator[FilterFacts]:
        """Yield what is counted of each."""
        clocks = self.clocks()
        for one in self.filters.standing:
            what = str(destination_of(one)).removesuffix("/32").removesuffix("/128")
            ends_s, dropped = clocks.wall_s + one.expires_s - clocks.now_s, self.dropped.get(one.id, Count())
            yield FilterFacts(one.id, kind_of(one), what, ends_s, dropped)

    def proposals(self, eip: Address) -> tuple[Proposal, ...]:
        """Return the flow rules that fit the attack on an EIP, as far as one is seen."""
        pace = self._pace
        if pace.auto is Auto.OFF:
            return ()
        return propose(eip, self.attack().eips.get(eip, Standing()), pace.share_percent)

    def stages(self) -> tuple[DeadManStage, ...]:
        """Return what the bridge is to say when, should no daemon be there: each one's withdrawal at its end."""
        ends = ends_of(self.filters.standing, self._pace.release_each_s, self._last_end_s)
        found = []
        for at_s, one in ends:
            if actions := withdrawn(wanted_filters(self.config, (one,))):
                found.append(DeadManStage(ENDED, 0.0, actions, at_s))
        return tuple(found)

    @property
    def _pace(self) -> FilterConfig:
        return self.config.attack.filter

    # what happens

    def follow(self, now_s: float) -> None:
        """Put right what neighbors are sent, whenever something else is observed or wanted."""
        if self._bgp is None:
            return
        observed, wanted = self._bgp.observed, self.wanted
        if not (any(wanted.values()) or any((observed.filters or {}).values()) or observed.eor_owed):
            return
        if actions := diff_filters(wanted, observed):
            self._bgp.apply(actions)
        elif now_s - self._eor_asked_s >= EOR_AGAIN_S and (ends := ends_of_flows(wanted, observed)):
            self._eor_asked_s = now_s
            self._bgp.apply(ends)

    async def run(self) -> None:
        """Look at what is over, for ever."""
        while True:
            await self.look()
            await self.meet()
            await asyncio.sleep(EACH_S)

    async def look(self) -> None:
        """End what is over, and warn of what will be."""
        async with self._writing:
            now_s = self.clocks().now_s
            self._follow_clock()
            if self.filters.unread:
                await self._read_again()
            kept, strangers = self._sorted(now_s)
            ends = ends_of(kept.standing, self._pace.release_each_s, self._last_end_s)
            over = [one for at_s, one in ends if at_s <= now_s]
            if over:
                self._last_end_s = max(at_s for at_s, _ in ends if at_s <= now_s)
            after = replace(kept, standing=tuple(one for one in kept.standing if one not in over))
            if strangers or after.standing != self.filters.standing:
                # it ends although the disk is full: the file names its end
                await self._save(after, self._answers)
                for one in over:
                    self._tell(one, "ended", "its time is over")
                for one in strangers:
                    self._tell(one, "ended", "its address is in no prefix of ours any more")
                self._apply(after)
            elif self._file.is_doubted:
                # what was refused as not written, since the disk did not answer, may have been written after all
                await self._save(kept, self._answers)
            self._warn(now_s)

    def _sorted(self, now_s: float) -> tuple[Filters, tuple[Filter, ...]]:
        """Return what may stand, and what is no longer ours; while a file is on trial that is set aside, not ended."""
        every = replace(self.filters, standing=(*self.filters.standing, *self._aside))
        kept, strangers = without_strangers(every, self.config)
        on_trial = self.on_trial()
        self._aside = tuple(one for one in strangers if on_trial and one.expires_s > now_s)
        return kept, tuple(one for one in strangers if one not in self._aside)

    async def _read_again(self) -> None:
        with suppress(TimeoutError):
            read = await self._file.disk.run(lambda: self._read(memory_file.clocks()))
            if read.unread:
                self.filters = read
            else:
                self._apply(read)

    async def meet(self) -> None:
        """Set, with `auto: apply`, the flow rule that fits each attack best, and renew it while the attack goes on."""
        if self._pace.auto is not Auto.APPLY:
            return
        for eip, standing in self.attack().eips.items():
            best = next(iter(self.proposals(eip)), None)
            if standing.state is not AttackState.ATTACK or best is None or best.match.is_plain:
                continue
            known = [one for one in self.filters.rules if one.match.destination == ip_network(eip)]
            half_over_s = self.clocks().now_s + self._pace.flow_ttl_s / 2
            fresh = any(one.expires_s > half_over_s for one in known)
            # one by hand is the operator's answer; one of ours is renewed as it is
            if fresh or any(one.owner != AUTOMATIC for one in known):
                continue
            match, rate = (known[0].match, known[0].rate_bytes_s) if known else (best.match, best.rate_bytes_s)
            command = FilterCommand(owner=AUTOMATIC, reason=f"attack on {eip}", match=match, rate_bytes_s=rate)
            await self.change(FilterRequest(command=command, owner=AUTOMATIC))

    def _warn(self, now_s: float) -> None:
        """Say beforehand what will end: who still needs it renews it."""
        soon = {one.id: one for one in self.filters.standing if one.expires_s - now_s <= self._pace.warn_before_s}
        for one in self.filters.standing:
            left = f"{one.what} ends in {max(round(one.expires_s - now_s), 0)} s: set it again to extend it"
            self._reported.tell(Alarm.FILTER_ENDS, one.id, left if one.id in soon else None)

    def _tell(self, one: Filter, what: str, detail: str) -> None:
        self._reported.clear(Alarm.FILTER_ENDS, one.id)
        detail = f"{one.what}: {detail}"
        log_event(log, f"filter_{what}", level=logging.WARNING, filter=one.id, owner=one.owner, detail=detail)
        self.on_note(one, what, detail)

    def _apply(self, after: Filters) -> None:
        before, self.filters = self.local, after
        standing = {one.id for one in after.standing}
        self.dropped = {id_: count for id_, count in self.dropped.items() if id_ in standing}
        self._counted = {id_: count for id_, count in self._counted.items() if id_ in standing}
        self._until = {key: end for key, end in self._until.items() if key[0] in standing}
        # the bridge knows the new ends before a neighbor knows of what is new
        self.on_ends()
        if before != self.local:
            self.on_local()
        self.follow(self.clocks().now_s)

    async def _save(self, after: Filters, answers: Mapping[str, Kept]) -> bool:
        text = filters_file.encode(Found((*after.standing, *self._aside), answers), memory_file.clocks())
        return await self._file.save(lambda: text)

    async def change(self, request: FilterRequest) -> OrderDone | Refused:
        """Do what is asked, or say which rule refuses it; what is accepted is on disk."""
        return await self._under_way.whole(self._change(request), self.on_refused)

    async def _change(self, request: FilterRequest) -> OrderDone | Refused:
        async with self._writing:
            if self.filters.unread:
                return refused(Code.STORE, 503, f"nothing can be changed: {self.filters.unread}")
            if (known := answered(self._answers, request)) is not None:
                return known
            command, now_s = request.command, self.clocks().now_s
            # a freeze keeps what is new from the neighbors; what stands may end, as it does by itself
            if not isinstance(command, Release) and (why := self.hold()):
                return refused(Code.FROZEN, 409, f"announcements are frozen: {why}")
            new_id = f"{command.kind.value}-{secrets.token_hex(4)}"
            planned = plan_filter(command, self.filters, self.config, self._pace, now_s, new_id, self._last_end_s)
            if isinstance(planned, Refused):
                return planned
            id_ = command.id if isinstance(command, Release) else planned.order.id if planned.order else ""
            return OrderDone(id_, planned.changes) if request.dry_run else await self._done(request, planned, id_)

    async def _done(self, request: FilterRequest, planned: PlannedFilter, id_: str) -> OrderDone | Refused:
        done, now_s = OrderDone(id_, planned.changes), self.clocks().now_s
        answers = with_answer(self._answers, request, done, now_s)
        if not await self._save(planned.after, answers):
            return refused(Code.STORE, 503, f"{self._path} cannot be written, so nothing was changed")
        self._answers = answers
        if planned.order is None:
            gone = next(one for one in self.filters.standing if one.id == id_)
            self._tell(gone, "ended", f"by {request.owner}")
            self._last_end_s = now_s
        elif isinstance(request.command, Release):
            self._tell(planned.order, "released", f"by {request.owner}")
        else:
            self._tell(planned.order, "set", f"{planned.order.reason} ({request.owner})")
        self._apply(planned.after)
        return done

    def configure(self, config: Config) -> None:
        """Take a new configuration; what it has no place for ends at the next look."""
        self.config = config
        self.follow(self.clocks().now_s)

    async def count(self, read: Callable[[], Awaitable[Mapping[str, Count]]]) -> None:
        """Read, for ever, what each dropped; a counter that begins anew, as after a flush, goes on here."""
        while True:
            await asyncio.sleep(COUNT_EACH_S)
            if self.filters.standing:
                with suppress(ActuatorTransient):
                    self.take_counts(await read())

    def take_counts(self, found: Mapping[str, Count]) -> None:
        """Take one reading, by the names of the counters."""
        for one in self.filters.standing:
            now, before = found.get(counter_of(one.id), Count()), self._counted.get(one.id, Count())
            more = now - before if now.packets >= before.packets else now
            self.dropped[one.id] = self.dropped.get(one.id, Count()) + more
            what = ip_network(destination_of(one))
            if what.prefixlen == what.max_prefixlen:
                address = what.network_address
                self.filtered[address] = self.filtered.get(address, Count()) + more
            self._counted[one.id] = now

    def stop(self) -> None:
        """Say nothing to neighbors any more: ExaBGP is told to withdraw everything."""
        self._bgp = None

    async def close(self) -> None:
        """Wait for the changes under way."""
        await self._under_way.close()
        self._file.disk.close()
