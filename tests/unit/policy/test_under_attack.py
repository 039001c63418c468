"""I6: while an attack is on health takes nothing off the air; what operators order is done; it ends slowly (S29)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from anycastd.model.absorb import AbsorbHolds, HoldDepref
from anycastd.model.decision import Level, Memory, Reason, Truth
from anycastd.model.fleet import Others
from anycastd.model.safety import CapacityConfig, PopCapacity
from anycastd.policy.capacity import room_elsewhere
from anycastd.policy.draft import Facts, Order
from anycastd.policy.engine import decide
from tests.unit.policy.test_engine import GONE, LEAVE, LEAVING, NOW_S, POOR_DEPREF, SERVING, SHUT, SPENT, STAY, facts

WHY = "an attack is on: 203.0.113.7 (packets_above_usual)"
ATTACKED: dict[str, Any] = {"attack": WHY}
CONFIRMED = Others(pops=3, entry=LEAVING.epoch, counted=("ams", "lon"), normal=("ams", "lon"), present=("ams", "lon"))


def held(found: Facts, memory: Memory) -> tuple[Level, Reason | None]:
    decision, _ = decide(found, memory)
    return decision.level, decision.hold


@pytest.mark.parametrize("spec", [STAY, LEAVE])
@pytest.mark.parametrize(("memory", "level"), [(SERVING, Level.NORMAL), (LEAVING, Level.DEPREF), (SHUT, Level.DEPREF)])
def test_health_lowers_nothing(spec: object, memory: Memory, level: Level) -> None:
    found = facts(Truth.FALSE, spec, fleet=CONFIRMED, **ATTACKED)  # type: ignore[arg-type]
    decision, after = decide(found, memory)
    assert (decision.level, decision.wanted, decision.hold) == (level, Level.WITHDRAWN, Reason.UNDER_ATTACK)
    assert decision.reason is Reason.UNABLE_TO_SERVE
    assert WHY in decision.trail[1].evidence
    assert after.attacked_since_s == NOW_S


def test_what_is_only_degraded_lowers_nothing_either() -> None:
    assert held(facts(Truth.TRUE, POOR_DEPREF, well=Truth.FALSE, **ATTACKED), SERVING) == (
        Level.NORMAL,
        Reason.UNDER_ATTACK,
    )


def test_what_is_absent_stays_absent_and_what_was_lost_comes_back() -> None:
    assert decide(facts(Truth.FALSE, LEAVE, **ATTACKED), GONE)[0].level is Level.WITHDRAWN
    lost = replace(GONE, was_lost=True)
    assert held(facts(Truth.FALSE, LEAVE, **ATTACKED), lost) == (Level.DEPREF, Reason.UNDER_ATTACK)


@pytest.mark.parametrize(
    ("hold", "room", "level"),
    [
        (HoldDepref.WITHOUT_ROOM, Truth.UNKNOWN, Level.NORMAL),
        (HoldDepref.WITHOUT_ROOM, Truth.FALSE, Level.NORMAL),
        (HoldDepref.WITHOUT_ROOM, Truth.TRUE, Level.DEPREF),
        (HoldDepref.ALWAYS, Truth.TRUE, Level.NORMAL),
        (HoldDepref.NEVER, Truth.UNKNOWN, Level.DEPREF),
    ],
)
def test_depref_waits_for_room(hold: HoldDepref, room: Truth, level: Level) -> None:
    found = facts(Truth.FALSE, LEAVE, absorb=AbsorbHolds(hold_depref=hold), room=room, **ATTACKED)
    assert held(found, SERVING) == (level, Reason.UNDER_ATTACK)
    # and there it stays: room is never room for a withdrawal
    assert held(found, LEAVING) == (Level.DEPREF, Reason.UNDER_ATTACK)


def test_switched_off_health_decides_as_ever() -> None:
    quiet = facts(Truth.FALSE, LEAVE)
    for off in (replace(quiet, absorb=None, attack=WHY), replace(quiet, absorb=None)):
        for memory in (SERVING, LEAVING, SHUT):
            assert decide(off, memory)[0] == decide(quiet, memory)[0]
    loose = AbsorbHolds(hold_withdrawal=False, hold_depref=HoldDepref.NEVER)
    assert decide(replace(quiet, absorb=loose, attack=WHY), LEAVING)[0].level is Level.WITHDRAWN


def test_operators_orders_are_done() -> None:
    forced = Order(Level.WITHDRAWN, forced=True, detail="by hand")
    orders: tuple[dict[str, Any], ...] = ({"override": forced}, {"drain": forced})
    for order in orders:
        assert decide(facts(Truth.FALSE, STAY, **order, **ATTACKED), SERVING)[0].level is Level.WITHDRAWN
    drained = facts(Truth.FALSE, STAY, drain=Order(Level.DEPREF, forced=False, detail="d"), **ATTACKED)
    decision, _ = decide(drained, SERVING)
    assert (decision.level, decision.reason) == (Level.DEPREF, Reason.DRAINING)
    # one that may leave by the word of others leaves, though health too would want it away
    gone = facts(Truth.FALSE, drain=Order(Level.WITHDRAWN, forced=False, detail="d"), fleet=CONFIRMED, **ATTACKED)
    assert decide(gone, LEAVING)[0].level is Level.WITHDRAWN
    assert decide(facts(Truth.FALSE, stopping=True, **ATTACKED), SERVING)[0].level is Level.WITHDRAWN


def test_a_step_of_the_return_is_kept() -> None:
    spec = replace(STAY, return_prepends=(2, 1))
    memory = replace(LEAVING, return_step=2, bad_since_s=None)
    for truth, poor in ((Truth.FALSE, spec), (Truth.TRUE, replace(POOR_DEPREF, return_prepends=(2, 1)))):
        decision, after = decide(facts(truth, poor, well=Truth.FALSE, **ATTACKED), memory)
        if decision.hold is Reason.UNDER_ATTACK:
            assert (decision.level, decision.prepend, after.return_step) == (Level.DEPREF, 1, 2)
    assert decide(facts(Truth.FALSE, spec, **ATTACKED), memory)[0].hold is Reason.UNDER_ATTACK


def test_after_the_attack_health_counts_again_when_it_was_calm_for_long_enough() -> None:
    memory = decide(facts(Truth.FALSE, LEAVE, **ATTACKED), SERVING)[1]
    quiet = facts(Truth.FALSE, LEAVE)
    decision, memory = decide(quiet, memory)
    assert (decision.level, decision.hold, memory.calm_since_s) == (Level.NORMAL, Reason.UNDER_ATTACK, NOW_S)
    assert decision.wake_at_s == NOW_S + 60.0
    assert "in 60 s" in decision.trail[1].evidence
    # it flares up: the time begins anew when it ends
    _, memory = decide(replace(quiet, now_s=NOW_S + 50.0, attack=WHY), memory)
    _, memory = decide(replace(quiet, now_s=NOW_S + 55.0), memory)
    decision, memory = decide(replace(quiet, now_s=NOW_S + 114.9), memory)
    assert decision.hold is Reason.UNDER_ATTACK
    decision, memory = decide(replace(quiet, now_s=NOW_S + 115.0), memory)
    assert (decision.level, decision.hold) == (Level.DEPREF, Reason.SETTLING)
    assert (memory.attacked_since_s, memory.calm_since_s) == (None, None)


def test_room_is_known_only_where_every_pop_says_what_it_carries() -> None:
    spec = CapacityConfig(pops={"ams": PopCapacity(capacity_bps=10**9), "lon": PopCapacity(capacity_bps=10**9)})
    loads = {"ams": 1e8, "lon": 2e8}
    assert room_elsewhere(spec, 5e8, loads)[0] is Truth.TRUE
    assert room_elsewhere(spec, 5e8, {"ams": 1e8}) == (Truth.UNKNOWN, "lon did not say what it carries")
    truth, words = room_elsewhere(spec, 5e9, loads)
    assert truth is Truth.FALSE
    assert words.startswith("lon would carry 3450 Mbit/s")
    assert room_elsewhere(spec, None, loads)[0] is Truth.UNKNOWN
    assert room_elsewhere(CapacityConfig(), 5e8, loads)[0] is Truth.UNKNOWN


FELL = replace(LEAVING, level_since_s=NOW_S - 3.0, last_relapse_s=NOW_S - 3.0, bad_since_s=NOW_S - 3.0, relapses=1)


@pytest.mark.parametrize(
    ("memory", "level"),
    [
        (FELL, Level.NORMAL),
        (replace(FELL, level_since_s=NOW_S - 11.0, last_relapse_s=NOW_S - 11.0), Level.DEPREF),
        # it did not fall from NORMAL: it was on its way back
        (replace(FELL, last_relapse_s=NOW_S - 5.0), Level.DEPREF),
    ],
)
def test_what_fell_just_before_the_attack_was_seen_is_taken_back(memory: Memory, level: Level) -> None:
    decision, after = decide(facts(Truth.FALSE, LEAVE, **ATTACKED), memory)
    assert (decision.level, decision.hold) == (level, Reason.UNDER_ATTACK)
    # and stays so, also some time into the attack
    later, _ = decide(facts(Truth.FALSE, LEAVE, **ATTACKED, now_s=NOW_S + 30.0), after)
    assert later.level is level
    # so it is when the checks have become good meanwhile: no slow start for what the attack did
    well, _ = decide(facts(Truth.TRUE, LEAVE, **ATTACKED), replace(memory, bad_since_s=None))
    assert well.level is level
    unknown, _ = decide(facts(Truth.UNKNOWN, LEAVE, **ATTACKED), memory)
    assert unknown.level is Level.DEPREF


def test_nothing_is_taken_back_past_the_budget_or_where_others_have_room() -> None:
    spent = replace(FELL, penalty=SPENT)
    assert held(facts(Truth.FALSE, LEAVE, **ATTACKED), spent) == (Level.DEPREF, Reason.CHANGE_BUDGET)
    assert held(facts(Truth.FALSE, LEAVE, room=Truth.TRUE, **ATTACKED), FELL)[0] is Level.DEPREF
