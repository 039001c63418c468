"""The daemon's event loop under full load: no call in it may hold up what is urgent."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from anycastd.cli.client import UnixConnection
from tests.bench.configs import QUICK, SLOW_HTTP, document, region, server
from tests.bench.world import World, world
from tests.wait import wait_until

pytestmark = pytest.mark.lab

WATCH = Path(__file__).with_name("loop_watch.py")
PREFIXES, CHECKS = 800, 600
LONGEST_S = 0.02
TIMERS = {"return_after": "0s", "return_max": "0s", "half_life": "1s"}


def prefix(number: int) -> str:
    """Return one of the prefixes."""
    return f"46.0.{number // 64}.{number % 64 * 4}/30"


def loaded() -> dict[str, object]:
    """Return a POP with many prefixes of one check, and many checks of which none is slow."""
    backends = {f"b{n}": {"address": f"10.30.{n // 250}.{n % 250 + 1}", "checks": [SLOW_HTTP]} for n in range(CHECKS)}
    regions = {"r0": region(0, {"web": {"address": server(0), "checks": [QUICK]}}), "r1": region(1, backends)}
    when = {"regions": "any", "of": ["r0"]}
    return document(regions, {prefix(n): {"announce_when": when, "timers": TIMERS} for n in range(PREFIXES)})


def asked(made: World, target: str) -> int:
    """Return how long the answer of the daemon is, in bytes."""
    connection = UnixConnection(str(made.directory / "run" / "api.sock"), 60.0)
    connection.request("GET", target)
    size = len(connection.getresponse().read())
    connection.close()
    return size


@pytest.mark.timed
def test_no_call_in_the_loop_takes_20_ms_under_full_load() -> None:
    with world(2) as made:
        made.run("ip", "-n", made.far, "route", "add", "local", "10.30.0.0/16", "dev", "lo")
        config, found = made.write_config(loaded()), made.directory / "calls.json"
        sink, backend = made.sink(), made.backend()
        daemon = made.spawn(made.pop, [sys.executable, str(WATCH), str(config), str(found)], "daemon.log")
        last: dict[str, int] = {}

        def all_have(path: int) -> bool:
            for row in sink.rows.new():
                if row["kind"] == "announce":
                    last[row["prefix"]] = len(row["as_path"])
            return sum(one == path for one in last.values()) == PREFIXES

        wait_until("all announced", 90, lambda: all_have(1))
        wait_until("every check well", 60, lambda: _healthy(made) == CHECKS + 1)
        daemon.send_signal(signal.SIGRTMIN)
        for path, good in ((4, False), (1, True), (4, False), (1, True)):
            backend.tell(set=[server(0)], good=good)
            for target in ("/v1/status", "/metrics", "/v1/prefixes", "/v1/checks", "/v1/regions"):
                assert asked(made, target) > 500
            wait_until(f"all with a path of {path}", 60, lambda path=path: all_have(path))  # type: ignore[misc]
        daemon.send_signal(signal.SIGRTMIN + 1)
        wait_until("the calls are told", 20, found.exists)
        told = json.loads(found.read_text(encoding="utf-8"))
    assert told["calls"] > CHECKS
    too_long = [f"{cpu_s * 1000:.1f} ms of CPU: {name}" for cpu_s, name in told["longest"] if cpu_s > LONGEST_S]
    print(f"{told['calls']} calls, the longest {told['longest'][0]}")
    assert too_long == []


def _healthy(made: World) -> int:
    said = made.ask("/v1/regions") or {"regions": []}
    return sum(int(one["backends"]["healthy"]) for one in said["regions"])
