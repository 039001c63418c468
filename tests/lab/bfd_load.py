"""Eight BFD sessions at 300 ms x 3 and 100 ms x 3 while both cores are busy: who saw a session go down that was up.

`python -m tests.lab.bfd_load SECONDS NICE`: brings up a stage of its own, keeps each core busy with two loops of that
niceness, and prints what was found as JSON. FRR, BIRD and our process have real-time scheduling, as an operator gives
it to them: at normal priority it would be the peers' own lateness that is seen.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from anycastd.model.probe import Why
from tests.lab.bfd_engine import PEERS, ROOT, Asked, asking, spec
from tests.lab.bfd_stage import PYTHON, BfdStage, bfd_stage

EVERY = tuple(PEERS)
PACES_S = (0.3, 0.1)
STILL_S = 0.1
"""Who is first of all programs and still late by so much was held up by the machine."""
LOOP = """
import sys, time
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end: pass
"""
WITNESS = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(50))
worst, last = 0.0, time.monotonic()
end = last + float(sys.argv[2])
while last < end:
    time.sleep(0.01)
    now = time.monotonic()
    worst, last = max(worst, now - last - 0.01), now
print(worst)
"""


@dataclass(frozen=True)
class Found:
    """What came of it.

    `still_s`: how long the machine kept from running whoever is first; `lost`: packets that it threw away.
    """

    seconds: int
    ours: int
    frr: int
    bird_up: int
    late_s: float
    realtime: bool
    still_s: float
    lost: int
    load: float

    @property
    def wolf(self) -> bool:
        """Return whether somebody cried wolf."""
        return (self.ours, self.frr, self.bird_up) != (0, 0, len(EVERY) // 2)

    @property
    def was_held_up(self) -> bool:
        """Return whether the machine itself stood still, or threw packets away as its queue was full."""
        return self.still_s > STILL_S or self.lost > 0

    def __str__(self) -> str:
        """Return it in words."""
        return (
            f"{self.seconds} s at load {self.load:.1f}: downs {self.ours} of ours, {self.frr} of FRR's, "
            f"{self.bird_up} up at BIRD; worst lateness {self.late_s * 1000:.1f} ms, real-time {self.realtime}; "
            f"machine still for {self.still_s * 1000:.1f} ms, {self.lost} packets lost by it"
        )


def lost_packets() -> int:
    """Return how many packets the kernel threw away before any namespace, as a processor's queue was full."""
    rows = Path("/proc/net/softnet_stat").read_text(encoding="ascii").split("\n")
    return sum(int(row.split()[1], 16) for row in rows if row)


@contextmanager
def busy(seconds: int, nice: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Keep each core busy with two loops; give the witnesses, one on each core."""
    loop = ("nice", "-n", str(nice), str(PYTHON), "-S", "-c", LOOP, str(seconds + 30))
    cores = sorted(os.sched_getaffinity(0))
    loops = [subprocess.Popen(loop, stdin=subprocess.DEVNULL, text=True) for _ in range(2 * len(cores))]
    words = (str(PYTHON), "-S", "-c", WITNESS)
    witnesses = [
        subprocess.Popen([*words, str(core), str(seconds)], stdout=subprocess.PIPE, text=True) for core in cores
    ]
    try:
        yield witnesses
    finally:
        for one in (*loops, *witnesses):
            one.kill()
            one.wait()


def sent_by(asked: Asked) -> int:
    """Return how many packets our process says that it sent; it says so each second."""
    view = asked.engine.bfd
    return 0 if view is None else view.sent


async def watched(stage: BfdStage, seconds: int, nice: int) -> Found:
    """Return what came of so many seconds; sessions take turns with the paces."""
    paced = zip(EVERY, itertools.cycle(PACES_S), strict=False)
    async with asking(stage, *(spec(stage, name, pace_s) for name, pace_s in paced)) as asked:
        await asked.until("all up", lambda: asked.all_are(Why.ANSWERED, *EVERY), 60.0)
        before, lost = sum(one["session-down"] for one in stage.frr_counters()), lost_packets()
        with busy(seconds, nice) as witnesses:
            said = [await asyncio.to_thread(one.communicate) for one in witnesses]
            load = os.getloadavg()[0]
        for _ in range(2):
            # what happened before a beat was told before it
            sent = sent_by(asked)
            await asked.until("a beat", lambda sent=sent: sent_by(asked) > sent)  # type: ignore[misc]
        view = asked.engine.bfd
        assert view is not None
        return Found(
            seconds=seconds,
            ours=view.downs,
            frr=sum(one["session-down"] for one in stage.frr_counters()) - before,
            bird_up=list(stage.bird_peers().values()).count("Up"),
            late_s=view.late_worst_s,
            realtime=view.realtime,
            still_s=max(float(text) for text, _ in said),
            lost=lost_packets() - lost,
            load=load,
        )


class Load:
    """A run in a process of its own, begun when this is made."""

    def __init__(self, seconds: int, nice: int) -> None:
        argv = ["setpriv", "--pdeathsig", "TERM", str(PYTHON), "-m", "tests.lab.bfd_load", str(seconds), str(nice)]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)

    def found(self) -> Found:
        """Wait for it."""
        said = self.process.communicate()[0]
        assert self.process.returncode == 0, said
        return Found(**json.loads(said.splitlines()[-1]))

    def close(self) -> None:
        """End it, and what it made, if nobody waited for it."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)
        if self.process.stdout is not None:
            self.process.stdout.close()


def main(seconds: int, nice: int) -> None:
    """Run it."""
    with bfd_stage() as stage:
        stage.start_frr(50)
        stage.start_bird(50)
        print(json.dumps(asdict(asyncio.run(watched(stage, seconds, nice)))), flush=True)


if __name__ == "__main__":
    # to leave nothing behind
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    main(int(sys.argv[1]), int(sys.argv[2]))
