"""A thousand HTTP checks a second, some of them flapping, for ten minutes: no process of ours grows.

ANYCASTD_GROWTH_S=N watches for another time. The first fifth is not counted: caches and windows fill.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.bench.configs import SLOW_HTTP, document, region, toggled
from tests.bench.footprint import CHECKS, pids_of
from tests.bench.world import world
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.soak]

SAMPLE_S = 5.0
LIMIT_MIB = 2.0
"""All processes together, from the second fifth of the time to the last; what is kept of 1,000 results a second, 100
bytes each, would be 40 in ten minutes."""
FLAPPING = 50


def own_mib(pid: int) -> float:
    """Return the memory that is a process's own; what it shares depends on who else runs (proc(5), smaps_rollup)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Anonymous:")) / 1024.0


def mean(points: list[tuple[float, float]]) -> float:
    """Return the mean of the values."""
    return sum(value for _, value in points) / len(points)


def slope_per_hour(points: list[tuple[float, float]]) -> float:
    """Return the least-squares slope of points (s, MiB) in MiB an hour."""
    mean_t, mean_v = sum(t for t, _ in points) / len(points), mean(points)
    spread = sum((t - mean_t) ** 2 for t, _ in points)
    return 3600.0 * sum((t - mean_t) * (v - mean_v) for t, v in points) / spread


@pytest.mark.timeout(3600)
def test_nothing_grows_with_a_thousand_checks_and_flaps() -> None:
    watched_s = float(os.environ.get("ANYCASTD_GROWTH_S", "600"))
    with world(1) as made:
        made.run("ip", "-n", made.far, "route", "add", "local", "10.30.0.0/16", "dev", "lo")
        addresses = [f"10.30.{n // 250}.{n % 250 + 1}" for n in range(CHECKS)]
        targets = {f"b{n}": {"address": address, "checks": [SLOW_HTTP]} for n, address in enumerate(addresses)}
        made.write_config(document({"r0": region(0, targets)}, {toggled(0): {}}))
        made.sink()
        backend = made.backend()
        made.daemon()
        wait_until("ready", 60, lambda: made.ask("/readyz") is not None)
        backend.tell(toggle=addresses[:FLAPPING], phase_s=4.0)
        pids, begun_s = pids_of(made), time.monotonic()
        points: dict[int, list[tuple[float, float]]] = {pid: [] for pid in pids}
        due_s = begun_s
        while (now_s := time.monotonic()) < begun_s + watched_s:
            for pid in pids:
                points[pid].append((now_s - begun_s, own_mib(pid)))
            due_s += SAMPLE_S
            wait_until("the next sample", 60, lambda at_s=due_s: time.monotonic() >= at_s)  # type: ignore[misc]
        assert pids_of(made) == pids, "a process ended"
    grown = 0.0
    for pid, rows in points.items():
        fifth = len(rows) // 5
        begin, end = mean(rows[fifth : 2 * fifth]), mean(rows[-fifth:])
        grown += end - begin
        slope = slope_per_hour(rows[fifth:])
        print(f"{pid}: {begin:.1f} -> {end:.1f} MiB, slope {slope:+.1f} MiB an hour")
        print([round(value, 1) for _, value in rows[:: round(30 / SAMPLE_S)]])
    assert grown < LIMIT_MIB, f"grown by {grown:.1f} MiB in {watched_s:.0f} s"
