"""The cascade on packets: a flood from one catchment against three POPs whose lines are small.

`python -m tests.lab.cascade docs/attack-cascade-lab.svg` measures it with absorption and without, writes the picture
and prints the figures of docs/attack.md. Six minutes; the lab has a name of its own, so that others can run beside.

Each POP's tunnels share one line of LINE_BPS (those by underlay b are cut): a `tbf`, in it `pfifo_fast` with short
queues. What the flood does not leave of it is lost, also of the checks that have no class of their own.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from anycastd.lab import runner
from anycastd.lab.inside import NodeProcess
from anycastd.model.decision import Level
from tests.lab.fleet import ABSENT, DEPREF, NORMAL, Fleet
from tests.lab.siege import Siege, besieged, ended
from tests.lab.topology_facts import (
    CONTAINERLAB,
    GLOBAL,
    PREFIX_A4,
    PREFIX_B4,
    SITES,
    Answer,
    cut_tunnel,
    heal_tunnels,
)
from tests.simulation.cascade import Scenario, Second
from tests.simulation.cascade_plot import Frame, picture
from tests.wait import wait_until

NAME = "cascade"
LINE_BPS = 512_000
QUEUE = 20
"""Packets that wait in each of the three bands at most: a third of a second of the flood."""
LINE = f"""qdisc add dev eth2 root handle 1: tbf rate {LINE_BPS} burst 3000 limit 300000
qdisc add dev eth2 parent 1:1 handle 2: pfifo_fast
"""
FLOOD: Mapping[str, int] = {"fra": 800, "sin": 20, "iad": 16}
"""Packets of 1,028 bytes a second, by whose catchment they come from: ten times a line and more, a third, a quarter."""
DETECT = {
    "interval": "500ms", "warm_up": "0s", "confirm": "600ms", "calm": "5s",
    "eip": {"floor_packets": 200, "level_packets": 300, "floor_bits": "1mbit"},
}  # fmt: skip
BEGINS_S, ENDS_S, LASTS_S, EVERY_S = 5.0, 45.0, 80.0, 1.0
"""The flood begins when its first packets come, some seconds after it was told to: times are counted from there."""
CAME_BPS, AT_MOST_S = 1e6, 120.0
EVERY_MS, TIMEOUT_MS = 100, 1000
ASKED = (PREFIX_A4, PREFIX_B4)
LEVELS = {NORMAL: Level.NORMAL, DEPREF: Level.DEPREF, ABSENT: Level.WITHDRAWN, "gshut": Level.GSHUT}
HASTY = {"settle": "0s", "return_after": "10s", "return_max": "10s", "linger": "3s", "half_life": "1s"}
"""As a plain health check does it: it leaves at once, comes back when it was well for a while, counts no changes."""
PLAIN = Scenario("a plain health check: no absorption, no pace", absorb=False, protected=False, prefix=HASTY)
OFF = Scenario("no absorption, the lab's pace", absorb=False, protected=False)
ON = Scenario("absorption", absorb=True, protected=True)
SCENARIOS = (PLAIN, OFF, ON)


@dataclass(frozen=True)
class Look:
    """What each transit had of its POP at a time since the clients began, and the bytes that had come to each POP."""

    at_s: float
    levels: Mapping[str, Level]
    received: Mapping[str, int]


@dataclass(frozen=True)
class Life:
    """One run: the looks, and every answer with the time since the clients began."""

    scenario: Scenario
    looks: Sequence[Look]
    answers: Sequence[tuple[float, str, Answer]]

    def served(self, begin_s: float, end_s: float, client: str = "") -> float:
        """Return which part of the requests of a span was answered, of all clients or of one."""
        rows = self.answers
        asked = [one.ok for at_s, node, one in rows if begin_s <= at_s < end_s and client in ("", node)]
        return sum(asked) / max(len(asked), 1)

    def seconds(self) -> list[Second]:
        """Return it as the picture wants it."""
        found = []
        for number in range(int(LASTS_S)):
            newest = [one for one in self.looks if one.at_s <= number + 1 or one is self.looks[0]][-1]
            found.append(Second(float(number), newest.levels, {}, {}, self.served(number, number + 1.0)))
        return found

    def first_s(self, pop: str, level: Level) -> float | None:
        """Return when a POP first announced no better than so, in seconds since the flood began; None: never."""
        return next((one.at_s - BEGINS_S for one in self.looks if one.levels[pop] <= level), None)

    def changes(self) -> int:
        """Return how many changes of levels the looks saw; quicker ones are missed."""
        return sum(one.levels[pop] is not other.levels[pop] for one, other in pairwise(self.looks) for pop in SITES)

    def none_normal_s(self) -> float:
        """Return for how long no POP announced it normally: as if all were out, or none."""
        spans = pairwise(self.looks)
        return sum(b.at_s - a.at_s for a, b in spans if all(a.levels[pop] is not Level.NORMAL for pop in SITES))

    def most_bps(self, pop: str) -> float:
        """Return the most that a POP was sent in any five seconds while the flood was on."""
        during = [one for one in self.looks if BEGINS_S <= one.at_s <= ENDS_S]
        spans = zip(during, during[5:], strict=False)
        return max(_bps(before, after, pop) for before, after in spans)


@contextmanager
def own_lab() -> Iterator[Fleet]:
    """Bring up the world under a name of its own."""
    text = re.sub(r'binds: \["(?!/)', f'binds: ["{CONTAINERLAB}/', GLOBAL.read_text(encoding="utf-8"))
    with TemporaryDirectory() as directory:
        path = Path(directory) / "cascade.clab.yml"
        path.write_text(re.sub(r"^name: .*$", f"name: {NAME}", text, flags=re.MULTILINE), encoding="utf-8")
        runner.down(path)
        with runner.up(path) as lab:
            yield Fleet(lab, tuple(SITES.values()))


def narrow(world: Fleet) -> None:
    """Give each POP one line for all its tunnels."""
    for pop in SITES:
        for region in ("eu", "us"):
            cut_tunnel(world.lab, pop, region, "b")
        world.undo.append(partial(heal_tunnels, world.lab, pop, "b"))
        world.lab.exec(pop, "ip", "link", "set", "eth2", "txqueuelen", str(QUEUE), check=True)
        world.lab.exec(pop, "tc", "-batch", "-", text=LINE, check=True)
        world.undo.append(partial(world.lab.exec, pop, "tc", "qdisc", "del", "dev", "eth2", "root"))


def received(world: Fleet, pop: str) -> int:
    """Return how many bytes a POP's uplink has taken in."""
    rows = Path(f"/proc/{world.lab.pid(pop)}/net/dev").read_text(encoding="ascii")
    found = re.search(r"eth1:\s*(\d+)", rows)
    assert found
    return int(found[1])


