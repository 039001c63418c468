"""Many prefixes at once: depreferenced, withdrawn and announced again by the real daemon, beside ExaBGP alone.

A time begins when the server writes the answer that tips the check of the last of them, and ends with the last UPDATE
at a raw BGP listener. ExaBGP alone is fed by a shell script that writes all it has.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.bench import bgp
from tests.bench.configs import LEAVES, SLOW_HTTP, document, region, server
from tests.bench.figures import Figure, percentile
from tests.bench.world import ROUTER, Program, Row, World, world
from tests.wait import wait_until

THOUSAND, MANY = 1000, 10_000
SERVERS = 50
DEPREF_S = 0.3
RATE_BUDGET = 4000
ROUNDS = 3
QUICKER = {"http": {**SLOW_HTTP["http"], "rise": 1, "fall": 1}}
"""Once a second, so that fifty servers fail within one second and not at once."""
AGAIN = {"return_after": "0s", "return_max": "0s", "half_life": "1s"}
"""Normal again at once: for the next round. The guards themselves are the default ones."""

WHO = {"one": 46, "each": 47, "thousand": 48, "many": 49}


def prefix(kind: str, number: int) -> str:
    """Return a prefix of one of the groups."""
    return f"{WHO[kind]}.{number // 256}.{number % 256}.0/24"


@dataclass
class Watch:
    """What the API and the loop did meanwhile, looked at as often as it answers."""

    made: World
    took_s: list[float] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Ask until told to end."""
        while not self.over.is_set():
            begun_s = time.monotonic()
            if self.made.ask("/healthz") is not None:
                self.took_s.append(time.monotonic() - begun_s)
            self.over.wait(0.005)


@contextmanager
def watched(made: World) -> Iterator[Watch]:
    """Watch the API while something happens."""
    watch = Watch(made)
    thread = threading.Thread(target=watch.run)
    thread.start()
    try:
        yield watch
    finally:
        watch.over.set()
        thread.join()


@dataclass
class Scene:
    """A daemon with its router and servers."""

    made: World
    sink: Program
    backend: Program
    seen: list[Row] = field(default_factory=list)
    turned: list[Row] = field(default_factory=list)

    def read(self) -> None:
        """Take in what is new."""
        self.seen += self.sink.rows.new()
        self.turned += (row for row in self.backend.rows.new() if row["kind"] == "turned")

    def turn(self, servers: list[str], wanted: set[str], *, good: bool, path: int | None) -> tuple[float, float]:
        """Turn servers; wait until each of the prefixes was announced with a path so long, or withdrawn (None).

        Return how long the last took after the last server's first answer, and after the first server's.
        """
        self.read()
        self.seen.clear()
        self.turned.clear()
        left, last_s, kind = set(wanted), 0.0, "withdraw" if path is None else "announce"
        self.backend.tell(set=servers, good=good)

        def done() -> bool:
            nonlocal last_s
            self.read()
            for row in self.seen:
                fits = row["kind"] == kind and (path is None or len(row["as_path"]) == path)
                if fits and row["prefix"] in left:
                    left.discard(row["prefix"])
                    last_s = max(last_s, row["t"])
            self.seen.clear()
            return not left

        wait_until(f"{len(wanted)} prefixes {kind}, path {path}", 60, done)
        stamps = [row["t"] for row in self.turned]
        return last_s - max(stamps), last_s - min(stamps)

    def start(self, wanted: set[str]) -> None:
        """Start the daemon and wait until the router was sent all."""
        self.made.daemon()
        left = set(wanted)

        def done() -> bool:
            self.read()
            left.difference_update(row["prefix"] for row in self.seen if row["kind"] == "announce")
            self.seen.clear()
            return not left

        wait_until("everything announced", 90, done)


def _scene(made: World, config: dict[str, Any]) -> Scene:
    made.write_config(config)
    return Scene(made, made.sink(), made.backend())


def _regions(count: int) -> dict[str, Any]:
    return {f"r{n}": region(n, {"web": {"address": server(n), "checks": [QUICKER]}}) for n in range(count)}


def _of(kind: str, number: int, regions: list[str], **more: object) -> dict[str, Any]:
    return {
        prefix(kind, n): {"announce_when": {"regions": "any", "of": [regions[n % len(regions)]]}, **more}
        for n in range(number)
    }


def depreferenced() -> list[Figure]:
    """Measure 1,000 prefixes of one check, and 1,000 of fifty checks that fail within a second."""
    names = [f"r{n}" for n in range(SERVERS)]
    one = _of("one", THOUSAND, [f"r{SERVERS}"], timers=AGAIN)
    each = _of("each", THOUSAND, names, timers=AGAIN)
    config = document(_regions(SERVERS + 1), one | each)
    del config["safety"]
    figures = []
    with world(SERVERS + 1) as made:
        scene = _scene(made, config)
        scene.start({*one, *each})
        for what, group, servers in (
            (f"of one check, {ROUNDS} times", set(one), [server(SERVERS)]),
            (
                f"of {SERVERS} checks that fail within a second, {ROUNDS} times",
                set(each),
                [server(n) for n in range(SERVERS)],
            ),
        ):
            took, asked = list[float](), list[float]()
            for _ in range(ROUNDS):
                with watched(made) as watch:
                    took.append(scene.turn(servers, group, good=False, path=4)[0])
                asked += watch.took_s
                scene.turn(servers, group, good=True, path=1)
            figures.append(_depref(what, took, asked))
    return figures


