"""The same flood with and without absorption: without, POP after POP leaves; with it, nobody moves (I6)."""

from __future__ import annotations

from pathlib import Path

import pytest

from anycastd.model.decision import Level
from tests.simulation.cascade import (
    BEGINS_S,
    ENDS_S,
    HELD,
    OFF,
    OFF_FLEET,
    PLAIN,
    POPS,
    WHOLE,
    Scenario,
    Second,
    World,
    figures,
    shares,
)

pytestmark = pytest.mark.slow


def lived(scenario: Scenario, directory: Path) -> list[Second]:
    seconds = World(scenario, directory).live()
    before = [one for one in seconds if one.at_s < BEGINS_S]
    assert all(set(one.levels.values()) == {Level.NORMAL} and one.served == 1.0 for one in before)
    print(f"\nmeasured: {scenario.title}: {figures(seconds)}")
    return seconds


def test_what_a_pop_leaves_lands_mostly_on_one() -> None:
    normal = dict.fromkeys(POPS, Level.NORMAL)
    assert shares(normal) == {name: {name: 1.0} for name in POPS}
    left = shares(normal | {"fra": Level.WITHDRAWN})["fra"]
    assert left == pytest.approx({"ams": 0.65, "lon": 0.35})
    assert shares(normal | {"fra": Level.DEPREF})["fra"] == pytest.approx({"fra": 0.21, "ams": 0.5135, "lon": 0.2765})
    assert shares(dict.fromkeys(POPS, Level.DEPREF)) == {name: {name: 1.0} for name in POPS}
    assert shares(dict.fromkeys(POPS, Level.WITHDRAWN)) == {name: {} for name in POPS}


def test_without_absorption_pop_after_pop_leaves(tmp_path: Path) -> None:
    found = figures(lived(PLAIN, tmp_path))
    left_s = [found.left_s[name] for name in POPS]
    assert None not in left_s
    assert left_s == sorted(left_s), "the first one's share takes the next one down"  # type: ignore[type-var]
    assert found.dark_s > 0
    assert found.changes > 30


@pytest.mark.parametrize("scenario", [OFF, OFF_FLEET], ids=["default pace", "never-dark guard"])
def test_other_safety_rules_shorten_it_and_do_not_prevent_it(scenario: Scenario, tmp_path: Path) -> None:
    seconds = lived(scenario, tmp_path)
    found = figures(seconds)
    assert found.left_s["fra"] is not None
    assert found.changes < 20
    assert all(any(one.levels[name] < Level.NORMAL for one in seconds) for name in POPS)
    # and they come back slowly, long after the flood
    assert found.moving_s > 500


def test_with_absorption_nobody_leaves(tmp_path: Path) -> None:
    seconds = lived(HELD, tmp_path)
    assert all(level >= Level.DEPREF for one in seconds for level in one.levels.values())
    # what fell before the attack was seen is back at once
    assert all(one.levels["fra"] is Level.NORMAL for one in seconds if one.at_s > BEGINS_S + 10.0)
    assert figures(seconds).changes < 8


def test_with_absorption_and_checks_that_are_protected_nothing_changes(tmp_path: Path) -> None:
    seconds = lived(WHOLE, tmp_path)
    found = figures(seconds)
    assert (found.changes, found.moving_s, found.dark_s) == (0, 0, 0)
    flooded = [one for one in seconds if BEGINS_S <= one.at_s < ENDS_S]
    assert all(one.loss["fra"] > 0.9 and one.loss["ams"] == one.loss["lon"] == 0.0 for one in flooded)