def look(world: Fleet, at_s: float) -> Look:
    """Ask each transit what it has of its POP: of the prefix of the EIP that is attacked."""
    came = {pop: received(world, pop) for pop in SITES}
    with ThreadPoolExecutor(3) as pool:
        states = list(pool.map(lambda site: world.state(site, PREFIX_A4), world.sites))
    levels = {site.pop: LEVELS[state.split()[0]] for site, state in zip(world.sites, states, strict=True)}
    return Look(at_s, levels, came)


def lived(world: Fleet, scenario: Scenario) -> Life:
    """Let the flood come and go; everything is as before afterwards."""
    absorb: dict[str, Any] = {"calm": "5s"} if scenario.absorb else {"enabled": False}
    with besieged(world, dict.fromkeys(SITES, absorb), DETECT, None, scenario.prefix) as siege:
        narrow(world)
        world.wait_normal(60.0)
        world.wait_quiet()
        life = _flooded(siege, scenario)
    world.heal()
    world.wait_normal(120.0)
    return life


def _flooded(siege: Siege, scenario: Scenario) -> Life:
    world, looks, floods, begins_s = siege.world, list[Look](), list[NodeProcess](), AT_MOST_S
    with (
        world.clients(*ASKED, every_ms=EVERY_MS, timeout_ms=TIMEOUT_MS) as watch,
        ExitStack() as stack,
    ):
        begun_s = time.monotonic()
        while (at_s := time.monotonic() - begun_s) < min(begins_s, AT_MOST_S) + LASTS_S - BEGINS_S:
            if at_s >= BEGINS_S and not floods:
                floods = [siege.flood(pop, "udp", pps=pps) for pop, pps in FLOOD.items()]
                for one in floods:
                    stack.callback(one.terminate)
            if at_s >= begins_s + ENDS_S - BEGINS_S and floods[0].poll() is None:
                print(f"sent: {[ended(one) for one in floods]}")
            looks.append(look(world, at_s))
            if begins_s == AT_MOST_S and len(looks) > 1 and _bps(looks[-2], looks[-1], "fra") > CAME_BPS:
                begins_s = looks[-2].at_s
            due_s = begun_s + EVERY_S * (1 + (time.monotonic() - begun_s) // EVERY_S)
            wait_until("the next look", 30, lambda due_s=due_s: time.monotonic() >= due_s)  # type: ignore[misc]
    assert begins_s < AT_MOST_S, "the flood never came"
    begun_s += begins_s - BEGINS_S
    answers = [(row.sent_s - begun_s, node, row) for node, rows in watch.seen.items() for row in rows]
    return Life(scenario, [replace(one, at_s=one.at_s - begins_s + BEGINS_S) for one in looks], answers)


def _bps(before: Look, after: Look, pop: str) -> float:
    """Return what came to a POP between two looks."""
    return (after.received[pop] - before.received[pop]) * 8.0 / (after.at_s - before.at_s)


def table(lives: Sequence[Life]) -> str:
    """Return the figures as the rows of docs/attack.md."""
    return "\n".join(_row(life) for life in lives)


def _row(life: Life) -> str:
    during = partial(life.served, BEGINS_S, ENDS_S)
    by_client = ", ".join(f"{during(site.client):.0%}" for site in SITES.values())
    least = min(life.served(at, at + 5.0) for at in range(int(BEGINS_S), int(LASTS_S) - 5))
    cells = [life.scenario.title, f"{during():.0%} ({by_client})", f"{least:.0%}"]
    for level in (Level.DEPREF, Level.WITHDRAWN):
        found = {pop: life.first_s(pop, level) for pop in SITES}
        cells.append(", ".join(f"{pop} {at_s:.0f}" for pop, at_s in found.items() if at_s is not None) or "none")
    cells += [f"{life.none_normal_s():.0f} s", str(life.changes())]
    cells.append(", ".join(f"{life.most_bps(pop) / 1e6:.1f}" for pop in SITES))
    return f"| {' | '.join(cells)} |"


def main(path: Path) -> None:
    """Measure all, draw them, and say their figures."""
    with own_lab() as world:
        world.wait_normal(90.0)
        lives = [lived(world, scenario) for scenario in SCENARIOS]
    frame = Frame(tuple(SITES), BEGINS_S, ENDS_S, LASTS_S, 10.0, "{seconds:g} s")
    path.write_text(picture([(life.scenario, life.seconds()) for life in lives], frame), encoding="utf-8")
    sys.stdout.write(table(lives) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
