"""What the kernel tells: from a change of a device, address or route to the UPDATE, or to the route that is back.

The checks are looked at once in an hour and all is read once in an hour, so that what follows in time was told.
"""

from __future__ import annotations

import re
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.bench.configs import AT_ONCE, document, toggled
from tests.bench.figures import Figure, percentile
from tests.bench.world import Row, World, world
from tests.wait import NotInTimeError, wait_until

TUNNELS, ROUNDS = 4, 5
BUDGET_MS, BACK_BUDGET_MS = 50.0, 300.0
"""Of an event, and of a route that is put back: what differs is gathered, longer after a look that took long."""
PAUSE_S, SHORT_S = 1.5, 0.2
"""Between rounds: the change budget is free again, and the kernel tells of a lost carrier at once (link_watch)."""
LINK = {"link": {"interval": "1h", "require_address": True}}
ALWAYS_GOOD = {"file": {"path": "/run/anycastd-bench-no-such-file", "interval": "1h", "rise": 1}}


@dataclass(frozen=True)
class Change:
    """A change that makes a tunnel unusable: where it is ordered, and the orders that make and undo it."""

    name: str
    far: bool
    bad: str
    good: str


CHANGES = (
    Change("carrier lost", True, "link set far{n} down", "link set far{n} up"),
    Change("device down", False, "link set tun{n} down", "link set tun{n} up"),
    Change("address removed", False, "addr del 10.100.{n}.1/30 dev tun{n}", "addr add 10.100.{n}.1/30 dev tun{n}"),
)


def _tunnels(made: World) -> None:
    """Make tunnels whose ends have different numbers: else the kernel tells of a lost carrier up to a second later."""
    near = [f"link add name tun{n} index {100 + n} type veth peer name far{n} netns {made.far}" for n in range(TUNNELS)]
    near += [f"addr add 10.100.{n}.1/30 dev tun{n}\nlink set tun{n} up" for n in range(TUNNELS)]
    far = [f"addr add 10.100.{n}.2/30 dev far{n}\nlink set far{n} up" for n in range(TUNNELS)]
    made.run("ip", "-n", made.pop, "-batch", "-", text="\n".join(near) + "\n")
    made.run("ip", "-n", made.far, "-batch", "-", text="\n".join(far) + "\n")


def _configured() -> Row:
    tunnels = [
        {"device": f"tun{n}", "local": f"10.100.{n}.1", "far_end": f"10.100.{n}.2", "checks": [LINK]}
        for n in range(TUNNELS)
    ]
    backends = [{"web": {"address": f"10.20.{n}.1", "checks": [ALWAYS_GOOD]}} for n in range(TUNNELS)]
    regions = {
        f"r{n}": {"number": n + 1, "tunnels": {f"t{n}": tunnels[n]}, "backends": backends[n]} for n in range(TUNNELS)
    }
    prefixes = {
        toggled(n): {"announce_when": {"regions": "any", "of": [f"r{n}"]}, "timers": AT_ONCE} for n in range(TUNNELS)
    }
    return {**document(regions, prefixes), "kernel": {"reconcile": "1h"}}


class Scene:
    """The daemon, its router, and an `ip` in each namespace that waits for orders."""

    def __init__(self, made: World) -> None:
        self.made, self.sink, self.last = made, made.sink(), dict[str, Row]()
        self.daemon = made.daemon()
        self._hands = {
            far: made.spawn(made.far if far else made.pop, ["ip", "-batch", "-"], f"ip-{far}.log")
            for far in (False, True)
        }

    def do(self, line: str, *, far: bool = False) -> float:
        """Give an order; return when (s)."""
        hand = self._hands[far]
        assert hand.stdin is not None
        begun_s = time.monotonic()
        hand.stdin.write(line.encode() + b"\n")
        hand.stdin.flush()
        return begun_s

    def path(self, prefix: str) -> tuple[int, float]:
        """Return how long the AS path of a prefix is now, and since when (s)."""
        self.last |= {row["prefix"]: row for row in self.sink.rows.new() if row["kind"] == "announce"}
        row = self.last.get(prefix)
        return (0, 0.0) if row is None else (len(row["as_path"]), float(row["t"]))

    def rest(self, pause_s: float = PAUSE_S) -> None:
        """Let time pass."""
        end_s = time.monotonic() + pause_s
        wait_until("a pause is over", 10, lambda: time.monotonic() > end_s)


