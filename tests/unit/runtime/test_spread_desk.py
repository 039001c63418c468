"""POPs that spread load by playbooks: standbys join and leave, traffic is sent away, and everything returns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from anycastd.model.attack import AttackState, AttackView, Standing
from anycastd.model.bgp import SessionState, SessionView
from anycastd.model.decision import Level, Reason
from anycastd.model.operator import Freeze, Interventions
from anycastd.model.spread import Announce, PlayMode, When
from anycastd.model.status import Alarm
from anycastd.resources.refusal import Refused
from anycastd.runtime.loop.spreading import Spreading
from anycastd.runtime.loop.takeover import adopted
from anycastd.runtime.state import views
from tests.unit.runtime.air import Air
from tests.unit.runtime.spread_world import B_SIDE, CALL, DOWN, LONGER, TAG, Fleet, book, pop_config
from tests.unit.runtime.world import UP, A

EAST = {"east": ("fra", "sin"), "west": ("sin", "fra")}


def fleet(tmp_path: Path, *steps: object, **more: object) -> Fleet:
    """Return fra, which spreads, and sin, its standby; quiet for a while."""
    made = Fleet(EAST)
    made.add(pop_config("fra", tmp_path, (book(*steps or (CALL,), **more),)))  # type: ignore[arg-type]
    made.add(pop_config("sin", tmp_path, standby=True))
    made.demand_bps = {"east": 3e8, "west": 3e8}
    return made


def reasons(fleet: Fleet, name: str) -> list[str]:
    return [row[3] for row in fleet.sites[name].diary.rows]


def stages(fleet: Fleet) -> list[str]:
    return [row[2] for row in fleet.sites["sin"].diary.rows if row[0] == "standby"]


async def test_a_standby_is_silent_joins_when_called_and_the_load_moves(tmp_path: Path) -> None:
    pops = fleet(tmp_path)
    await pops.run(20)
    assert pops.sites["sin"].length() is None
    assert pops.sites["sin"].world.control.decisions[A].reason is Reason.STANDBY
    pops.demand_bps = {"east": 6e8, "west": 6e8}
    await pops.run(12)
    assert pops.sites["sin"].length() == 1, "at once at normal preference"
    await pops.run(2)
    assert pops.loads_bps() == {"fra": 6e8, "sin": 6e8}
    assert pops.sites["sin"].world.control.decisions[A].trail[1].reason is Reason.CALLED_ON


async def test_after_the_attack_everything_returns_in_stages(tmp_path: Path) -> None:
    pops = fleet(tmp_path)
    pops.demand_bps = {"east": 6e8, "west": 6e8}
    await pops.run(20)
    assert stages(pops) == ["silent", "joined"]
    await pops.run(600, 10)
    assert stages(pops) == ["silent", "joined"], "what sin carries has no room at fra, so it stays"
    pops.demand_bps = {"east": 1e8, "west": 1e8}
    lengths: list[int | None] = []
    for _ in range(60):
        await pops.run(5, 5)
        if not lengths or lengths[-1] != pops.sites["sin"].length():
            lengths.append(pops.sites["sin"].length())
    assert lengths == [1, 4, None], "normal, depreferenced, away"
    assert stages(pops) == ["silent", "joined", "leaving", "silent"]
    assert reasons(pops, "fra") == ["verifying", "verifying", "holding", "returning", "watching"]
    assert pops.sites["fra"].length() == 1
    assert pops.loads_bps() == {"fra": 2e8, "sin": 0.0}


async def test_a_standby_is_called_again_while_it_leaves(tmp_path: Path) -> None:
    pops = fleet(tmp_path)
    pops.demand_bps = {"east": 6e8, "west": 6e8}
    await pops.run(20)
    pops.demand_bps = {"east": 1e8, "west": 1e8}
    await pops.run(130, 5)
    assert stages(pops)[-1] == "leaving"
    pops.demand_bps = {"east": 6e8, "west": 6e8}
    await pops.run(20)
    assert stages(pops)[-1] == "joined"


@pytest.mark.parametrize("joined", [False, True])
async def test_while_the_store_is_away_a_standby_stays_as_it_is(tmp_path: Path, joined: bool) -> None:
    pops = fleet(tmp_path)
    if joined:
        pops.demand_bps = {"east": 6e8, "west": 6e8}
        await pops.run(20)
        pops.demand_bps = {"east": 1e8, "west": 1e8}
    else:
        await pops.run(5)
        pops.store_answers = False
        pops.demand_bps = {"east": 6e8, "west": 6e8}
    pops.store_answers = False
    await pops.run(600, 10)
    assert (pops.sites["sin"].length() == 1) is joined


def by_beacon(tmp_path: Path, *, store: bool = False) -> Fleet:
    """Return fra and sin, which hear each other's beacons; with or without a store that never answers."""
    pops = Fleet(EAST)
    pops.air, pops.has_store, pops.store_answers = Air(("fra", "sin"), pops.now_s), store, not store
    pops.add(pop_config("fra", tmp_path, (book(CALL),)))
    pops.add(pop_config("sin", tmp_path, standby=True))
    return pops


