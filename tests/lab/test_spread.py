"""One POP over its capacity: a standby joins through real routers, the load moves, and all returns in stages."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.lab.spread_stage import PREFIX, PREFIX6, SpreadStage, spread_stage
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(170)]
DRY_RUN = ("attack", "playbook", "run", "longer", "--dry-run")
FORECAST = "forecast if all of it moves: sin would carry up to"
EVENTS = ("events", "--types", "playbook", "--json")
LEVELS = ["NORMAL", "DEPREF", "WITHDRAWN"]
BEFORE, MOVED = 20, 400
"""Packets: so many came before, and so many by the new way while none came by the old one."""


@pytest.fixture(scope="module")
def stage() -> Iterator[SpreadStage]:
    with spread_stage() as made:
        yield made


def has_moved(stage: SpreadStage) -> bool:
    """Return whether what is sent beside t2 comes to sin, and nothing of it to fra meanwhile."""
    before = stage.came(stage.fra)["t2"], stage.came(stage.sin)["t2"]
    wait_until("more came to sin", 30, lambda: stage.came(stage.sin)["t2"] >= before[1] + MOVED)
    assert stage.came(stage.fra)["t2"] == before[0], "some of it still goes to fra"
    return True


def runs(stage: SpreadStage, name: str) -> list[dict[str, object]]:
    """Return the steps in force of a playbook at fra."""
    return [step for run in stage.playbooks(stage.fra)["runs"] if run["playbook"] == name for step in run["steps"]]


def test_a_standby_joins_the_load_moves_and_all_returns_in_stages(stage: SpreadStage) -> None:
    assert stage.bird() == [], "a standby says nothing"
    stage.send("t1", 4e6)
    stage.send("t2", 4e6)
    wait_until("all of it comes to fra", 30, lambda: min(stage.came(stage.fra).values()) > BEFORE)
    wait_until("t2 (BIRD) has the prefix from sin", 60, lambda: stage.bird() == [64500])
    wait_until("the load has moved", 60, partial(has_moved, stage))
    wait_until("the standby neighbor has it", 30, lambda: stage.bird3("spare", PREFIX)[0] == [64500])
    assert stage.bird3("spare", PREFIX6) == ([], ""), "nobody calls for this one"
    wait_until("the step was looked at", 90, lambda: runs(stage, "call")[0]["outcome"] == "effect_seen")
    assert stage.came(stage.sin)["t1"] == 0, "what is nearest to fra stays there"

    stage.sin.stop(signal.SIGKILL)
    stage.sin.start()
    has_moved(stage)
    assert stage.playbooks(stage.sin)["standbys"][0]["stage"] == "joined", "as its file says"

    wait_until("sin says again what it carries", 30, lambda: FORECAST in stage.fra.cli(*DRY_RUN))
    assert "t1 as-path [64500] -> as-path [64500 64500]" in stage.fra.cli(*DRY_RUN)
    assert stage.frr() == [64500], "a dry run changes nothing"
    stage.fra.cli("attack", "playbook", "run", "longer")
    wait_until("t1 (FRR) has a longer path", 30, lambda: stage.frr() == [64500, 64500])
    assert "spreading" in stage.fra.cli("explain", PREFIX)
    stage.fra.cli("attack", "playbook", "stop", "longer")
    wait_until("t1 (FRR) has the path as before", 30, lambda: stage.frr() == [64500])

    narrow(stage)
    assert stage.told() == ["added"], (
        "sin has said one thing so far: it stayed while it was needed, also over the crash"
    )
    stage.calm()
    wait_until("t2 (BIRD) has nothing from sin any more", 90, lambda: stage.bird() == [])
    wait_until("the standby neighbor has nothing either", 60, lambda: stage.bird3("spare", PREFIX)[0] == [])
    assert stage.bird3("t3", PREFIX)[0] == [64500], "the other one always had it"
    assert stage.told()[0] == "added"
    assert stage.told()[-1] == "removed"
    assert len(stage.told()) == 3, "announced, depreferenced, withdrawn: each once"
    wait_until("the journal has it", 20, lambda: [row["level"] for row in changes(stage)] == LEVELS)
    left = str(changes(stage)[-1]["number"])
    assert "others_confirmed" in stage.sin.cli("decisions", "show", left), "past the guard"
    assert runs(stage, "call") == []
    assert stage.frr() == [64500]
    wait_until("its journal tells of the step", 20, lambda: "effect_seen" in stage.fra.cli(*EVENTS))


def narrow(stage: SpreadStage) -> None:
    """Have two steps of a playbook taken for the IPv6 prefix, each at one of two neighbors, and taken back."""
    plain = ([64500], "")
    for prefix in (PREFIX, PREFIX6):
        wait_until(f"t3 (BIRD) has {prefix}", 30, lambda prefix=prefix: stage.bird3("t3", prefix) == plain)  # type: ignore[misc]
    wait_until("t1 (FRR) has it too", 30, lambda: stage.frr6() == ("64500", ""))
    stage.fra.cli("attack", "playbook", "run", "narrow")
    wait_until("less at t3", 30, lambda: len(stage.bird3("t3", PREFIX6)[0]) > 1)
    assert stage.frr6() == ("64500", "")
    stage.fra.cli("attack", "playbook", "run", "narrow")
    wait_until("a community at t1", 30, lambda: stage.frr6() == ("64500", "64496:3021"))
    assert len(stage.bird3("t3", PREFIX6)[0]) > 1, "steps add up"
    assert stage.bird3("t3", PREFIX) == plain, "the other prefix is as it was"
    stage.fra.cli("attack", "playbook", "stop", "narrow")
    wait_until("both are taken back", 60, lambda: (stage.bird3("t3", PREFIX6), stage.frr6()) == (plain, ("64500", "")))
    wait_until("nothing is in force", 30, lambda: runs(stage, "narrow") == [])


def changes(stage: SpreadStage) -> list[dict[str, Any]]:
    """Return the decisions of sin that changed its level, oldest first; the first after a start changes nothing."""
    rows = json.loads(stage.sin.cli("decisions", "--json", "--prefix", PREFIX))["decisions"]
    return [row for row in reversed(rows) if row["before"] not in (None, row["level"])]
