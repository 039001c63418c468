"""Runs the given checks once inside a network namespace and prints what came of them, as JSON.

`inside.py NAME=KIND,TARGET[,SOURCE] ...`: KIND is icmp or a TCP port.
"""

from __future__ import annotations

import asyncio
import json
import sys

from anycastd.model.checks import CheckKind, IcmpOptions, ProbeSpec, TcpOptions, Timing
from tests.unit.probes.world import probing, spec

TIMING = Timing(interval_s=3600.0, timeout_s=1.0)


def _parse(argument: str) -> ProbeSpec:
    name, _, rest = argument.partition("=")
    kind, target, *source = rest.split(",")
    options = IcmpOptions() if kind == "icmp" else TcpOptions(port=int(kind))
    check = CheckKind.ICMP if kind == "icmp" else CheckKind.TCP
    return spec(check, options, name=name, target=target, source=source[0] if source else None, timing=TIMING)


async def _run(specs: list[ProbeSpec]) -> None:
    async with probing() as probe:
        probe.engine.set_probes(specs)
        print("ready", flush=True)
        await probe.until("all", lambda: len({result.check for result in probe.results}) == len(specs), 10.0)
    print(json.dumps({result.check: result.why.value for result in probe.results}))


if __name__ == "__main__":
    asyncio.run(_run([_parse(argument) for argument in sys.argv[1:]]))
