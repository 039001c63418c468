"""POPs that see each other by real reflectors (FRR and BIRD), judged by the transits' tables and logs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from anycastd.lab import runner
from anycastd.lab.running import Lab
from tests.lab.seen import BOTH, FLEET, REFLECTORS, SeenLab, whole
from tests.lab.topology_facts import SERVICE, SITES, ask

pytestmark = [pytest.mark.lab, pytest.mark.timeout(150)]

SETTLE_S = 0.5


@pytest.fixture(scope="session")
def seen_lab() -> Iterator[Lab]:
    """fleet.clab.yml: three POPs, two reflectors."""
    runner.down(FLEET)
    with runner.up(FLEET) as lab:
        yield lab


@pytest.fixture
def seen(seen_lab: Lab) -> Iterator[SeenLab]:
    """Every POP announces and hears every other one, by both reflectors."""
    with whole(seen_lab) as found:
        yield found


@pytest.mark.parametrize("by", REFLECTORS)
def test_a_single_sick_pop_is_out_by_the_word_of_the_others(seen: SeenLab, by: str) -> None:
    for other in REFLECTORS:
        if other != by:
            seen.shut(other)
    seen.wait_seen(frozenset({by}))
    at_s = seen.cut_tunnels("fra")
    seen.wait_levels({"fra": 0, "sin": 1, "iad": 1})
    for prefix in BOTH:
        told = seen.told(SITES["fra"], prefix, at_s)
        assert [gone for _, gone in told] == [False, True], "depreferenced, then withdrawn, nothing else"
        seen_s, settled_s = told[0][0] - at_s, told[1][0] - told[0][0]
        print(f"{prefix} by {by}: depreferenced {seen_s:.3f} s after the cut, withdrawn {settled_s:.3f} s later")
        assert settled_s >= SETTLE_S
        for pop in ("sin", "iad"):
            assert seen.told(SITES[pop], prefix, at_s) == [], "nothing moved elsewhere"
        (answer,) = ask(seen.lab, "c-fra", SERVICE[prefix])
        assert answer.ok, "its clients are served by another POP"
