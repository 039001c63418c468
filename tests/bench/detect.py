"""How long each kind of fault takes to be found and followed: from the fault to the UPDATE, beside what must pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from tests.bench.configs import document, one_each, server, toggled
from tests.bench.figures import Figure, percentile
from tests.bench.world import Row, World, world
from tests.wait import NotInTimeError, wait_until

INTERVAL_MS, TIMEOUT_MS, FALL = 100, 300, 3
SERVERS, ROUNDS = 10, 3
PACE = {"interval": f"{INTERVAL_MS}ms", "timeout": f"{TIMEOUT_MS}ms", "rise": 2, "fall": FALL}
OVERHEAD_MS = 50.0

TABLE = """
table inet fault {
  set refused { type ipv4_addr; }
  set silent { type ipv4_addr; }
  chain input {
    type filter hook input priority 0;
    ip daddr @refused tcp dport 80 reject with tcp reset
    ip daddr @silent drop
  }
}
"""


@dataclass(frozen=True)
class Fault:
    """A kind of fault: how it is made and undone, where, and whether a timeout must pass until it shows."""

    name: str
    turn: Callable[[World, list[str], bool], None]
    addresses: Callable[[int], str]
    silent: bool


def _filtered(which: str) -> Callable[[World, list[str], bool], None]:
    def turn(made: World, addresses: list[str], bad: bool) -> None:
        verb = "add" if bad else "delete"
        made.run("ip", "netns", "exec", made.far, "nft", verb, "element", "inet", "fault", which,
                 f"{{ {', '.join(addresses)} }}")  # fmt: skip

    return turn


def _answering(kind: str) -> Callable[[World, list[str], bool], None]:
    def turn(made: World, addresses: list[str], bad: bool) -> None:
        backend = next(one for one in made.programs if one.name == "backend")
        backend.tell(set=addresses, **({kind: bad} if kind == "slow" else {kind: not bad}))

    return turn


FAULTS = (
    Fault("refused", _filtered("refused"), server, silent=False),
    Fault("answered 503", _answering("good"), server, silent=False),
    Fault("dropped silently", _filtered("silent"), server, silent=True),
    Fault("too slow an answer", _answering("slow"), server, silent=True),
    Fault("tunnel cut (icmp)", _filtered("silent"), lambda number: f"10.100.{number}.2", silent=True),
)


class Scene:
    """The daemon with its router, whose UPDATEs are looked at."""

    def __init__(self, made: World) -> None:
        self.made, self.sink = made, made.sink()
        self.last: dict[str, Row] = {}

    def routes(self, path: int) -> dict[str, float]:
        """Return when each prefix was last announced, of those whose path is so long now."""
        for row in self.sink.rows.new():
            if row["kind"] == "announce":
                self.last[row["prefix"]] = row
        return {prefix: row["t"] for prefix, row in self.last.items() if len(row["as_path"]) == path}

    def measure(self, fault: Fault) -> tuple[list[float], int]:
        """Return how long (s) after the fault each UPDATE came, and how many never did."""
        wanted, took, lost = {toggled(n) for n in range(SERVERS)}, list[float](), 0
        addresses = [fault.addresses(n) for n in range(SERVERS)]
        for _ in range(ROUNDS):
            begun_s = time.monotonic()
            fault.turn(self.made, addresses, True)
            with suppress(NotInTimeError):
                wait_until(f"{fault.name} followed", 10, lambda: wanted <= self.routes(4).keys())
            found = self.routes(4)
            took += [at_s - begun_s for prefix, at_s in found.items() if prefix in wanted]
            lost += len(wanted - found.keys())
            fault.turn(self.made, addresses, False)
            wait_until("well again", 30, lambda: wanted <= self.routes(1).keys())
        return took, lost


def _figure(fault: Fault, took_s: list[float], lost: int) -> Figure:
    least_ms = (FALL - 1) * INTERVAL_MS + (TIMEOUT_MS if fault.silent else 0)
    most_ms = least_ms + INTERVAL_MS
    worst_ms = max(took_s, default=0.0) * 1000
    over_ms = percentile(took_s, 0.5) * 1000 - (least_ms + most_ms) / 2
    missed = f"The worst is {worst_ms:.0f} ms." if worst_ms > most_ms + OVERHEAD_MS else ""
    if lost:
        missed += f" {lost} were not followed."
    return Figure(
        f"fault to UPDATE, {fault.name} (checks {INTERVAL_MS} ms x {FALL}, timeout {TIMEOUT_MS} ms)",
        f"p50 {percentile(took_s, 0.5) * 1000:.0f} ms, worst {worst_ms:.0f} ms (n = {len(took_s)}); "
        f"beyond detection {over_ms:.0f} ms in the middle",
        f"{least_ms} to {most_ms} ms must pass",
        budget=f"worst <= {most_ms + OVERHEAD_MS:.0f} ms",
        missed=missed.strip(),
    )


def run() -> list[Figure]:
    """Measure every kind of fault."""
    with world(SERVERS) as made:
        regions, prefixes = one_each(SERVERS, {"http": PACE}, {"icmp": PACE})
        made.write_config(document(regions, prefixes))
        made.run("ip", "netns", "exec", made.far, "nft", "-f", "-", text=TABLE)
        scene = Scene(made)
        made.backend()
        made.daemon()
        wanted = {toggled(n) for n in range(SERVERS)}
        wait_until("all announced", 60, lambda: wanted <= scene.routes(1).keys())
        return [_figure(fault, *scene.measure(fault)) for fault in FAULTS]


if __name__ == "__main__":
    for figure in run():
        print(figure)
