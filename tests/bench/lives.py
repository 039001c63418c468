"""The daemon's life seen from a router: how soon it speaks after its start, and that its death is not heard."""

from __future__ import annotations

import time

from tests.bench.configs import AT_ONCE, RISING, RISING_PING, bulk, document, one_each
from tests.bench.figures import Figure, percentile
from tests.bench.world import Program, Row, World, world
from tests.wait import wait_until

STARTS, DEATHS = 5, 3
RISE_S = 3 * 0.1
START_BUDGET_S = 1.0
MANY = 200
HEARD = ("announce", "withdraw", "eor", "open", "closed")


def _first(sink: Program, since_s: float) -> float | None:
    return next((r["t"] for r in sink.rows.new() if r["kind"] == "announce" and r["t"] >= since_s), None)


def cold_start() -> list[Figure]:
    """Measure from the start of the daemon, ExaBGP not running, to the first route at a router."""
    took_s = []
    with world(1) as made:
        # every check that the prefix waits for rises in RISE_S
        made.write_config(document(*one_each(1, RISING, RISING_PING)))
        sink = made.sink()
        made.backend()
        for _ in range(STARTS):
            (made.directory / "state" / "memory.json").unlink(missing_ok=True)
            begun_s = time.monotonic()
            daemon = made.daemon()
            first_s = wait_until("the first UPDATE", 30, lambda since_s=begun_s: _first(sink, since_s))  # type: ignore[misc]
            took_s.append(first_s - begun_s - RISE_S)
            made.end_daemon(daemon)
    median_s = percentile(took_s, 0.5)
    each = ", ".join(f"{one:.2f}" for one in took_s)
    missed = f"The median is {median_s:.2f} s." if median_s > START_BUDGET_S else ""
    return [
        Figure(
            "cold start to the first UPDATE, beyond rise x interval",
            f"{median_s:.2f} s (each: {each})",
            budget=f"median of {STARTS} <= {START_BUDGET_S:.0f} s",
            missed=missed,
        )
    ]


def _is_ready(made: World) -> bool:
    return made.ask("/readyz") is not None


def restart() -> list[Figure]:
    """Kill the daemon with SIGKILL and start another; count what the router heard of it."""
    heard: list[Row] = []
    ready_s = []
    regions, prefixes = one_each(1)
    prefixes |= {bulk(n): {"timers": AT_ONCE} for n in range(MANY)}
    with world(1) as made:
        made.write_config(document(regions, prefixes))
        sink = made.sink()
        made.backend()
        daemon = made.daemon()
        wait_until("ready", 30, lambda: _is_ready(made))
        seen: set[str] = set()

        def announced() -> bool:
            seen.update(row["prefix"] for row in sink.rows.new() if row["kind"] == "announce")
            return len(seen) == MANY + 1

        wait_until("everything announced", 30, announced)
        _quiet(sink, 2.0)
        for _ in range(DEATHS):
            daemon.kill()
            daemon.wait()
            begun_s = time.monotonic()
            daemon = made.daemon()
            wait_until("ready again", 30, lambda: _is_ready(made))
            ready_s.append(time.monotonic() - begun_s)
            heard += _quiet(sink, 2.0)
    missed = f"The router heard {len(heard)} messages: {heard[:3]}." if heard else ""
    what = f"{MANY + 1} prefixes, {DEATHS} times SIGKILL; ready again after {max(ready_s):.1f} s at worst"
    return [Figure("UPDATEs heard of a killed daemon", f"{len(heard)} ({what})", budget="0", missed=missed)]


def _quiet(sink: Program, seconds: float) -> list[Row]:
    """Return what the router hears within this time, keepalives apart."""
    end_s, rows = time.monotonic() + seconds, list[Row]()

    def over() -> bool:
        rows.extend(row for row in sink.rows.new() if row["kind"] in HEARD)
        return time.monotonic() > end_s

    wait_until("the time is over", seconds + 10, over)
    return rows
