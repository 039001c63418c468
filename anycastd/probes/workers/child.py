"""The daemon's end of one probe worker: started, listened to, and replaced when it is dead or says nothing."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice

from anycastd.model.address import CheckId
from anycastd.model.checks import ProbeSpec
from anycastd.model.probe import ProbeResult
from anycastd.model.probing import EngineStats, ProbingConfig
from anycastd.probes.workers import wire
from anycastd.probes.workers.channel import Channel

LEARNED_AT_ONCE = 200
"""Checks in one order: a millisecond of the daemon's loop."""
FIRST_DELAY_S, MAX_DELAY_S = 0.2, 10.0
CALM_AFTER_S = 60.0
ENDED_EACH_S = 0.02
TURN_S = 0.005
"""Of the daemon's loop, for results: at a start each is a verdict, and thousands in a row would hold it for seconds."""
LOOKS = 4
"""In the time after which a worker counts as silent."""


@dataclass(frozen=True, slots=True)
class Told:
    """Who is told of what a worker does: its results, names, that it is away (why), and that it runs all again."""

    result: Callable[[ProbeResult], None]
    name: Callable[[str, str | None], None]
    away: Callable[[str], None]
    back: Callable[[], None]


class Child:
    """One worker process after the other."""

    def __init__(self, loop: asyncio.AbstractEventLoop, config: ProbingConfig, told: Told) -> None:
        self._loop, self._config, self._told = loop, config, told
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._specs: dict[CheckId, ProbeSpec] = {}
        self._numbers: dict[CheckId, int] = {}
        self._pending: set[CheckId] = set()
        self._set_number = self._running_set = 0
        self._heard_s = self._began_s = 0.0
        self._delay_s = FIRST_DELAY_S
        self._away = False
        self._timer: asyncio.TimerHandle | None = None
        self._learning: asyncio.Handle | None = None
        self._untaken: deque[ProbeResult] = deque()
        self._taking: asyncio.Handle | None = None
        self._counted = self._counted_before = EngineStats()

    @property
    def pid(self) -> int | None:
        """Return the process, if there is one."""
        return None if self._process is None else self._process.pid

    @property
    def stats(self) -> EngineStats:
        """Return what it has counted, with those before it."""
        return self._counted_before.plus(self._counted)

    @property
    def specs(self) -> Iterable[ProbeSpec]:
        """Return what it is to run."""
        return self._specs.values()

    def set_probes(self, specs: dict[CheckId, ProbeSpec]) -> None:
        """Have it run exactly these; one that has nothing to run is ended."""
        if specs == self._specs and (self._channel is not None or not specs):
            return
        self._specs = specs
        self._numbers = {id_: number for id_, number in self._numbers.items() if id_ in specs}
        self._pending &= specs.keys()
        if not specs:
            self._end()
        elif self._channel is None:
            self._start()
        else:
            self._teach()

    def pending(self, check: CheckId, pending: bool) -> None:
        """Pass on that a change of a verdict is pending."""
        (self._pending.add if pending else self._pending.discard)(check)
        self._say(wire.Pending(check, pending))

    def nudge(self, check: CheckId) -> None:
        """Have a check run now."""
        self._say(wire.Nudge(check))

    def close(self) -> None:
        """End it for good."""
        self._end()

    # its life

    def _start(self) -> None:
        self._let_go()
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "anycastd.probes.workers.worker", str(theirs.fileno())]
        self._began_s = self._heard_s = self._loop.time()
        self._running_set = 0
        try:
            with theirs:
                self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),))
        except OSError as error:
            ours.close()
            self._lost(f"it cannot be started: {error.strerror}")
            return
        self._channel = Channel(self._loop, ours, self._heard, self._ended)
        self._look_in(self._config.worker_silent_s / LOOKS)
        self._teach()

    def _teach(self) -> None:
        """Tell it, a bite at a time, what to run."""
        self._set_number += 1
        if self._learning is not None:
            self._learning.cancel()
        self._teach_some(iter(list(self._specs.values())))

    def _teach_some(self, left: Iterable[ProbeSpec]) -> None:
        some = tuple((spec, self._numbers.get(spec.id, 0)) for spec in islice(left, LEARNED_AT_ONCE))
        if some:
            self._say(wire.Learn(some))
            self._learning = self._loop.call_soon(self._teach_some, left)
            return
        self._learning = None
        self._say(wire.Run(self._set_number))
        for check in self._pending:
            self._say(wire.Pending(check, True))

    def _say(self, order: wire.Order) -> None:
        if self._channel is not None:
            self._channel.send(wire.order(order))

    def _heard(self, body: bytes) -> None:
        self._heard_s = self._loop.time()
        try:
            news = wire.read_news(body)
        except wire.WorkerError as error:
            self._lost(str(error))
            return
        match news:
            case wire.Results(results):
                self._untaken.extend(results)
                if self._taking is None:
                    self._take()
            case wire.Beat(set_number, stats):
                self._counted, self._running_set = stats, set_number
                if self._away and set_number == self._set_number:
                    self._away = False
                    self._told.back()
            case wire.Name(name, detail):
                self._told.name(name, detail)

    def _take(self) -> None:
        """Pass results on for a few milliseconds; while some are left nothing more is read, and the worker keeps it."""
        self._taking, until_s = None, self._loop.time() + TURN_S
        while self._untaken:
            result = self._untaken.popleft()
            self._numbers[result.check] = result.number
            if result.check in self._specs:
                self._told.result(result)
            if self._untaken and self._loop.time() > until_s:
                self._taking = self._loop.call_soon(self._take)
                break
        if self._channel is not None:
            self._channel.listen(self._taking is None)

    def _ended(self, looks: int = 20) -> None:
        """Learn that its end is closed; how it ended is known a moment later, since sockets go before the process."""
        if looks and self._process is not None and self._process.poll() is None:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(ENDED_EACH_S, self._ended, looks - 1)
            return
        self._lost(self._how())

    def _how(self) -> str:
        """Return in words how it ended, if that is known yet."""
        status = None if self._process is None else self._process.poll()
        if status is None:
            return "it has closed its end"
        return f"it was killed by signal {-status}" if status < 0 else f"it ended with status {status}"

    def _look(self) -> None:
        """See whether it has said anything lately; what it said while we were busy is heard first."""
        if self._channel is not None:
            self._channel.read()
        if self._channel is None:
            return
        silent_s = self._loop.time() - self._heard_s
        starts = self._running_set == 0
        if silent_s > (
            self._config.worker_start_s if starts else self._config.worker_silent_s + self._config.worker_replace_s
        ):
            self._lost(f"it has said nothing for {silent_s:.1f} s, and is replaced")
            return
        if not starts and silent_s > self._config.worker_silent_s and not self._away:
            self._away = True
            self._told.away(f"it has said nothing for {silent_s:.1f} s")
        self._look_in(self._config.worker_silent_s / LOOKS)

    def _look_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._look)

    def _lost(self, why: str) -> None:
        """Let it go and start another, the later the more often it happens."""
        self._let_go()
        if self._loop.time() - self._began_s > CALM_AFTER_S:
            self._delay_s = FIRST_DELAY_S
        self._away = True
        self._told.away(why)
        self._timer = self._loop.call_later(self._delay_s, self._start)
        self._delay_s = min(self._delay_s * 2, MAX_DELAY_S)

    def _end(self) -> None:
        self._let_go()
        if self._away:
            self._away = False
            self._told.back()

    def _let_go(self) -> None:
        for handle in (self._timer, self._learning, self._taking):
            if handle is not None:
                handle.cancel()
        self._timer = self._learning = self._taking = None
        self._untaken.clear()
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            # it holds nothing that it could leave in disorder
            self._process.kill()
            self._process.wait()
            self._process = None
        # what it had under way is over; what it counted stays counted
        self._counted_before = replace(self.stats, checks=0, running=0, sockets_open=0)
        self._counted = EngineStats()
