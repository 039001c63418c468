"""Probe workers of a real daemon: killed and stopped, no announcement changes, an alarm says so, and it recovers."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.bench.configs import AT_ONCE, QUICK, document, region, server, toggled
from tests.bench.footprint import pids_of
from tests.bench.world import World, world
from tests.wait import wait_until

pytestmark = pytest.mark.lab

WORKERS = {"workers": 2, "worker_silent": "500ms", "worker_replace": "10m"}


def _workers(made: World) -> list[int]:
    """Return the worker processes of the POP."""
    said = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids_of(made)}
    return [pid for pid, words in said.items() if b"anycastd.probes.workers.worker" in words]


def _status(made: World) -> Any:
    return made.ask("/v1/status") or {"probing": {"workers": [], "workers_lost": 0}, "alarms": []}


def _all_run(made: World) -> bool:
    workers = _status(made)["probing"]["workers"]
    return len(workers) == 2 and all(one["up"] for one in workers)


def _alarmed(made: World) -> bool:
    return any(one["alarm"] == "probe_worker" for one in _status(made)["alarms"])


def _health(made: World) -> set[str]:
    """Return what is believed by the checks that workers carry out."""
    said = made.ask("/v1/checks") or {"checks": []}
    return {one["health"] for one in said["checks"] if one["kind"] != "link"}


def test_workers_that_are_killed_or_stopped_change_no_announcement() -> None:
    with world(2) as made:
        regions = {f"r{n}": region(n, {"web": {"address": server(n), "checks": [QUICK]}}) for n in range(2)}
        prefixes = {
            toggled(n): {"announce_when": {"regions": "any", "of": [f"r{n}"]}, "timers": AT_ONCE} for n in range(2)
        }
        made.write_config({**document(regions, prefixes), "probes": WORKERS})
        sink, backend = made.sink(), made.backend()
        made.daemon()
        rows: list[dict[str, Any]] = []

        def heard(path: int) -> set[str]:
            rows.extend(sink.rows.new())
            return {row["prefix"] for row in rows if row["kind"] == "announce" and len(row["as_path"]) == path}

        wait_until("both announced", 60, lambda: heard(1) == {toggled(0), toggled(1)})
        wait_until("every check well", 30, lambda: _health(made) == {"HEALTHY"} and _all_run(made))
        before = len(rows)
        old = _workers(made)
        assert len(old) == 2
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        wait_until("the alarm", 30, lambda: _alarmed(made) and _status(made)["probing"]["workers_lost"] == 2)
        wait_until("others run", 60, lambda: _all_run(made) and _health(made) == {"HEALTHY"})
        stopped = _workers(made)
        assert not set(stopped) & set(old)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        wait_until("nothing is known", 60, lambda: _health(made) == {"UNKNOWN"})
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        wait_until("all well again", 60, lambda: _all_run(made) and _health(made) == {"HEALTHY"})
        assert _workers(made) == stopped
        assert _status(made)["probing"]["checks"] == 6
        heard(1)
        assert [row for row in rows[before:] if row["kind"] in ("announce", "withdraw", "down")] == []
        backend.tell(set=[server(0)], good=False)
        wait_until("a failure is still found", 30, lambda: toggled(0) in heard(4))
