"""Memory and CPU of the daemon and ExaBGP with 1,000 HTTP checks, each once a second."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.configs import AT_ONCE, SLOW_HTTP, document, region, toggled
from tests.bench.figures import Figure
from tests.bench.world import World, world
from tests.wait import wait_until

CHECKS = 1000
WATCHED_S = 20.0
CPU_BUDGET, RSS_BUDGET_MIB = 0.35, 120.0


@dataclass(frozen=True, slots=True)
class Use:
    """What processes used: CPU seconds so far, resident bytes now."""

    cpu_s: float
    rss_bytes: int


def use_of(pids: list[int]) -> Use:
    """Return what these processes use together (proc(5))."""
    cpu_s, rss_bytes = 0.0, 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        cpu_s += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        rss_bytes += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return Use(cpu_s, rss_bytes)


def pids_of(made: World) -> list[int]:
    """Return the processes of the POP."""
    said = subprocess.run(["ip", "netns", "pids", made.pop], check=True, capture_output=True, text=True, timeout=10)
    return [int(pid) for pid in said.stdout.split()]


def _wait(seconds: float) -> None:
    end_s = time.monotonic() + seconds
    wait_until("the time is over", seconds + 10, lambda: time.monotonic() > end_s)


def run() -> list[Figure]:
    """Measure once everything is announced and calm."""
    with world(1) as made:
        made.run("ip", "-n", made.far, "route", "add", "local", "10.30.0.0/16", "dev", "lo")
        backends = {
            f"b{n}": {"address": f"10.30.{n // 250}.{n % 250 + 1}", "checks": [SLOW_HTTP]} for n in range(CHECKS)
        }
        made.write_config(document({"r0": region(0, backends)}, {toggled(0): {"timers": AT_ONCE}}))
        made.sink()
        made.backend()
        daemon = made.daemon()
        wait_until("ready", 40, lambda: made.ask("/readyz") is not None)
        _wait(5.0)
        pids = pids_of(made)
        before, begun_s = use_of(pids), time.monotonic()
        own_before = use_of([daemon.pid])
        _wait(WATCHED_S)
        after, own_after, wall_s = use_of(pids), use_of([daemon.pid]), time.monotonic() - begun_s
        healthy = _healthy(made)
        made.scrape()
        scraped = use_of(pids).rss_bytes / 2**20
        relay = use_of([pid for pid in pids if _is_bridge(pid)]).rss_bytes / 2**20
    cpu, own_cpu = (after.cpu_s - before.cpu_s) / wall_s, (own_after.cpu_s - own_before.cpu_s) / wall_s
    rss, own_rss = after.rss_bytes / 2**20, own_after.rss_bytes / 2**20
    name = f"{CHECKS} HTTP checks each second: "
    return [
        Figure(
            name + "CPU of daemon, bridge and ExaBGP",
            f"{cpu:.2f} core (daemon {own_cpu:.2f}); {healthy} of {CHECKS} healthy",
            budget=f"<= {CPU_BUDGET} core",
            missed=f"{cpu:.2f} core instead of {CPU_BUDGET}." if cpu > CPU_BUDGET else "",
        ),
        Figure(
            name + "resident memory of daemon and ExaBGP",
            f"{rss - relay:.0f} MiB (daemon {own_rss:.0f}), {rss:.0f} with the bridge, {scraped:.0f} with it once "
            "somebody scraped",
            budget=f"<= {RSS_BUDGET_MIB:.0f} MiB",
            missed=f"{rss - relay:.0f} MiB instead of {RSS_BUDGET_MIB:.0f}." if rss - relay > RSS_BUDGET_MIB else "",
        ),
    ]


def _is_bridge(pid: int) -> bool:
    return b"bridge.py" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _healthy(made: World) -> int:
    said = made.ask("/v1/regions") or {"regions": []}
    return sum(int(region["backends"]["healthy"]) for region in said["regions"])


if __name__ == "__main__":
    for figure in run():
        print(figure)