@pytest.mark.parametrize("store", [False, True], ids=["no store", "the store is away"])
async def test_a_call_by_beacon_makes_a_standby_join(tmp_path: Path, store: bool) -> None:
    pops = by_beacon(tmp_path, store=store)
    pops.demand_bps = {"east": 3e8, "west": 3e8}
    await pops.run(20)
    assert pops.sites["sin"].length() is None
    pops.demand_bps = {"east": 6e8, "west": 6e8}
    await pops.run(12)
    assert pops.sites["sin"].length() == 1
    assert pops.sites["sin"].desk.kept.standbys[A].by == ("fra",)
    assert [row[0] for row in pops.sites["sin"].diary.rows] == ["standby", "standby"]


async def test_a_call_that_is_heard_no_more_ends_by_itself_and_slowly(tmp_path: Path) -> None:
    """fra falls silent while it calls: nobody knows whether it still would."""
    pops = by_beacon(tmp_path)
    assert pops.air is not None
    pops.demand_bps = {"east": 6e8, "west": 6e8}
    await pops.run(20)
    assert stages(pops)[-1] == "joined"
    pops.air.mute.add("fra")
    await pops.run(68)
    assert stages(pops)[-1] == "joined", "9 s till it is stale, then a minute of calm"
    await pops.run(3)
    assert (stages(pops)[-1], pops.sites["sin"].length()) == ("leaving", 4)
    pops.air.mute.clear()
    await pops.run(2)
    assert (stages(pops)[-1], pops.sites["sin"].level) == ("joined", Level.DEPREF), "heard again, it calls still"
    await pops.run(900, 10)
    assert pops.sites["sin"].length() == 1, "when the budget of changes has room for it"


async def test_without_an_observer_a_standby_of_a_fleet_without_a_store_stays_as_it_is(tmp_path: Path) -> None:
    pops = by_beacon(tmp_path)
    assert pops.air is not None
    pops.demand_bps = {"east": 6e8, "west": 6e8}
    await pops.run(20)
    pops.air.cut("sin")
    pops.demand_bps = {"east": 1e8, "west": 1e8}
    await pops.run(600, 10)
    assert stages(pops) == ["silent", "joined"]
    pops.air.mend("sin")
    await pops.run(120, 2)
    assert stages(pops) == ["silent", "joined", "leaving", "silent"], "nobody calls, and now it is known"


async def test_nobody_is_called_where_everybody_announces(tmp_path: Path) -> None:
    pops = Fleet(EAST)
    pops.air, pops.has_store = Air(("fra", "sin"), pops.now_s), False
    pops.add(pop_config("fra", tmp_path, (book(CALL),)))
    pops.add(pop_config("sin", tmp_path))
    pops.demand_bps = {"east": 9e8, "west": 1e8}
    await pops.run(20)
    assert "no standby is known" in next(iter(pops.sites["fra"].reported.details.values()))


async def test_a_restart_changes_nothing(tmp_path: Path) -> None:
    pops = fleet(tmp_path, CALL, LONGER)
    pops.demand_bps = {"east": 9e8, "west": 1e8}
    await pops.run(80, 5)
    fra, sin = pops.sites["fra"], pops.sites["sin"]
    assert [len(route.as_path) for route in fra.routes().values() if route] == [2, 2]
    for site in (fra, sin):
        control, kept, spread = site.world.control, site.desk.kept, site.world.control.spread
        control.spread = Spreading()
        site.begin()
        assert site.desk.kept.gist == kept.gist
        assert (control.spread.sheds, control.spread.standbys.keys()) == (spread.sheds, spread.standbys.keys())
        observed, memory = site.world.speaker.observed, control.memories[A]
        found = adopted(control.config, observed, control.memories, pops.now_s, control.spread.sheds)[A]
        assert (found.level, found.epoch) == (Level.NORMAL, memory.epoch)
    without = adopted(fra.world.control.config, fra.world.speaker.observed, {}, pops.now_s)[A]
    assert without.level is Level.DEPREF, "a longer path of which nothing is known is taken for less"


