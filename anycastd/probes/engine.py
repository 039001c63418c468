"""The probe engine: which probe runs when, and which result is told."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping

from anycastd.model.address import CheckId
from anycastd.model.bfd import BfdView
from anycastd.model.checks import CheckKind, ProbeSpec
from anycastd.model.kernel import LinkView
from anycastd.model.probe import ProbeResult, Why
from anycastd.model.probing import LATE_BOUNDS_S, EngineStats
from anycastd.model.topology import BfdConfig
from anycastd.probes.attempt import Attempt, Plan
from anycastd.probes.bfd.link import Trouble as BfdTrouble
from anycastd.probes.reactor import NEVER, EpollReactor
from anycastd.probes.registry import Registry
from anycastd.probes.resolve.lookup import Trouble
from anycastd.probes.slots import Slots, share_of
from anycastd.probes.sockets import may_be_open

OnResult = Callable[[ProbeResult], None]
OPEN_NONE = frozenset({CheckKind.LINK, CheckKind.FILE, CheckKind.ICMP, CheckKind.BFD})
"""Kinds of which a probe opens no descriptor of its own."""


def _say_nothing(_name: str, _detail: str | None) -> None:
    """Take the troubles of names in, for who has no alarms."""


def _no_alarm(_detail: str | None) -> None:
    """Take the troubles of the BFD process in, for who has no alarms."""


class _Check:
    """One check that is run: its plan, its next slot and the probes in flight."""

    __slots__ = ("begun", "delivered", "engine", "fast", "next_s", "plan", "running", "slots", "spec", "ticket")

    def __init__(self, engine: Engine, spec: ProbeSpec, plan: Plan) -> None:
        self.engine, self.spec, self.plan = engine, spec, plan
        self.slots = Slots(share_of(spec.id), spec.check.timing)
        self.running: set[Attempt] = set()
        self.fast, self.next_s, self.ticket, self.delivered = False, NEVER, -1, 0
        self.begun = 0

    def ended(self, attempt: Attempt, why: Why, detail: str, now_s: float) -> None:
        """Tell the result, marked if a newer probe has told its own: an old one must not turn a verdict back.

        It is told all the same: where the timeout is longer than the interval, every single loss ends so.
        """
        self.running.discard(attempt)
        overtaken = attempt.order < self.delivered
        if overtaken:
            self.engine.overtaken += 1
        else:
            self.delivered = attempt.order
        at_s, number, late_s = attempt.started_s, attempt.order, attempt.late_s
        self.engine.on_result(
            ProbeResult(self.spec.id, why, at_s, now_s, detail, number, overtaken, attempt.note, late_s)
        )

    def cancel(self) -> None:
        """End everything that runs, silently."""
        for attempt in self.running:
            attempt.cancel()
        self.running.clear()
        self.plan.close()


class Engine:
    """Runs checks on the event loop and gives each result to `on_result`; call it in the loop's own thread.

    `on_name` is told of names of targets that are not resolved, and when they are again; `on_bfd` of what is wrong with
    the process that speaks BFD, and None when nothing is. No probe is begun while `most_open` sockets are open: the
    rest of this process needs some too.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_result: OnResult,
        links: Callable[[], Mapping[str, LinkView]],
        on_name: Trouble = _say_nothing,
        bfd: BfdConfig | None = None,
        on_bfd: BfdTrouble = _no_alarm,
        most_open: int | None = None,
    ) -> None:
        self._most_open = may_be_open() if most_open is None else most_open
        self._time, self.on_result = loop.time, on_result
        self._reactor = EpollReactor(loop, links, self._start_due, self._next_start)
        self._registry = Registry(self._reactor, on_name, self._at_once, bfd or BfdConfig(), on_bfd)
        self._checks: dict[CheckId, _Check] = {}
        self._heap: list[tuple[float, int, _Check]] = []
        self._tickets = itertools.count()
        self._closed = False
        self._started = self._skipped = self.overtaken = 0
        self._late_last_s = self._late_max_s = self._late_sum_s = 0.0
        self._late_counts, self._unopened = [0] * (len(LATE_BOUNDS_S) + 1), 0

    @property
    def stats(self) -> EngineStats:
        """Return what was counted, as of now."""
        return EngineStats(
            checks=len(self._checks),
            started=self._started,
            running=sum(len(check.running) for check in self._checks.values()),
            sockets_open=self._reactor.watched,
            overtaken=self.overtaken,
            skipped=self._skipped,
            late_last_s=self._late_last_s,
            late_max_s=self._late_max_s,
            late_sum_s=self._late_sum_s,
            stalled_s=self._reactor.stalled_s,
            unopened=self._unopened,
            late_counts=tuple(self._late_counts),
        )

    @property
    def bfd(self) -> BfdView | None:
        """Return what is known of the process that speaks BFD, None if none is needed."""
        return self._registry.bfd.view

    def set_probes(self, specs: Iterable[ProbeSpec]) -> None:
        """Run exactly these: an unchanged one runs on in its phase, a changed one starts anew, others are cancelled."""
        wanted = {spec.id: spec for spec in specs}
        for known in tuple(self._checks.values()):
            if wanted.get(known.spec.id) != known.spec:
                del self._checks[known.spec.id]
                known.cancel()
        now_s, together = self._time(), len(wanted) - len(self._checks)
        for spec in wanted.values():
            if spec.id not in self._checks:
                check = self._checks[spec.id] = _Check(self, spec, self._registry.plan(spec))
                # what netlink told, or a file says, is at hand: waiting spreads nothing, and at a start a tunnel waits
                at_once = spec.check.kind in (CheckKind.LINK, CheckKind.FILE, CheckKind.BFD)
                self._schedule(check, now_s if at_once else check.slots.first(now_s, together))
        self._registry.settle()
        self._reactor.wake()

    def number_after(self, numbers: Mapping[CheckId, int]) -> None:
        """Go on counting the probes of checks after these numbers: another engine has begun so many."""
        for id_, number in numbers.items():
            if (known := self._checks.get(id_)) is not None:
                known.begun = max(known.begun, number)

    def pending(self, check: CheckId, pending: bool, /) -> None:
        """Run the check at its fast interval while a change of its verdict is pending."""
        known = self._checks.get(check)
        if known is None or known.fast == pending:
            return
        known.fast = pending
        fast_s = known.spec.check.timing.fast_interval_s
        if pending and fast_s is not None and (soon_s := self._time() + fast_s) < known.next_s:
            self._schedule(known, soon_s)
            self._reactor.wake()

    def nudge(self, check: CheckId) -> None:
        """Run the check now, besides its slots."""
        known = self._checks.get(check)
        if known is not None:
            self._schedule(known, self._time())
            self._reactor.wake()

    def link_changed(self, names: Iterable[str]) -> None:
        """Evaluate the link checks of these devices, before this returns."""
        changed = frozenset(names)
        now_s = self._time()
        for check in tuple(self._checks.values()):
            if check.spec.check.kind is CheckKind.LINK and check.spec.device in changed:
                self._start(check, now_s, now_s)
        self._reactor.wake()

    def _at_once(self, check: CheckId) -> None:
        """Run a check before this returns: something is known of its target."""
        known = self._checks.get(check)
        if known is not None:
            now_s = self._time()
            self._start(known, now_s, now_s)

    def close(self, *, leave: bool = True) -> None:
        """Cancel everything and give every descriptor back; BFD sessions are taken down if we `leave` for good."""
        if self._closed:
            return
        self._closed = True
        for check in self._checks.values():
            check.cancel()
        self._checks.clear()
        self._heap.clear()
        self._registry.close(leave=leave)
        self._reactor.close()

    def _schedule(self, check: _Check, slot_s: float) -> None:
        check.next_s, check.ticket = slot_s, next(self._tickets)
        heapq.heappush(self._heap, (slot_s, check.ticket, check))
        if len(self._heap) > 2 * len(self._checks) + 64:
            # what nudges and changes of pace have made void; in place, since a caller may be iterating
            self._heap[:] = [entry for entry in self._heap if self._is_current(entry)]
            heapq.heapify(self._heap)

    def _is_current(self, entry: tuple[float, int, _Check]) -> bool:
        check = entry[2]
        return entry[1] == check.ticket and self._checks.get(check.spec.id) is check

    def _next_start(self) -> float:
        heap = self._heap
        while heap and not self._is_current(heap[0]):
            heapq.heappop(heap)
        return heap[0][0] if heap else NEVER

    def _start_due(self, now_s: float, until_s: float) -> None:
        heap, time = self._heap, self._time
        while heap and heap[0][0] <= now_s:
            entry = heapq.heappop(heap)
            if not self._is_current(entry):
                continue
            slot_s, check = entry[0], entry[2]
            start_s = time()
            self._schedule(check, check.slots.following(slot_s, start_s, fast=check.fast))
            self._count_late(check, slot_s, start_s)
            self._start(check, slot_s, start_s)
            if start_s > until_s:
                return

    def _count_late(self, check: _Check, slot_s: float, now_s: float) -> None:
        late_s = self._late_last_s = now_s - slot_s
        self._late_counts[bisect_left(LATE_BOUNDS_S, late_s)] += 1
        self._late_sum_s += late_s
        if late_s > self._late_max_s:
            self._late_max_s = late_s
        interval_s = check.spec.check.timing.interval_s
        if late_s > interval_s / 2:
            self._skipped += max(0, int((check.next_s - slot_s) / interval_s + 0.01) - 1)

    def _start(self, check: _Check, slot_s: float, now_s: float) -> None:
        if len(check.running) >= check.slots.in_flight(fast=check.fast):
            self._skipped += 1
            return
        check.begun += 1
        if self._reactor.watched >= self._most_open and check.spec.check.kind not in OPEN_NONE:
            self._unopened += 1
            detail = f"{self._reactor.watched} sockets are open, as many as the limit of this process leaves for probes"
            self.on_result(ProbeResult(check.spec.id, Why.NO_DESCRIPTORS, now_s, now_s, detail, check.begun))
            return
        self._started += 1
        attempt = check.plan.attempt(check, check.begun, now_s)
        attempt.late_s = max(now_s - slot_s, 0.0)
        check.running.add(attempt)
        self._reactor.begin(attempt, slot_s, check.spec.check.timing.timeout_s)
