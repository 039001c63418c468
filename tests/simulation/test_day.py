"""A day of random faults in virtual time: after each quiet hour everything is as it must be, and nobody damped us."""

from __future__ import annotations

import random
import time
from functools import cache

import pytest

from anycastd.simulation.clock import run
from tests.simulation.day import Day

pytestmark = pytest.mark.slow

START_S = 50_000.0


def live(seed: int, hours: float) -> Day:
    print(f"seed {seed}")

    async def main() -> Day:
        return await Day(seed).live(hours)

    return run(main(), start_s=START_S)


@cache
def day_of(seed: int) -> Day:
    """Return a whole day, lived once."""
    return live(seed, 24.0)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_a_day_of_faults(seed: int) -> None:
    begun_s = time.process_time()
    day = day_of(seed)
    took_s = time.process_time() - begun_s
    print(f"took {took_s:.1f} s, {day.counts}, highest {[router.highest for router in day.routers.values()]}")
    assert sum(day.counts.values()) > 500
    assert all(len(router.heard) > 100 for router in day.routers.values())
    assert max(router.highest for router in day.routers.values()) > 1500, "damping was never near"


@pytest.mark.timeout(300)
def test_the_same_seed_is_the_same_day() -> None:
    one, two, other = day_of(1), live(1, 24.0), day_of(2)
    assert one.notes == two.notes
    assert [router.heard for router in one.routers.values()] == [router.heard for router in two.routers.values()]
    assert one.notes != other.notes


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_month_of_faults() -> None:
    for _ in range(30):
        live(random.SystemRandom().randrange(2**32), 24.0)