async def test_steps_that_send_away_follow_when_the_standby_is_not_enough(tmp_path: Path) -> None:
    pops = fleet(tmp_path, CALL, DOWN, LONGER)
    pops.demand_bps = {"east": 9e8, "west": 1e8}
    await pops.run(7 + 61)
    fra = pops.sites["fra"]
    assert fra.routes()[B_SIDE] is None
    assert fra.routes()[UP] is not None
    decision = fra.world.control.decisions[A]
    assert decision.level is Level.NORMAL
    assert (decision.drained[0].neighbor, decision.drained[0].level) == (B_SIDE, Level.WITHDRAWN)
    assert any(step.reason is Reason.SPREADING for step in decision.trail)
    assert fra.world.control.memories[A].penalty.plain == pytest.approx(500, rel=0.01), "a change has its price"
    facts, told = fra.desk.facts(), fra.world.control.spread
    assert (facts.steps, told.steps) == ({"spread": 2}, 2), "the standby called on, a neighbor left out"
    assert sum(facts.doing.values()) == 1
    assert pops.sites["sin"].desk.facts().standbys == {"joined": 1}


async def test_without_room_elsewhere_nothing_is_sent_away_and_it_is_said(tmp_path: Path) -> None:
    pops = fleet(tmp_path, LONGER)
    pops.demand_bps = {"east": 9e8, "west": 1e8}
    await pops.run(60, 3)
    fra = pops.sites["fra"]
    assert fra.length() == 1
    ((_, words),) = fra.reported.details.items()
    assert "no_room_known" in words
    assert "no other POP announces it" in words
    pops.store_answers = False
    await pops.run(5)
    assert "the fleet's store does not say" in next(iter(fra.reported.details.values()))


async def test_a_step_that_asks_is_taken_when_an_operator_says_so(tmp_path: Path) -> None:
    pops = fleet(tmp_path, CALL, TAG)
    pops.demand_bps = {"east": 9e8, "west": 1e8}
    await pops.run(80, 2)
    fra = pops.sites["fra"]
    assert "waits_for_approval" in reasons(pops, "fra")
    assert (Alarm.PLAYBOOK_WAITS, "spread 203.0.113.0/24") in fra.reported.details
    planned = fra.desk.plan("spread", None)
    assert not isinstance(planned, Refused)
    assert any("transit-a as-path [64500] -> as-path [64500] communities 64496:3" in line for line in planned)
    assert any("forecast" in line and "sin would carry up to" in line for line in planned)
    done = await fra.desk.play("spread", None, "ops", stop=False)
    assert not isinstance(done, Refused)
    fra.world.settle()
    route = fra.routes()[UP]
    assert route is not None
    assert route.communities == ("64496:3",)
    await fra.desk.play("spread", str(A), "ops", stop=True)
    fra.world.settle()
    route = fra.routes()[UP]
    assert route is not None
    assert route.communities == (), "the last step at once"
    assert fra.desk.kept.runs["spread", A].taken, "the one before later"


async def test_what_cannot_be_ordered_is_refused(tmp_path: Path) -> None:
    pops = fleet(tmp_path)
    desk = pops.sites["fra"].desk
    refused = desk.plan("spred", None)
    assert isinstance(refused, Refused)
    assert "did you mean 'spread'" in str(refused.first)
    refused = await desk.play("spread", "10.0.0.0/8", "ops", stop=False)
    assert isinstance(refused, Refused)
    control = pops.sites["fra"].world.control
    control.take(Interventions(freeze=Freeze(owner="ops", reason="x", since_s=0.0)), pops.now_s)
    refused = await desk.play("spread", None, "ops", stop=False)
    assert isinstance(refused, Refused)
    assert refused.first.status == 409


async def test_an_attack_begins_a_playbook_and_holds_what_is_in_force(tmp_path: Path) -> None:
    pops = fleet(tmp_path, CALL, when=(When(state=AttackState.ATTACK, for_s=2.0),))
    await pops.run(10)
    pops.view = AttackView(eips={ip_address("203.0.113.10"): Standing(state=AttackState.ATTACK)})
    await pops.run(6)
    assert pops.sites["sin"].length() == 1
    await pops.run(300, 10)
    assert pops.sites["sin"].length() == 1
    pops.view = AttackView()
    await pops.run(200, 5)
    assert pops.sites["sin"].length() is None