def _depref(what: str, took_s: list[float], asked_s: list[float]) -> Figure:
    said, worst_s = ", ".join(f"{one:.2f}" for one in took_s), sorted(took_s)[len(took_s) // 2]
    return Figure(
        f"{THOUSAND} prefixes {what}, depreferenced with the default guards: last UPDATE after the last detection",
        f"{worst_s:.2f} s (each: {said}); the API meanwhile: p99 {percentile(asked_s, 0.99) * 1000:.0f} ms, "
        f"longest {max(asked_s, default=0.0) * 1000:.0f} ms (n = {len(asked_s)})",
        budget=f"median of {ROUNDS} <= {DEPREF_S} s",
        missed=f"It takes {worst_s:.2f} s." if worst_s > DEPREF_S else "",
    )


def moved() -> list[Figure]:
    """Measure withdrawals of 1,000 and 10,000 with the circuit breaker raised, and 10,000 announced."""
    leaves = {"last_resort": "withdraw", "timers": LEAVES}
    groups = {"thousand": _of("thousand", THOUSAND, ["r0"], **leaves), "many": _of("many", MANY, ["r1"], **leaves)}
    alone = _alone()
    with world(2) as made:
        scene = _scene(made, document(_regions(2), groups["thousand"] | groups["many"]))
        scene.start({*groups["thousand"], *groups["many"]})
        figures = []
        for n, (count, group) in enumerate(((THOUSAND, groups["thousand"]), (MANY, groups["many"]))):
            with watched(made) as watch:
                took_s, _ = scene.turn([server(n)], set(group), good=False, path=None)
            figures.append(_withdrawn(count, took_s, alone[f"withdraw {count}"], watch.took_s))
        with watched(made) as watch:
            # back depreferenced (S14): the first announcement is what counts
            took_s, _ = scene.turn([server(1)], set(groups["many"]), good=True, path=4)
    rate, bare = MANY / took_s, MANY / alone["announce"]
    longest_ms = max(watch.took_s, default=0.0) * 1000
    missed = f"{rate:.0f} a second." if rate < RATE_BUDGET else ""
    figures.append(
        Figure(
            f"{MANY} prefixes announced to one neighbor",
            f"{took_s:.2f} s, {rate:.0f} a second; the API meanwhile: longest {longest_ms:.0f} ms",
            f"{alone['announce']:.2f} s, {bare:.0f} a second (ExaBGP alone, fed by a shell script)",
            f"{rate / bare:.2f}",
            f">= {RATE_BUDGET} a second",
            missed,
        )
    )
    return figures


def _withdrawn(count: int, took_s: float, alone_s: float, asked_s: list[float]) -> Figure:
    budget = f"<= {DEPREF_S} s" if count == THOUSAND else ""
    return Figure(
        f"{count} prefixes withdrawn, circuit breaker raised by configuration: last UPDATE after the detection",
        f"{took_s:.2f} s; the API meanwhile: longest {max(asked_s, default=0.0) * 1000:.0f} ms",
        f"{alone_s:.2f} s (ExaBGP alone, fed by a shell script)",
        f"{took_s / alone_s:.2f}",
        budget,
        f"It takes {took_s:.2f} s." if budget and took_s > DEPREF_S else "",
    )


FEED = """cd "$1"
for step in announce withdraw1000 announce withdraw10000; do
  n=$((n + 1))
  while [ ! -e go$n ]; do sleep 0.01; done
  cat $step
done
exec sleep 600
"""


def _alone() -> dict[str, float]:
    """Return how long ExaBGP alone takes, one line a prefix, from the first line written."""
    found: dict[str, float] = {}
    with world(0) as made:
        feed = made.directory / "feed"
        feed.mkdir()
        feed.chmod(0o755)
        for name, verb, count in (
            ("announce", "announce", MANY), ("withdraw1000", "withdraw", THOUSAND), ("withdraw10000", "withdraw", MANY)
        ):  # fmt: skip
            words = "next-hop 10.9.0.1"
            lines = (f"neighbor {ROUTER} {verb} route {prefix('many', n)} {words}\n" for n in range(count))
            (feed / name).write_text("".join(lines), encoding="ascii")
        sink = made.sink()
        _feed(made, str(feed))
        wait_until("the session", 30, lambda: any(row["kind"] == "up" for row in sink.rows.new()))
        steps = (("announce", MANY), ("withdraw 1000", THOUSAND), ("again", MANY), ("withdraw 10000", MANY))
        for n, (step, count) in enumerate(steps, 1):
            rows: list[Row] = []
            left = {prefix("many", one) for one in range(count if step != "again" else THOUSAND)}
            kind = "withdraw" if step.startswith("withdraw") else "announce"
            begun_s = time.monotonic()
            (feed / f"go{n}").touch()

            def done(left: set[str] = left, kind: str = kind, rows: list[Row] = rows) -> bool:
                rows[:] = sink.rows.new() or rows
                left.difference_update(row["prefix"] for row in rows if row["kind"] == kind)
                return not left

            wait_until(f"ExaBGP alone: {step}", 60, done)
            found[step] = rows[-1]["t"] - begun_s
    return found


def _feed(made: World, directory: str) -> subprocess.Popen[bytes]:
    script = made.directory / "feed.sh"
    script.write_text(FEED, encoding="ascii")
    return bgp.start(made, ("/bin/sh", str(script), directory), acknowledge=False)


def run() -> list[Figure]:
    """Measure all."""
    return [*depreferenced(), *moved()]


if __name__ == "__main__":
    for figure in run():
        print(figure)
