"""One private epoll below the event loop: events, deadlines, and how long our own loop stood still.

The loop sees one reader (the epoll's own descriptor) and one timer. A turn takes at most 64 events or about 5 ms, so
that nothing else starves; events are taken in before deadlines expire, and deadlines before new probes start.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import select
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from anycastd.model.kernel import LinkView
from anycastd.model.probe import Why
from anycastd.probes.attempt import EDGES, Attempt, Watcher

EVENTS_PER_TURN = 64
TURN_S = 0.005
TICK_S = 0.02
"""While a probe runs we wake at least this often, to see whether our own loop stands still."""
STALL_S = 0.02
"""Coming later than this is a stall; less is the timer's own grain (asyncio rounds up to 1 ms) and load."""
GRAIN_S = 0.002
"""Timers closer than this share one turn: at 1,000 starts a second half of the wake-ups go."""
LATE_S = 0.1
NEVER = float("inf")


class EpollReactor:
    """Runs attempts; `start_due(now_s, until_s)` starts what is due, `next_start()` says when to ask again."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        links: Callable[[], Mapping[str, LinkView]],
        start_due: Callable[[float, float], None],
        next_start: Callable[[], float],
    ) -> None:
        self._loop, self._time = loop, loop.time
        self.links, self._start_due, self._next_start = links, start_due, next_start
        self._epoll = select.epoll()
        self._watchers: dict[int, Watcher] = {}
        self._events: list[tuple[int, Watcher | None, int]] = []
        self._left: list[tuple[int, Watcher, int]] = []
        self._deadlines: dict[float, OrderedDict[Attempt, float]] = {}
        self._extended: list[tuple[float, int, Attempt]] = []
        self._counter = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._expected_s = NEVER
        self._slept_s = _slept_s()
        self.stalled_s = 0.0
        loop.add_reader(self._epoll.fileno(), self._turn)

    @property
    def watched(self) -> int:
        """Return how many descriptors are watched."""
        return len(self._watchers)

    def now(self) -> float:
        """Return the monotonic time in seconds."""
        return self._time()

    def watch(self, descriptor: int, watcher: Watcher, mask: int = EDGES, /) -> None:
        """Report events on this descriptor, edge-triggered unless `mask` says otherwise, until it is forgotten."""
        self._epoll.register(descriptor, mask)
        self._watchers[descriptor] = watcher

    def forget(self, descriptor: int) -> None:
        """Report nothing more; the kernel itself lets go of a descriptor when it is closed."""
        self._watchers.pop(descriptor, None)

    def again(self, descriptor: int, watcher: Watcher, mask: int, /) -> None:
        """Report this once more, in the next turn: edge-triggered, what is left unread would not be told of again."""
        self._left.append((descriptor, watcher, mask))

    def begin(self, attempt: Attempt, slot_s: float, timeout_s: float) -> None:
        """Start an attempt and keep its deadline."""
        # From the slot, not from the start: else, with interval = timeout, the next probe would start a hair
        # before this one times out, overtake it, and no single loss would ever be seen.
        base_s = slot_s if attempt.started_s - slot_s < STALL_S else attempt.started_s
        attempt.deadline_s, attempt.stalled_s = base_s + timeout_s, self.stalled_s
        queue = self._deadlines.get(timeout_s)
        if queue is None:
            queue = self._deadlines[timeout_s] = OrderedDict()
        queue[attempt] = attempt.deadline_s
        attempt.queue = queue
        fine = False
        try:
            attempt.start(attempt.started_s)
            fine = True
        finally:
            if not fine:
                attempt.broke(attempt.started_s)

    def wake(self) -> None:
        """Look again at what is due: the starts have changed."""
        self._arm(self._time())

    def close(self) -> None:
        """Let go of the loop; every attempt must have been cancelled before."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._watchers.clear()
        self._events.clear()
        self._left.clear()
        self._expected_s = NEVER

    def _fire(self) -> None:
        self._timer = None
        self._turn()

    def _turn(self) -> None:
        now_s = self._time()
        slept_s = _slept_s()
        if slept_s - self._slept_s > STALL_S:
            self.stalled_s += slept_s - self._slept_s
            self._slept_s = slept_s
        if now_s - self._expected_s > STALL_S:
            self.stalled_s += now_s - self._expected_s
        until_s = now_s + TURN_S
        try:
            if self._take_events(now_s, until_s) and self._expire(now_s, until_s):
                self._start_due(now_s, until_s)
        finally:
            if not self._epoll.closed:
                self._arm(now_s)

    def _take_events(self, now_s: float, until_s: float) -> bool:
        """Take a batch in; return True if nothing was left. What an exception leaves over is taken next time."""
        events, watchers, clock = self._events, self._watchers, self._time
        drained = True
        if not events:
            found = self._epoll.poll(0, EVENTS_PER_TURN)
            drained = len(found) < EVENTS_PER_TURN
            # to whom it happened is noted now
            told = [(number, watchers.get(number), mask) for number, mask in found]
            events = self._events = [*self._left, *told]
            self._left.clear()
        while events:
            descriptor, watcher, mask = events.pop()
            # since the batch was taken the descriptor may have been closed, and be another's: nothing happened to that
            if watcher is None or watchers.get(descriptor) is not watcher:
                continue
            fine = False
            try:
                watcher.on_event(mask, now_s)
                fine = True
            finally:
                if not fine:
                    watcher.broke(now_s)
            now_s = clock()
            if now_s > until_s:
                return drained and not events
        return drained

    def _expire(self, now_s: float, until_s: float) -> bool:
        """End what is overdue; return True if nothing overdue is left."""
        for queue in tuple(self._deadlines.values()):
            while queue:
                attempt = next(iter(queue))
                if attempt.deadline_s > now_s + GRAIN_S / 2:
                    break
                if self._time() > until_s:
                    return False
                self._overdue(attempt, now_s)
        while self._extended and self._extended[0][0] <= now_s:
            if self._time() > until_s:
                return False
            self._overdue(heapq.heappop(self._extended)[2], now_s)
        return True

    def _overdue(self, attempt: Attempt, now_s: float) -> None:
        """End an attempt, unless our own standing still took of its time: that is given back, or called by name."""
        if attempt.over:
            return
        if attempt.queue is not None:
            attempt.queue.pop(attempt, None)
        if attempt.last_look():
            return
        stalled_s = self.stalled_s - attempt.stalled_s
        timeout_s = attempt.deadline_s - attempt.started_s
        if stalled_s > max(LATE_S, timeout_s / 2):
            attempt.end(Why.LOOP_LATE, f"our own loop stood still for {stalled_s * 1000:.0f} ms", now_s)
        elif attempt.deadline_s + stalled_s > now_s + GRAIN_S:
            heapq.heappush(self._extended, (attempt.deadline_s + stalled_s, next(self._counter), attempt))
        else:
            attempt.on_timeout(now_s)

    def _arm(self, now_s: float) -> None:
        wake_s = self._next_start()
        running = False
        for queue in self._deadlines.values():
            if queue:
                running = True
                wake_s = min(wake_s, next(iter(queue)).deadline_s)
        if self._extended:
            running, wake_s = True, min(wake_s, self._extended[0][0])
        if running:
            wake_s = min(wake_s, now_s + TICK_S)
        if self._events or self._left:
            wake_s = now_s
        elif wake_s < now_s + GRAIN_S:
            wake_s = now_s + GRAIN_S
        self._expected_s = wake_s
        if wake_s == NEVER or (self._timer is not None and self._timer.when() <= wake_s):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(wake_s, self._fire)


def _slept_s() -> float:
    """Return how long this machine was suspended since it started: CLOCK_MONOTONIC stands still in that time."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
