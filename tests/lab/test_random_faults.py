"""Random faults, two at once, then quiet: routers, kernels and clients are as an oracle of the world's state says.

The seed is printed; ANYCASTD_SEED=N does the same again, "random" takes a new one. What the oracle knows is what stands
broken (chaos_truth.py); it asks no daemon what it thinks.
"""

from __future__ import annotations

import os
import random
import time
from difflib import unified_diff
from pprint import pformat

import pytest

from tests.lab.chaos import COMMAND, Chaos
from tests.lab.chaos_truth import Broken, kernel, wrong
from tests.lab.eip_stage import wait_whole
from tests.lab.fleet import Fleet
from tests.lab.statements import statements
from tests.lab.topology_facts import SITES
from tests.wait import wait_until

pytestmark = pytest.mark.lab

RAGE_S = 15.0
QUIET_WITHIN_S = 60.0
"""A hold time of 9 s, then a session, then levels that wait for one another and for the budget (half-life 5 s)."""
LOOKS = 6


def seed_of(usual: str) -> int:
    """Return the seed that was asked for."""
    seed = os.environ.get("ANYCASTD_SEED") or usual
    return random.SystemRandom().randrange(2**32) if seed == "random" else int(seed)


def judge(chaos: Chaos, broken: Broken, before: dict[str, str] | None = None) -> float:
    """Look until everything is as the oracle says; return after how many seconds it was.

    On a machine that starves us one look takes as long as many: who has looked once has not waited.
    """
    begun_s, looks_s = time.monotonic(), list[float]()
    while True:
        look_s = time.monotonic()
        found = wrong(chaos.world, broken)
        if not found and before is not None:
            other = different(before, kernel(chaos.world.lab, SITES, chaos.lost))
            found = {"kernels": other} if other else {}
        looks_s.append(time.monotonic() - look_s)
        took_s = time.monotonic() - begun_s
        if not found:
            return took_s
        if took_s > QUIET_WITHIN_S and len(looks_s) >= LOOKS:
            break
    looks = f"{len(looks_s)} looks, of {min(looks_s):.1f} to {max(looks_s):.1f} s"
    message = [f"after {took_s:.1f} s, {looks}, not as the oracle says:", pformat(found), f"standing: {broken}"]
    raise AssertionError("\n".join([*message, statements(chaos.world.lab), *chaos.notes]))


def different(before: dict[str, str], now: dict[str, str]) -> str:
    """Return the lines by which kernels differ."""
    found = []
    for pop, text in now.items():
        rows = unified_diff(
            before[pop].splitlines(), text.splitlines(), f"{pop} before", f"{pop} now", lineterm="", n=1
        )
        found += list(rows)[:60]
    return "\n".join(found)


def same_configuration(world: Fleet) -> bool:
    """Return whether every daemon has its file's configuration in force."""
    done = {pop: world.lab.exec(pop, COMMAND, "reload") for pop in SITES}
    said = {pop: (one.stdout or one.stderr).strip() for pop, one in done.items()}
    assert set(said.values()) == {"nothing changed"}, said
    return True


def play(world: Fleet, seed: int, seconds: float) -> None:
    """Rounds of faults until the time is over; after each the world is judged, first with some standing, then whole."""
    print(f"ANYCASTD_SEED={seed}")
    chaos = Chaos(world, random.Random(seed))
    # what the test before made ill may be well again at one POP and not yet at another
    for pop in SITES:
        wait_whole(world.lab, 60, pop)
    whole = kernel(world.lab, SITES)
    end_s = time.monotonic() + seconds
    try:
        while (left_s := end_s - time.monotonic()) > 0.0:
            chaos.rage(min(RAGE_S, left_s))
            broken = chaos.leave_standing(chaos.some())
            took_s = judge(chaos, broken)
            chaos.note(f"with {len(chaos.standing)} faults standing all is as it must be after {took_s:.1f} s")
            chaos.end()
            wait_until("the configuration is in force", 20, lambda: same_configuration(world))
            took_s = judge(chaos, Broken(), whole)
            chaos.left.clear()
            chaos.note(f"whole after {took_s:.1f} s")
    finally:
        try:
            chaos.end()
        finally:
            print("\n".join(chaos.notes))


@pytest.mark.timeout(420)
def test_random_faults_leave_nothing_stale_and_nothing_missing(world: Fleet) -> None:
    play(world, seed_of("11"), float(os.environ.get("ANYCASTD_CHAOS_S", "30")))


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_an_hour_of_random_faults(world: Fleet) -> None:
    play(world, seed_of("random"), 3600.0)