async def test_a_standby_neighbor_joins_and_leaves_and_never_leaves_the_prefix_alone(tmp_path: Path) -> None:
    pops = Fleet({"east": ("fra",)})
    its = pop_config("fra", tmp_path, (book(CALL),))
    its = replace(its, neighbors={**its.neighbors, B_SIDE: replace(its.neighbors[B_SIDE], announce=Announce.STANDBY)})
    fra = pops.add(its)
    pops.said = {}
    await pops.run(20)
    assert has(fra.routes()) == {UP}
    assert [view.carriers for view in views(fra.world.control)] == [(UP,)], "silent, nobody misses it"
    pops.demand_bps = {"east": 9e8}
    await pops.run(10)
    assert has(fra.routes()) == {UP, B_SIDE}
    assert [view.carriers for view in views(fra.world.control)] == [(UP, B_SIDE)]
    pops.demand_bps = {"east": 1e8}
    await pops.run(70, 5)
    assert has(fra.routes()) == {UP}
    sessions = fra.world.speaker.observed.sessions
    down = {UP: SessionView(SessionState.DOWN, pops.now_s)}
    fra.world.speaker.observed = replace(fra.world.speaker.observed, sessions={**sessions, **down})
    fra.world.settle()
    await pops.run(5)
    assert has(fra.routes()) == {UP}, "not at once: a session may come back"
    await pops.run(20)
    assert has(fra.routes()) == {UP, B_SIDE}, "no other one has it"


def has(routes: dict[object, object] | object) -> set[object]:
    assert isinstance(routes, dict)
    return {name for name, route in routes.items() if route is not None}


async def test_of_two_pops_under_pressure_one_sheds_at_a_time(tmp_path: Path) -> None:
    pops = Fleet({"east": ("fra", "ams", "lon"), "west": ("ams", "fra", "lon"), "north": ("lon", "fra", "ams")})
    for name in ("fra", "ams", "lon"):
        pops.add(pop_config(name, tmp_path, (book(LONGER),)))
    pops.demand_bps = {"east": 8.5e8, "west": 8.5e8, "north": 0.0}
    seen: set[Iterable[str]] = set()
    for _ in range(30):
        await pops.run(4, 2)
        seen.add(tuple(name for name, site in pops.sites.items() if (site.length() or 0) > 1))
    assert seen == {()}, "the other one is pressed too, so there is no room"
    assert all(site.level is Level.NORMAL for site in pops.sites.values())


async def test_while_nothing_is_to_be_done_nothing_is_kept(tmp_path: Path) -> None:
    pops = fleet(tmp_path)
    await pops.run(5)
    assert pops.sites["fra"].desk.kept.runs == {}
    pops.demand_bps = {"east": 9e8, "west": 1e8}
    await pops.run(1)
    assert len(pops.sites["fra"].desk.kept.runs) == 1
    pops.demand_bps = {"east": 1e8, "west": 1e8}
    await pops.run(1)
    assert pops.sites["fra"].desk.kept.runs == {}


async def test_mode_off_takes_no_step(tmp_path: Path) -> None:
    pops = fleet(tmp_path)
    control = pops.sites["fra"].world.control
    attack = control.config.attack
    control.configure(
        replace(control.config, attack=replace(attack, spread=replace(attack.spread, mode=PlayMode.OFF))), pops.now_s
    )
    pops.demand_bps = {"east": 9e8, "west": 1e8}
    await pops.run(60, 3)
    assert pops.sites["sin"].length() is None


@pytest.mark.parametrize("restart", [True, False])
async def test_a_playbook_that_lost_a_step_keeps_the_others_in_force_and_returns_in_stages(
    tmp_path: Path, restart: bool
) -> None:
    pops = fleet(tmp_path, CALL, DOWN, LONGER)
    pops.demand_bps = {"east": 9e8, "west": 1e8}
    await pops.run(140)
    fra = pops.sites["fra"]
    assert [taken.step for taken in next(iter(fra.desk.kept.runs.values())).taken] == [0, 1, 2]
    control = fra.world.control
    shorter = replace(control.config.attack.spread, playbooks={"spread": book(CALL, DOWN)})
    fra.world.configure(replace(control.config, attack=replace(control.config.attack, spread=shorter)))
    if restart:
        # the file was edited, and the daemon started with it
        fra.begin()
        control.step(pops.now_s)
    assert len(fra.desk.listing()["runs"][0]["steps"]) == 2
    await pops.run(5)
    assert [taken.step for taken in next(iter(fra.desk.kept.runs.values())).taken] == [0, 1]
    assert [len(route.as_path) for route in fra.routes().values() if route] == [1], "the step that is gone is undone"
    assert fra.routes()[B_SIDE] is None
    pops.demand_bps = {"east": 1e8, "west": 1e8}
    seen = []
    for _ in range(100):
        # the change budget has its word
        await pops.run(10, 10)
        seen.append(len(run.taken) if (run := next(iter(fra.desk.kept.runs.values()), None)) else 0)
    assert list(dict.fromkeys(seen)) == [2, 1, 0]
