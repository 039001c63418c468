"""Probes in several processes: what goes over the network is shared out among workers, the rest is run here.

It has the engine's face, and gives the same results. While a worker is away its checks are BROKEN, `worker_lost`: in
the end UNKNOWN, which changes no announcement.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterable
from functools import partial
from hashlib import blake2b

from anycastd.model.address import CheckId
from anycastd.model.bfd import BfdView
from anycastd.model.checks import CheckKind, ProbeSpec
from anycastd.model.probe import ProbeResult, Why
from anycastd.model.probing import EngineStats, ProbingConfig
from anycastd.probes.engine import Engine, OnResult
from anycastd.probes.resolve.lookup import Trouble
from anycastd.probes.workers.child import Child, Told

LOCAL = frozenset({CheckKind.LINK, CheckKind.FILE, CheckKind.EXEC, CheckKind.BFD})
"""What netlink has told us, a look at a file, and programs and BFD, which have processes of their own."""
AT_ONCE, EACH_S = 50, 0.02
"""Broken results told in one turn of the loop, and how soon the next turn comes."""
CALM_AFTER_S = 60.0


class Absence:
    """Tells for the checks of a worker that is away what each of their probes would: nothing, by our own fault."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, specs: Iterable[ProbeSpec], detail: str, on_result: OnResult
    ) -> None:
        self._loop, self._on_result, self.detail = loop, on_result, detail
        now_s = loop.time()
        self._due = [(now_s, number, spec) for number, spec in enumerate(specs)]
        self._timer: asyncio.TimerHandle | None = None
        self._tell()

    def _tell(self) -> None:
        now_s = self._loop.time()
        for _ in range(AT_ONCE):
            if not self._due or self._due[0][0] > now_s:
                break
            _, number, spec = self._due[0]
            heapq.heapreplace(self._due, (now_s + spec.check.timing.interval_s, number, spec))
            self._on_result(ProbeResult(spec.id, Why.WORKER_LOST, now_s, now_s, self.detail))
        self._timer = self._loop.call_later(EACH_S, self._tell)

    def end(self) -> None:
        """Tell no more."""
        if self._timer is not None:
            self._timer.cancel()


class Pool:
    """Runs checks in worker processes, and `here`, in the engine given, what has to be in this one.

    `on_worker(worker, detail)` is told of one that is away, None = well again.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_result: OnResult,
        here: Engine,
        on_name: Trouble,
        on_worker: Callable[[str, str | None], None],
        config: ProbingConfig,
    ) -> None:
        self._loop, self._on_result, self._on_name, self._on_worker = loop, on_result, on_name, on_worker
        self._here = here
        self._where: dict[CheckId, Child] = {}
        self._absent: dict[int, Absence] = {}
        self._calm: dict[int, asyncio.TimerHandle] = {}
        self._troubles: dict[str, dict[int, str]] = {}
        self.lost = 0
        """How often a worker was away."""
        self.workers = tuple(Child(loop, config, self._told(number)) for number in range(config.workers))

    def _told(self, number: int) -> Told:
        return Told(
            self._on_result, partial(self._name, number), partial(self._away, number), partial(self._back, number)
        )

    @property
    def stats(self) -> EngineStats:
        """Return what was counted in all processes, as far as it is known."""
        found = self._here.stats
        for child in self.workers:
            found = found.plus(child.stats)
        return found

    @property
    def bfd(self) -> BfdView | None:
        """Return what is known of the process that speaks BFD, None if none is needed."""
        return self._here.bfd

    @property
    def running(self) -> tuple[tuple[str, bool], ...]:
        """Return every worker, and whether it runs what it should."""
        return tuple((str(number + 1), number not in self._absent) for number in range(len(self.workers)))

    def set_probes(self, specs: Iterable[ProbeSpec]) -> None:
        """Run exactly these; an unchanged one stays where it is."""
        here, there = list[ProbeSpec](), [dict[CheckId, ProbeSpec]() for _ in self.workers]
        for spec in specs:
            if spec.check.kind in LOCAL:
                here.append(spec)
            else:
                there[_worker_of(spec, len(there))][spec.id] = spec
        self._here.set_probes(here)
        self._where = {}
        for child, some in zip(self.workers, there, strict=True):
            self._where |= dict.fromkeys(some, child)
            child.set_probes(some)

    def pending(self, check: CheckId, pending: bool, /) -> None:
        """Run the check at its fast interval while a change of its verdict is pending."""
        if (child := self._where.get(check)) is not None:
            child.pending(check, pending)
        else:
            self._here.pending(check, pending)

    def nudge(self, check: CheckId) -> None:
        """Run the check now, besides its slots."""
        if (child := self._where.get(check)) is not None:
            child.nudge(check)
        else:
            self._here.nudge(check)

    def link_changed(self, names: Iterable[str]) -> None:
        """Evaluate the link checks of these devices, before this returns."""
        self._here.link_changed(names)

    def close(self, *, leave: bool = True) -> None:
        """End every worker, and what runs here; `leave` is the engine's."""
        for child in self.workers:
            child.close()
        for handle in self._calm.values():
            handle.cancel()
        self._here.close(leave=leave)

    def _away(self, number: int, why: str) -> None:
        self.lost += number not in self._absent
        for name in [name for name, told in self._troubles.items() if number in told]:
            self._name(number, name, None)
        if (calm := self._calm.pop(number, None)) is not None:
            calm.cancel()
        detail = f"probe worker {number + 1} is away: {why}"
        self._on_worker(f"worker {number + 1}", f"{why}; its checks say nothing meanwhile")
        if number in self._absent:
            self._absent[number].detail = detail
        else:
            self._absent[number] = Absence(self._loop, self.workers[number].specs, detail, self._on_result)

    def _back(self, number: int) -> None:
        self._end_absence(number)
        subject = f"worker {number + 1}"
        self._on_worker(subject, "it was away, and runs all its checks again")
        self._calm[number] = self._loop.call_later(CALM_AFTER_S, self._on_worker, subject, None)

    def _end_absence(self, number: int) -> None:
        if (absence := self._absent.pop(number, None)) is not None:
            absence.end()

    def _name(self, number: int, name: str, detail: str | None) -> None:
        """Pass on the trouble with a name, which is over when no worker has it any more."""
        told = self._troubles.setdefault(name, {})
        if detail is not None:
            told[number] = detail
        else:
            told.pop(number, None)
        self._on_name(name, next(iter(told.values()), None))
        if not told:
            del self._troubles[name]


def _worker_of(spec: ProbeSpec, workers: int) -> int:
    """Return which worker runs a check: always the same, and for one name one that asks for it.

    Not by the checksum that spreads the starts: each worker would then have its own part of the interval.
    """
    name = spec.id if spec.name is None else spec.name.name
    return int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "big") % workers
