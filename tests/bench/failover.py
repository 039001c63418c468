"""From the answer that tips a check to the UPDATE at a router, through the real daemon, beside ExaBGP alone.

A sample: a server behind a tunnel writes the first bad answer (the check's fall count is 1) and stamps it; the router
stamps the UPDATE with the longer path of the one prefix that depends on that server.
"""

from __future__ import annotations

import subprocess
from contextlib import suppress
from dataclasses import dataclass, field

from tests.bench import bgp
from tests.bench.configs import bulk, document, one_each, server, toggled, with_bulk
from tests.bench.figures import Figure, percentile, spread_ms
from tests.bench.world import Program, Row, World, world
from tests.wait import NotInTimeError, wait_until

FEW, SEVERAL = 8, 16
MANY = 8000
PHASE_S = 0.7
"""Of a server: longer than the change budget needs at the shortest half-life."""
ENOUGH = 320
SLACK_MS = 3.0


@dataclass
class Scene:
    """A daemon that announces everything, its router and its servers; all rows since the start."""

    made: World
    sink: Program
    backend: Program
    daemon: subprocess.Popen[bytes]
    seen: list[Row] = field(default_factory=list)
    turned: list[Row] = field(default_factory=list)
    windows_s: list[tuple[float, float]] = field(default_factory=list)

    def read(self) -> None:
        """Take in what is new."""
        self.seen += self.sink.rows.new()
        self.turned += (row for row in self.backend.rows.new() if row["kind"] == "turned")

    def turns(self) -> list[Row]:
        """Return every turn so far of a server that is not the bulk's, as stamps that `bgp.latencies_s` takes."""
        prefix = {server(n): toggled(n) for n in range(SEVERAL)}
        rows = [row for row in self.turned if row["address"] in prefix]
        return [{"t": r["t"], "prefix": prefix[r["address"]], "path": 1 if r["good"] else 4} for r in rows]

    def samples(self) -> tuple[list[float], int]:
        """Return latencies (s) of failures that began in a window (or all), and how many UPDATEs never came."""
        rows = self.turns()
        if self.windows_s:
            rows = [r for r in rows if any(begun <= r["t"] < ended for begun, ended in self.windows_s)]
        return bgp.latencies_s([r for r in rows if r["path"] == 4], self.seen)

    def is_complete(self) -> bool:
        """Take in what is new; return whether every sample has its UPDATE."""
        self.read()
        return self.samples()[1] == 0

    def wait_announced(self, wanted: set[str], within_s: float) -> None:
        """Wait until the router was sent these prefixes."""

        def so() -> bool:
            self.read()
            wanted.difference_update(row["prefix"] for row in self.seen if row["kind"] == "announce")
            return not wanted

        try:
            wait_until("everything announced", within_s, so)
        except NotInTimeError as error:
            raise NotInTimeError(f"{error}: {self.made.log_tail()}") from error


def _idle() -> tuple[list[float], int]:
    with world(FEW) as made:
        made.write_config(document(*one_each(FEW)))
        scene = Scene(made, made.sink(), made.backend(), made.daemon())
        scene.wait_announced({toggled(n) for n in range(FEW)}, 30)
        scene.backend.tell(toggle=[server(n) for n in range(FEW)], phase_s=PHASE_S)

        def enough() -> bool:
            scene.read()
            return len([row for row in scene.turns() if row["path"] == 4]) >= ENOUGH

        with suppress(NotInTimeError):
            wait_until("enough samples", 90, enough)
        scene.backend.tell(toggle=[], phase_s=PHASE_S)
        with suppress(NotInTimeError):
            wait_until("the last UPDATE", 5, scene.is_complete)
        return scene.samples()


def _one_burst(scene: Scene, server_of_bulk: str) -> None:
    """Let the many prefixes be withdrawn, then queued again all at once; note the time in which they were under way."""
    scene.read()
    mark = len(scene.seen)
    scene.backend.tell(set=[server_of_bulk], good=False)

    def sent(kind: str) -> int:
        scene.read()
        return sum(row["kind"] == kind and row["prefix"].startswith("45.") for row in scene.seen[mark:])

    wait_until("all withdrawn", 60, lambda: sent("withdraw") >= MANY)
    mark = len(scene.seen)
    scene.backend.tell(set=[server_of_bulk], good=True)
    wait_until("all announced", 60, lambda: sent("announce") >= MANY)
    begun_s = next(row["t"] for row in reversed(scene.turned) if row["address"] == server_of_bulk)
    ended_s = max(row["t"] for row in scene.seen if row["kind"] == "announce" and row["prefix"].startswith("45."))
    scene.windows_s.append((begun_s, ended_s))


def _loaded(within_s: float = 130.0) -> tuple[list[float], int, float]:
    """Return latencies, lost ones, and how long (s, median) the many routes took each time."""
    with world(SEVERAL + 1) as made:
        made.write_config(with_bulk(SEVERAL, MANY))
        scene = Scene(made, made.sink(), made.backend(), made.daemon())
        scene.wait_announced({toggled(n) for n in range(SEVERAL)} | {bulk(n) for n in range(MANY)}, 90)
        scene.backend.tell(toggle=[server(n) for n in range(SEVERAL)], phase_s=PHASE_S)

        def enough() -> bool:
            _one_burst(scene, server(SEVERAL))
            return len(scene.samples()[0]) >= ENOUGH

        with suppress(NotInTimeError):
            wait_until("enough samples", within_s, enough)
        scene.backend.tell(toggle=[], phase_s=PHASE_S)
        with suppress(NotInTimeError):
            wait_until("the last UPDATE", 5, scene.is_complete)
        took_s = percentile([ended - begun for begun, ended in scene.windows_s], 0.5)
        return (*scene.samples(), took_s)


def _figure(name: str, ours: list[float], lost: int, alone: list[float], budget_ms: float) -> Figure:
    p99_ms, alone_ms = percentile(ours, 0.99) * 1000, percentile(alone, 0.99) * 1000
    allowed_ms = 2 * alone_ms + SLACK_MS
    missed = ""
    if p99_ms > allowed_ms:
        missed = f"p99 is {p99_ms:.1f} ms, allowed are {allowed_ms:.1f} ms (2 x ExaBGP alone + {SLACK_MS:.0f} ms)."
    elif p99_ms > budget_ms:
        missed = (
            f"p99 is within 2 x ExaBGP alone + {SLACK_MS:.0f} ms, but not within {budget_ms:.0f} ms on this machine."
        )
    if lost:
        missed += f" {lost} UPDATEs did not come before the next turn."
    ratio = f"{p99_ms / alone_ms:.2f}" if alone_ms else ""
    budget = f"p99 <= 2 x baseline + {SLACK_MS:.0f} ms = {allowed_ms:.1f} ms (aim: {budget_ms:.0f} ms)"
    return Figure(name, spread_ms(ours), spread_ms(alone), ratio, budget, missed.strip())


def run() -> list[Figure]:
    """Measure idle and under load, each right after its baseline."""
    alone, _ = bgp.run(loaded=False)
    ours, lost = _idle()
    idle = _figure("failure seen to UPDATE, idle", ours, lost, alone, 10.0)
    print(f"  {idle.name}: {idle.measured}; ExaBGP alone: {idle.baseline}", flush=True)
    alone, _ = bgp.run(loaded=True)
    ours, lost, took_s = _loaded()
    name = f"failure seen to UPDATE, while {MANY} routes are being announced ({took_s:.1f} s each time)"
    return [idle, _figure(name, ours, lost, alone, 25.0)]


if __name__ == "__main__":
    for figure in run():
        print(figure)