def _changed(scene: Scene, change: Change) -> tuple[list[float], int]:
    """Return how long (ms) each UPDATE took, and how many never came."""
    took_ms, lost = list[float](), 0
    for _ in range(ROUNDS):
        for n in range(TUNNELS):
            prefix = toggled(n)
            begun_s = scene.do(change.bad.format(n=n), far=change.far)
            try:
                wait_until(change.name, 10, lambda prefix=prefix: scene.path(prefix)[0] > 1)  # type: ignore[misc]
                took_ms.append((scene.path(prefix)[1] - begun_s) * 1e3)
            except NotInTimeError:
                lost += 1
            scene.do(change.good.format(n=n), far=change.far)
            wait_until("well again", 30, lambda prefix=prefix: scene.path(prefix)[0] == 1)  # type: ignore[misc]
        scene.rest()
    return took_ms, lost


STAMP = re.compile(r"\[(\S+)T(\d+):(\d+):(\d+\.\d+)\] (Deleted )?")


def _put_back(scene: Scene) -> list[float]:
    """Return how long (ms) a route of ours was away after somebody deleted it, by the kernel's own events."""
    made = scene.made
    monitor = made.spawn(made.pop, ["ip", "-ts", "-o", "monitor", "route"], "monitor.log")
    log = made.directory / "monitor.log"
    table = made.read("ip", "-n", made.pop, "-4", "route", "show", "table", "all", "proto", "201")
    ours = next(line for line in table.splitlines() if line.startswith("default via 10.100.0.2"))
    for number in range(ROUNDS * TUNNELS):
        scene.rest(SHORT_S)
        scene.do(f"route del {ours.replace(' onlink', '')}")
        wait_until("deleted and back", 10, lambda number=number: len(_stamps(log)) >= 2 * (number + 1))  # type: ignore[misc]
    stamps = _stamps(log)
    monitor.kill()
    with suppress(subprocess.TimeoutExpired):
        monitor.wait(5)
    return [(back - gone) * 1e3 for gone, back in zip(stamps[::2], stamps[1::2], strict=False)]


def _stamps(log: Path) -> list[float]:
    """Return the time of day (s) of each event."""
    found = [STAMP.match(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [int(one[2]) * 3600 + int(one[3]) * 60 + float(one[4]) for one in found if one]


def _figure(name: str, took_ms: list[float], lost: int, budget_ms: float = BUDGET_MS) -> Figure:
    worst_ms = max(took_ms, default=0.0)
    missed = f"The worst is {worst_ms:.0f} ms." if worst_ms > budget_ms else ""
    missed += f" {lost} were not followed." if lost else ""
    return Figure(
        name,
        f"p50 {percentile(took_ms, 0.5):.1f} ms, worst {worst_ms:.1f} ms (n = {len(took_ms)})",
        budget=f"worst <= {budget_ms:.0f} ms",
        missed=missed.strip(),
    )


def run() -> list[Figure]:
    """Measure every change."""
    with world(0) as made:
        _tunnels(made)
        made.write_config(_configured())
        scene = Scene(made)
        try:
            wait_until("all announced", 60, lambda: all(scene.path(toggled(n))[0] == 1 for n in range(TUNNELS)))
        except NotInTimeError as error:
            raise NotInTimeError(f"{error}: {made.log_tail()}") from error
        scene.rest()
        back_ms = _put_back(scene)
        figures = [_figure(f"kernel event to UPDATE, {one.name}", *_changed(scene, one)) for one in CHANGES]
        return [*figures, _figure("a route of ours deleted by another program: away for", back_ms, 0, BACK_BUDGET_MS)]


if __name__ == "__main__":
    for figure in run():
        print(figure)
