"""Sends many echo requests inside a network namespace, and stands still until it is told to go on.

`standing_still.py COUNT TIMEOUT_S TARGET`: holds its event loop once all are sent and before any reply is read; says
"holding", and goes on at a line on stdin. Prints each result as JSON: why, latency (s), detail.
"""

from __future__ import annotations

import asyncio
import json
import sys

from anycastd.model.address import CheckId
from anycastd.model.checks import CheckKind, IcmpOptions, Timing
from anycastd.model.probe import ProbeResult
from anycastd.probes.engine import Engine
from anycastd.probes.receive_time import TRUE_AFTER_S
from tests.unit.probes.world import spec


def hold() -> None:
    """Stand still: the loop runs nothing while this reads."""
    print("holding", flush=True)
    sys.stdin.readline()


async def run(count: int, timeout_s: float, target: str) -> None:
    """Send, hold, tell."""
    loop, told, timing = asyncio.get_running_loop(), list[ProbeResult](), Timing(interval_s=3600.0, timeout_s=timeout_s)
    engine = Engine(loop, told.append, dict)
    # opens the shared socket; from a while later on the kernel's stamps are true
    engine.set_probes([spec(CheckKind.ICMP, IcmpOptions(), name="0", target=target, timing=timing)])
    engine.nudge(CheckId("0"))
    await asyncio.sleep(TRUE_AFTER_S + timeout_s + 0.2)
    told.clear()
    names = [str(number) for number in range(count)]
    engine.set_probes([spec(CheckKind.ICMP, IcmpOptions(), name=one, target=target, timing=timing) for one in names])
    for name in names:
        engine.nudge(CheckId(name))
    # as a turn would that has no bound: else replies are read between the starts
    engine._start_due(loop.time(), loop.time() + 60.0)
    hold()
    while len(told) < count:  # noqa: ASYNC110 (results come by the loop)
        await asyncio.sleep(0.01)
    engine.close()
    print(json.dumps([[one.why, one.ended_s - one.started_s, one.detail] for one in told]), flush=True)


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]))
