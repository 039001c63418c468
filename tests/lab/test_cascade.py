"""The same flood hands the attack from POP to POP without absorption, and moves nothing with it; see cascade.py."""

from __future__ import annotations

import pytest

from anycastd.model.decision import Level
from tests.lab.cascade import OFF, ON, PLAIN, lived, own_lab, table
from tests.lab.topology_facts import SITES

pytestmark = [pytest.mark.lab, pytest.mark.soak, pytest.mark.timeout(900)]


def test_without_absorption_the_flood_takes_pop_after_pop_and_with_it_none() -> None:
    with own_lab() as world:
        world.wait_normal(90.0)
        plain, off, on = (lived(world, scenario) for scenario in (PLAIN, OFF, ON))
    print(f"\nmeasured:\n{table([plain, off, on])}")
    assert any(plain.first_s(pop, Level.WITHDRAWN) is not None for pop in SITES)
    for life in (plain, off):
        assert all(life.first_s(pop, Level.DEPREF) is not None for pop in SITES), "each was depreferenced, or out"
    assert on.changes() == 0
    assert on.first_s("fra", Level.DEPREF) is None
