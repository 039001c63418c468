"""The daemon, with every call of its event loop timed by the CPU that it takes: `loop_watch.py CONFIG FILE [held]`.

CPU time and not time: on a busy machine a call stands still for what others do. With `held` it is time without what the
thread stood ready to run and had no processor (proc(5) `schedstat`), so that waiting for another thread of ours that
has the interpreter counts. On SIGRTMIN counting begins; on SIGRTMIN+1 what was found is written to the file as JSON:
how many calls, how long the longest took by the clock on the wall, and those that took longest with their names.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from anycastd.runtime.main import main

KEPT = 20


def what(handle: asyncio.Handle) -> str:
    """Return what a call is: of a task, its coroutine and where that waits now."""
    task = getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined]
    return repr(task if hasattr(task, "get_coro") else handle)


class Watch:
    """Counts calls and keeps the longest."""

    def __init__(self, file: Path) -> None:
        self.file, self.calls, self.wall_s = file, 0, 0.0
        self.longest: list[tuple[float, int, str]] = []

    def begin(self, *_: object) -> None:
        """Forget what was before."""
        self.calls, self.wall_s, self.longest = 0, 0.0, []

    def tell(self, *_: object) -> None:
        """Write down what was found, whole or not at all."""
        rows = [[cpu_s, name] for cpu_s, _, name in sorted(self.longest, reverse=True)]
        draft = self.file.with_suffix(".draft")
        draft.write_text(json.dumps({"calls": self.calls, "wall_s": self.wall_s, "longest": rows}), encoding="utf-8")
        draft.rename(self.file)

    def took(self, took_s: float, wall_s: float, handle: asyncio.Handle) -> None:
        """Count a call."""
        self.calls += 1
        self.wall_s = max(self.wall_s, wall_s)
        if len(self.longest) < KEPT:
            heapq.heappush(self.longest, (took_s, self.calls, what(handle)))
        elif took_s > self.longest[0][0]:
            heapq.heapreplace(self.longest, (took_s, self.calls, what(handle)))


def held_clock() -> Callable[[], float]:
    """Return a clock, of the calling thread alone, that stands while it has to wait for a processor."""
    file = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)

    def held_s() -> float:
        waited_ns = int(os.pread(file, 100, 0).split()[1])
        return time.monotonic() - waited_ns * 1e-9

    return held_s


def patch(watch: Watch, clock: Callable[[], float]) -> None:
    """Time every call from now on."""
    # the quick one of C does not say what it runs
    asyncio.tasks.Task = asyncio.tasks._PyTask  # type: ignore[attr-defined, misc]
    run = asyncio.Handle._run

    def timed(self: asyncio.Handle) -> None:
        begun_wall_s, begun_s = time.monotonic(), clock()
        run(self)
        watch.took(clock() - begun_s, time.monotonic() - begun_wall_s, self)

    asyncio.Handle._run = timed  # type: ignore[method-assign]


if __name__ == "__main__":
    watch = Watch(Path(sys.argv[2]))
    patch(watch, held_clock() if "held" in sys.argv[3:] else time.thread_time)
    signal.signal(signal.SIGRTMIN, watch.begin)
    signal.signal(signal.SIGRTMIN + 1, watch.tell)
    sys.exit(main(sys.argv[1]))
