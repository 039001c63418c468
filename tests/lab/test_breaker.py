"""S28 with the real daemon, ExaBGP and a router that listens: how many prefixes leave, over a kill, until a reset."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tests.bench.configs import QUICK, document, region, server
from tests.bench.world import Program, World, world
from tests.wait import wait_until

pytestmark = pytest.mark.lab

PREFIXES = [f"198.18.{number}.0/24" for number in range(8)]
MAY_LEAVE, BACK_AT_ONCE = "withdraw", {"settle": "200ms", "return_after": "0s", "return_max": "0s", "half_life": "1s"}


class Table:
    """What the router has."""

    def __init__(self, sink: Program) -> None:
        self._sink, self._routes = sink, set[str]()

    def count(self) -> int:
        """Return how many prefixes it has now."""
        for row in self._sink.rows.new():
            if row["kind"] == "announce":
                self._routes.add(row["prefix"])
            elif row["kind"] == "withdraw":
                self._routes.discard(row["prefix"])
        return len(self._routes)


def breaker(made: World) -> dict[str, Any]:
    """Return what the daemon says of it; nothing while it does not answer."""
    status = made.ask("/v1/status") or {}
    found: dict[str, Any] = status.get("breaker", {})
    return found


def test_health_takes_only_so_many_prefixes_down_until_somebody_says_so() -> None:
    with world(1) as made:
        table, backend = Table(made.sink()), made.backend()
        regions = {"r0": region(0, {"web": {"address": server(0), "checks": [QUICK]}})}
        prefixes = {prefix: {"last_resort": MAY_LEAVE, "timers": BACK_AT_ONCE} for prefix in PREFIXES}
        made.write_config(document(regions, prefixes) | {"safety": {"breaker": {"quiet": "5s"}}})
        daemon = made.daemon()
        wait_until("everything is announced", 30, lambda: table.count() == 8)
        assert breaker(made)["tripped"] is False
        backend.tell(set=[server(0)], good=False)
        wait_until("three have left", 20, lambda: table.count() == 5 and breaker(made).get("held") == 5)
        # a daemon that is killed and comes back remembers, and lets no more go
        memory = made.directory / "state" / "memory.json"
        wait_until(
            "it is on disk", 20, lambda: memory.exists() and memory.read_text().count('held_by_breaker": true') == 5
        )
        daemon.kill()
        daemon.wait()
        daemon = made.daemon()
        wait_until("the next one knows", 90, lambda: breaker(made).get("tripped") and breaker(made)["held"] == 5)
        held = [one for one in made.ask("/v1/prefixes")["prefixes"] if one["hold"] == "circuit_breaker"]
        assert (len(held), table.count()) == (5, 5)
        assert {one["level"] for one in held} == {"DEPREF"}
        socket = str(made.directory / "run" / "api.sock")
        reset = [sys.executable, "-m", "anycastd", "breaker", "reset", "--socket", socket]
        assert subprocess.run(reset, capture_output=True, text=True, check=True, timeout=20).stdout == "reset\n"
        wait_until("three more have left", 20, lambda: table.count() == 2 and breaker(made)["held"] == 2)
        alarms = {one["alarm"] for one in made.ask("/v1/status")["alarms"]}
        assert "circuit_breaker" in alarms
        backend.tell(set=[server(0)], good=True)
        wait_until("all are back", 30, lambda: table.count() == 8)
        wait_until("it is quiet", 30, lambda: breaker(made).get("tripped") is False)
        made.end_daemon(daemon)
        wait_until("a stop is not held", 20, lambda: table.count() == 0)
