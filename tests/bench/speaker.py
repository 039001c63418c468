"""From command to UPDATE: the speaker beside ExaBGP alone, in the same run, at raw listeners. Needs root.

Run by `python -m tests.bench.speaker`.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from anycastd.actuators.exabgp import conf, process, wording
from anycastd.actuators.exabgp.files import BRIDGE_SOURCE, Files
from anycastd.model.bgp import Priority
from tests.lab.bgp_stage import POP, Sink, Stage, announce, eventually, neighbor, route, stage, withdraw

COUNT = 300
BULK = 8000
MANY = 10_000
AT_ONCE = 1000
GAP_S = 0.005


def percentile(values: Sequence[float], of: float) -> float:
    """Return the value at or below which a share `of` of all lie."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * of), len(ordered) - 1)]


def figures(said_s: dict[str, float], sink: Sink) -> dict[str, float]:
    """Return how long after it was said each prefix was on the wire, in ms."""
    seen_s = {row["prefix"]: row["t"] for row in sink.rows("announce") if row["prefix"] in said_s}
    took_ms = [(seen_s[prefix] - at_s) * 1000 for prefix, at_s in said_s.items()]
    some = {"p50_ms": percentile(took_ms, 0.5), "p99_ms": percentile(took_ms, 0.99), "max_ms": max(took_ms)}
    return {"n": len(took_ms)} | {name: round(value, 2) for name, value in some.items()}


def has(sink: Sink, count: int, kind: str) -> bool:
    """Return whether a listener has seen so many; cheap, since it is asked often."""
    return sink.path.read_bytes().count(f'"kind": "{kind}"'.encode()) >= count


def prefixes(first_byte: int, count: int) -> list[str]:
    """Return different /24."""
    return [f"{first_byte}.{n // 256}.{n % 256}.0/24" for n in range(count)]


async def through_speaker(ex: Stage) -> dict[str, Any]:
    """Measure idle, and with bulk queued before."""
    sink = ex.sink(2)
    one = await ex.driven(neighbor(2)).start()
    await one.up("n2")
    said_s: dict[str, float] = {}

    async def say(which: Sequence[str]) -> None:
        said_s.clear()
        for prefix in which:
            said_s[prefix] = time.monotonic()
            one.speaker.apply([announce(2, prefix, Priority.FAILOVER)])
            await asyncio.sleep(GAP_S)

    await say(prefixes(10, COUNT))
    await eventually("all on the wire", 20, partial(has, sink, COUNT, "announce"))
    idle = figures(said_s, sink)
    one.speaker.apply([announce(2, prefix, Priority.BULK) for prefix in prefixes(11, BULK)])
    await say(prefixes(12, COUNT))
    left = len(one.speaker.observed.in_flight)
    await eventually("all on the wire", 60, partial(has, sink, 2 * COUNT + BULK, "announce"))
    busy = figures(said_s, sink) | {"still_queued_after_the_last": left}
    await one.speaker.stop(withdraw=True)
    return {"idle": idle, f"with_{BULK}_queued": busy}


async def rate(ex: Stage) -> dict[str, Any]:
    """Measure how fast many routes go out, and many withdrawals at once."""
    sink = ex.sink(4)
    one = await ex.driven(neighbor(4)).start()
    await one.up("n4")
    began_s = time.monotonic()
    one.speaker.apply([announce(4, prefix, Priority.BULK) for prefix in prefixes(11, MANY)])
    await eventually("all on the wire", 60, partial(has, sink, MANY, "announce"))
    announced_s = sink.rows("announce")[-1]["t"] - began_s
    await one.settled()
    began_s = time.monotonic()
    one.speaker.apply([withdraw(4, prefix) for prefix in prefixes(11, AT_ONCE)])
    await eventually("withdrawn", 60, partial(has, sink, AT_ONCE, "withdraw"))
    withdrawn_s = sink.rows("withdraw")[-1]["t"] - began_s
    await one.speaker.stop(withdraw=True)
    return {"announced_per_s": round(MANY / announced_s), f"last_of_{AT_ONCE}_withdrawn_ms": round(withdrawn_s * 1000)}


@contextmanager
def bare_exabgp(ex: Stage) -> Iterator[socket.socket]:
    """Run ExaBGP with the settings that the speaker gives it; give the bridge's socket and nothing before it."""
    directory = ex.directory / "alone"
    directory.mkdir()
    files = Files(str(directory), str(directory / "sock"))
    shutil.copy(BRIDGE_SOURCE, files.bridge)
    files.conf.write_bytes(conf.render(POP, [neighbor(3)], {}, process.bridge_command(files)))
    settings = process.environment(ex.config(), "root", [])
    argv = [process.program(""), "server", str(files.conf)]
    with socket.socket(socket.AF_UNIX) as listener, files.log.open("wb") as log:
        listener.bind(str(files.socket))
        listener.listen()
        exabgp = subprocess.Popen(argv, env={**os.environ, **settings}, stdout=log, stderr=log)
        try:
            bridge, _ = listener.accept()
            with bridge:
                bridge.setblocking(False)
                yield bridge
        finally:
            exabgp.send_signal(signal.SIGTERM)
            exabgp.wait(10)


async def alone(ex: Stage) -> dict[str, Any]:
    """Measure ExaBGP without queue or window, with nobody to read the answers."""
    sink, peer, said_s = ex.sink(3), neighbor(3), {}
    with bare_exabgp(ex) as bridge:
        await eventually("the session", 20, partial(has, sink, 1, "up"))
        for prefix in prefixes(10, COUNT):
            line = wording.announce(peer.address, [route(prefix)])
            said_s[prefix] = time.monotonic()
            bridge.send(line.encode() + b"\n")
            await asyncio.sleep(GAP_S)
        await eventually("all on the wire", 20, partial(has, sink, COUNT, "announce"))
    return figures(said_s, sink)


def run() -> dict[str, Any]:
    """Run everything; the figures are of this machine at this moment, the comparison is what counts."""
    with stage() as ex:
        bare, ours, many = asyncio.run(alone(ex)), asyncio.run(through_speaker(ex)), asyncio.run(rate(ex))
    allowed_ms = round(2 * bare["p99_ms"] + 3, 2)
    within = ours["idle"]["p99_ms"] <= allowed_ms
    verdict = {"idle_p99_allowed_ms": allowed_ms, "within": within, "load": os.getloadavg()[0]}
    return {"exabgp_alone_idle": bare, "speaker": ours, "rate": many} | verdict


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
