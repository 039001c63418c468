"""A process of its own that probes 127.0.0.1:PORT each 100 ms and prints a line per result, until its input ends.

`child.py PORT TIMEOUT_S [FREE_DESCRIPTORS]`; with the last, open descriptors are limited to the present ones and so
many more, until a line comes in.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from pathlib import Path

from anycastd.model.checks import Timing
from anycastd.model.probe import ProbeResult
from anycastd.probes.engine import Engine
from tests.unit.probes.world import http


def _limit(free: int) -> None:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if free >= 0:
        # the folder that is read here is itself one of them, and is closed after
        soft = max(int(name.name) for name in Path("/proc/self/fd").iterdir()) + free
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


async def _run(port: int, timeout_s: float, free: int | None) -> None:
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def tell(result: ProbeResult) -> None:
        print(result.why.value, flush=True)

    def heard() -> None:
        if os.read(0, 100):
            _limit(-1)
        else:
            loop.remove_reader(0)
            ended.set_result(None)

    engine = Engine(loop, tell, dict)
    loop.add_reader(0, heard)
    if free is not None:
        _limit(free)
    engine.set_probes([http(port, timing=Timing(interval_s=0.1, timeout_s=timeout_s))])
    await ended
    print("started", engine.stats.started, "skipped", engine.stats.skipped, flush=True)
    engine.close()


if __name__ == "__main__":
    asyncio.run(_run(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None))
