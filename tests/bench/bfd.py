"""From a silent cut of real vxlan tunnels to Down, by our BFD process and FRR's and BIRD's at the far ends."""

from __future__ import annotations

import asyncio
import statistics
import time

from anycastd.model.probe import Why
from tests.bench.figures import Figure, spread_ms
from tests.lab.bfd_engine import PEERS, asking, spec
from tests.lab.bfd_stage import BfdStage, bfd_stage

CUTS = 5
SLACK_MS = 5.0
INTERVALS_MS = (300, 100, 50)
EVERY = tuple(PEERS)


async def samples(stage: BfdStage, interval_ms: int) -> list[float]:
    """Return the seconds from each cut to each session's Down."""
    found: list[float] = []
    async with asking(stage, *(spec(stage, name, interval_ms / 1000) for name in EVERY)) as asked:
        pace = f"Up, sent each {interval_ms} ms, down after {3 * interval_ms} ms of silence"
        for _ in range(CUTS):
            await asked.until("all up, at their pace", lambda: {asked.detail(name) for name in EVERY} == {pace})
            begun_s = time.monotonic()
            # away from the loop, which takes the news in
            await asyncio.to_thread(stage.cut)
            cut_s = time.monotonic()
            await asked.until("all down", lambda: asked.all_are(Why.BFD_DOWN, *EVERY))
            downs = [next(r for r in asked.results if r.check == name and r.why is Why.BFD_DOWN and r.ended_s > begun_s)
                     for name in EVERY]  # fmt: skip
            found += [down.ended_s - cut_s for down in downs]
            await asyncio.to_thread(stage.mend)
    return found


def run() -> list[Figure]:
    """Measure each pace."""
    figures = []
    with bfd_stage() as stage:
        stage.start_frr(50)
        stage.start_bird(50)
        for interval_ms in INTERVALS_MS:
            found = asyncio.run(samples(stage, interval_ms))
            most_ms = 3 * interval_ms + SLACK_MS
            median_ms = statistics.median(found) * 1000
            missed = f"The median is {median_ms:.0f} ms." if median_ms > most_ms else ""
            name = f"Silent cut of a tunnel to Down, BFD {interval_ms} ms x 3"
            figures.append(Figure(name, spread_ms(found), budget=f"median <= {most_ms:.0f} ms", missed=missed))
    return figures
