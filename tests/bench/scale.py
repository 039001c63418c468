"""Ten thousand HTTP checks in the real daemon: how late they begin, whether failing targets are found, CPU, memory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from tests.bench.configs import Document, document, one_each, region, server, toggled
from tests.bench.figures import Figure, percentile
from tests.bench.footprint import pids_of, use_of
from tests.bench.world import Row, World, world
from tests.wait import NotInTimeError, wait_until

LATE_BUDGET_S = 0.1
FAILING, OTHERS = 20, 10
"""Regions of one server each, on which a prefix depends, and regions that share the other servers."""
SLACK_S = 0.3
"""For ExaBGP and a busy machine, beyond the interval in which each target is looked at once."""
LATE = "anycastd_probe_start_late_seconds_bucket{le="


@dataclass
class Seen:
    """What one run saw: counts of starts by lateness (s), CPU (cores), memory (MiB), and when failures were found."""

    late: dict[float, int]
    cpu: float
    own_cpu: float
    rss_mib: float
    found_s: list[float]
    detected_s: list[float]
    healthy: int
    late_max_s: float

    def late_s(self, share: float) -> float:
        """Return the bound of lateness below which this share of all starts were."""
        counts = sorted(self.late.items())
        return next(bound for bound, count in counts if count >= share * counts[-1][1])


def configured(checks: int, interval_s: int, workers: int) -> Document:
    """Return so many HTTP checks, each of a server of its own; the first few have a prefix each, the rest none."""
    check = {"http": {"interval": f"{interval_s}s", "timeout": "1s", "rise": 1, "fall": 1}}
    regions, prefixes = one_each(FAILING, check)
    backends: dict[str, Any] = {
        f"b{n}": {"address": f"10.{30 + n // 50000}.{n // 250 % 200}.{n % 250 + 1}", "checks": [check]}
        for n in range(checks - FAILING)
    }
    each = -(-len(backends) // OTHERS)
    names = list(backends)
    for n in range(OTHERS):
        some = {name: backends[name] for name in names[n * each : (n + 1) * each]}
        if some:
            regions[f"many{n}"] = region(FAILING + n, some)
    return {**document(regions, prefixes), "probes": {"workers": workers}}


def _wait(seconds: float) -> None:
    end_s = time.monotonic() + seconds
    wait_until("the time is over", seconds + 30, lambda: time.monotonic() > end_s)


def _scrape(made: World) -> tuple[dict[float, int], float]:
    """Return the starts so far by how late they were (s), cumulative, and the latest of all."""
    text, counts = made.scrape(), {}
    for line in text.splitlines():
        if line.startswith(LATE):
            bound, _, count = line[len(LATE) + 1 :].partition('"} ')
            counts[float(bound)] = int(float(count))
    latest = next(line for line in text.splitlines() if line.startswith("anycastd_probe_start_late_max_seconds "))
    return counts, float(latest.split()[1])


def seen(checks: int, interval_s: int, workers: int, watched_s: float) -> Seen:
    """Run the daemon on so many checks."""
    with world(FAILING + OTHERS) as made:
        for second in (30, 31):
            made.run("ip", "-n", made.far, "route", "add", "local", f"10.{second}.0.0/16", "dev", "lo")
        made.write_config(configured(checks, interval_s, workers))
        sink, backend, daemon = made.sink(), made.backend(), made.daemon()
        rows: list[Row] = []
        wanted = {toggled(n) for n in range(FAILING)}

        def routes(path: int) -> dict[str, float]:
            rows.extend(sink.rows.new())
            last = {row["prefix"]: row for row in rows if row["kind"] == "announce"}
            return {prefix: row["t"] for prefix, row in last.items() if len(row["as_path"]) == path}

        wait_until("all announced", 120, lambda: wanted <= routes(1).keys())
        # every check has begun, and what a start costs is over: thousands of verdicts, each looked at and logged
        _wait(interval_s + 10.0)
        pids = pids_of(made)
        counts, _ = _scrape(made)
        _wait(1.0)
        begun_s, used, own = time.monotonic(), use_of(pids), use_of([daemon.pid])
        _wait(watched_s)
        wall_s, used_after, own_after = time.monotonic() - begun_s, use_of(pids), use_of([daemon.pid])
        after, late_max_s = _scrape(made)
        backend.rows.new()
        told_s = time.monotonic()
        backend.tell(set=[server(n) for n in range(FAILING)], good=False)
        wait_until("all failures followed", interval_s + 30, lambda: wanted <= routes(4).keys())
        turned = {row["address"]: row["t"] for row in backend.rows.new() if row["kind"] == "turned"}
        updates = routes(4)
        healthy = made.ask("/v1/regions") or {"regions": []}
    return Seen(
        late={bound: after[bound] - counts[bound] for bound in after},
        cpu=(used_after.cpu_s - used.cpu_s) / wall_s,
        own_cpu=(own_after.cpu_s - own.cpu_s) / wall_s,
        rss_mib=used_after.rss_bytes / 2**20,
        found_s=[updates[toggled(n)] - told_s for n in range(FAILING)],
        detected_s=[updates[toggled(n)] - turned[server(n)] for n in range(FAILING)],
        healthy=sum(int(one["backends"]["healthy"]) for one in healthy["regions"]),
        late_max_s=late_max_s,
    )


def _figures(checks: int, interval_s: int, workers: int, one: Seen) -> list[Figure]:
    where = f"{workers} workers" if workers else "no workers"
    name = f"{checks} HTTP checks each {interval_s} s, {where}: "
    p99_s, total = one.late_s(0.99), one.late[float("inf")]
    late = f"p99 below {p99_s * 1000:g} ms, p99.9 below {one.late_s(0.999) * 1000:g} ms (n = {total})"
    worst_s = max(one.found_s)
    return [
        Figure(
            name + "starts late",
            late,
            budget=f"p99 <= {LATE_BUDGET_S * 1000:.0f} ms",
            missed=f"p99 is above {LATE_BUDGET_S * 1000:.0f} ms." if p99_s > LATE_BUDGET_S else "",
        ),
        Figure(
            name + f"{FAILING} of them fail: UPDATE after the fault",
            f"worst {worst_s:.2f} s; after the bad answer p50 {percentile(one.detected_s, 0.5) * 1000:.1f} ms, "
            f"worst {max(one.detected_s) * 1000:.1f} ms",
            budget=f"<= {interval_s + SLACK_S:g} s",
            missed=f"One took {worst_s:.2f} s." if worst_s > interval_s + SLACK_S else "",
        ),
        Figure(
            name + "CPU and resident memory of all our processes",
            f"{one.cpu:.2f} core (daemon {one.own_cpu:.2f}), {one.rss_mib:.0f} MiB; {one.healthy} healthy",
        ),
    ]


def run() -> list[Figure]:
    """Measure 10,000 checks at 10 s, and 5,000 at 1 s without and with workers."""
    few = seen(FAILING + 1, 1, 0, 1.0)
    many = seen(10_000, 10, 0, 20.0)
    figures = _figures(10_000, 10, 0, many)
    each_kib = (many.rss_mib - few.rss_mib) * 1024 / (10_000 - FAILING)
    figures.append(
        Figure("memory of an HTTP check", f"{each_kib:.1f} KiB ({few.rss_mib:.0f} MiB with {FAILING} checks)")
    )
    for workers in (0, 2):
        try:
            figures += _figures(5000, 1, workers, seen(5000, 1, workers, 10.0))
        except NotInTimeError as error:
            what = f"5000 HTTP checks each 1 s, {workers or 'no'} workers"
            figures.append(Figure(what, "not measured", missed=f"Too slow here: {error}."))
    return figures


if __name__ == "__main__":
    for figure in run():
        print(figure)
