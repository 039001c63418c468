"""The ladder: a table of situations, each with what is decided, what holds it, and which rules spoke."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_network

import pytest

from anycastd.model.decision import Decision, Level, Memory, Penalty, Reason, Truth
from anycastd.model.topology import LastResort, PrefixSpec, PrefixTimers, WhenDegraded
from anycastd.policy.draft import Facts, Order
from anycastd.policy.engine import RULES, decide
from anycastd.policy.rules.returning import return_hold_s

NOW_S = 10_000.0
STAY = PrefixSpec(prefix=ip_network("203.0.113.0/24"))
LEAVE = replace(STAY, last_resort=LastResort.WITHDRAW)

ABSENT = Memory(level_since_s=1000.0)
SERVING = Memory(level=Level.NORMAL, level_since_s=1000.0, was_announced=True, fine_since_s=1000.0)
LEAVING = replace(SERVING, level=Level.DEPREF, level_since_s=NOW_S - 60.0, fine_since_s=None, bad_since_s=NOW_S - 60.0)
MENDING = replace(LEAVING, bad_since_s=None, fine_since_s=NOW_S - 100.0)
MENDED = replace(LEAVING, level_since_s=NOW_S - 400.0, bad_since_s=None, fine_since_s=NOW_S - 300.0)
GONE = replace(LEAVING, level=Level.WITHDRAWN)
SHUT = replace(LEAVING, level=Level.GSHUT)
SPENT = Penalty(plain=1500.0, strict=1500.0, at_s=NOW_S)


POOR_DEPREF = replace(LEAVE, when_degraded=WhenDegraded.DEPREF)


def facts(condition: Truth, spec: PrefixSpec = STAY, **other: object) -> Facts:
    return replace(Facts(now_s=NOW_S, spec=spec, condition=condition), **other)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Case:
    """A situation and what must come of it; `wake_in_s` None: nothing to wait for."""

    name: str
    memory: Memory
    facts: Facts
    level: Level
    reason: Reason
    hold: Reason | None = None
    rules: tuple[str, ...] = field(default=("health",))
    wake_in_s: float | None = None


T, F, U = Truth.TRUE, Truth.FALSE, Truth.UNKNOWN
W, D, N = Level.WITHDRAWN, Level.DEPREF, Level.NORMAL
R = Reason

CASES = (
    # the way up
    Case("first announcement", ABSENT, facts(T), N, R.SERVING),
    Case("first announcement, kernel not ready", ABSENT, facts(T, data_plane_ready=False), W, R.SERVING,
         R.DATA_PLANE_NOT_READY, ("health", "data_plane")),
    Case("first announcement, ExaBGP not seen", ABSENT, facts(T, bgp_observed=False), W, R.SERVING,
         R.OBSERVATION_MISSING, ("health", "observation")),
    Case("neither kernel nor ExaBGP", ABSENT, facts(T, data_plane_ready=False, bgp_observed=False), W, R.SERVING,
         R.DATA_PLANE_NOT_READY, ("health", "data_plane")),
    Case("first checks", ABSENT, facts(U, first_checks=True), W, R.FIRST_CHECKS, R.FIRST_CHECKS),
    Case("never fine", ABSENT, facts(F), W, R.UNABLE_TO_SERVE),
    Case("all is well", SERVING, facts(T), N, R.SERVING),
    Case("all is well, kernel lost a route", SERVING, facts(T, data_plane_ready=False), N, R.SERVING),
    Case("back after a withdrawal", GONE, facts(T), D, R.SERVING, R.SLOW_START, ("health", "slow_start"), 300.0),
    Case("back after a withdrawal, kernel not ready", GONE, facts(T, data_plane_ready=False), W, R.SERVING,
         R.DATA_PLANE_NOT_READY, ("health", "slow_start", "data_plane"), 300.0),
    Case("fine for 60 s", MENDING, facts(T), D, R.SERVING, R.SLOW_START, ("health", "slow_start"), 240.0),
    Case("fine for long enough", MENDED, facts(T), N, R.SERVING),
    Case("fine for long enough, budget spent", replace(MENDED, penalty=SPENT), facts(T), D, R.SERVING,
         R.CHANGE_BUDGET, ("health", "return_budget"), 594.0),
    Case("third relapse", replace(MENDED, relapses=3), facts(T), D, R.SERVING, R.SLOW_START,
         ("health", "slow_start"), 900.0),
    Case("found at GSHUT, fine", SHUT, facts(T), D, R.SERVING, R.SLOW_START, ("health", "slow_start"), 300.0),
    # the way down
    Case("fails", SERVING, facts(F), D, R.UNABLE_TO_SERVE, R.SETTLING, ("health", "settle"), 2.0),
    Case("fails, may leave", SERVING, facts(F, LEAVE), D, R.UNABLE_TO_SERVE, R.SETTLING, ("health", "settle"), 2.0),
    Case("fails, budget spent", replace(SERVING, penalty=SPENT), facts(F, LEAVE), D, R.UNABLE_TO_SERVE, R.SETTLING,
         ("health", "settle"), 2.0),
    Case("failed and stays", LEAVING, facts(F), D, R.UNABLE_TO_SERVE, R.STATIC_GUARD, ("health", "withdraw_guard")),
    Case("failed and leaves", LEAVING, facts(F, LEAVE), W, R.UNABLE_TO_SERVE, None, ("health", "withdraw_guard")),
    Case("failed, checker suspect", LEAVING, facts(F, LEAVE, checker_suspect=True), D, R.UNABLE_TO_SERVE,
         R.CHECKER_SUSPECT, ("health", "checker_suspect")),
    Case("failed, budget spent", replace(LEAVING, penalty=SPENT), facts(F, LEAVE), D, R.UNABLE_TO_SERVE,
         R.CHANGE_BUDGET, ("health", "withdraw_guard", "withdraw_budget"), 594.0),
    Case("found at GSHUT, failed", SHUT, facts(F), D, R.UNABLE_TO_SERVE, R.STATIC_GUARD,
         ("health", "withdraw_guard")),
    Case("gone and still bad", GONE, facts(F, LEAVE), W, R.UNABLE_TO_SERVE),
    Case("fails, ExaBGP not seen", SERVING, facts(F, bgp_observed=False), N, R.UNABLE_TO_SERVE,
         R.OBSERVATION_MISSING, ("health", "settle", "observation"), 2.0),
    # only what is degraded is left
    Case("degraded, kept", SERVING, facts(T, well=F), N, R.SERVING),
    Case("degraded, to be depreferenced", SERVING, facts(T, POOR_DEPREF, well=F), D, R.DEGRADED, None,
         ("health", "degraded")),
    Case("degraded at the first announcement", ABSENT, facts(T, POOR_DEPREF, well=F), D, R.DEGRADED, None,
         ("health", "degraded")),
    Case("degraded for long", MENDED, facts(T, POOR_DEPREF, well=F), D, R.DEGRADED, None, ("health", "degraded")),
    Case("perhaps well", SERVING, facts(T, POOR_DEPREF, well=U), N, R.SERVING),
    Case("perhaps well again", MENDED, facts(T, POOR_DEPREF, well=U), D, R.DEGRADED, None, ("health", "degraded")),
    Case("well again", replace(LEAVING, bad_since_s=None), facts(T, POOR_DEPREF), D, R.SERVING, R.SLOW_START,
         ("health", "slow_start"), 300.0),
    Case("degraded and stopping", SERVING, facts(T, POOR_DEPREF, well=F, stopping=True), W, R.STOPPING, None,
         ("health", "degraded", "stopping", "withdraw_guard")),
    # unknown
    Case("unknown while serving", SERVING, facts(U), N, R.HEALTH_UNKNOWN, R.HEALTH_UNKNOWN),
    Case("unknown while depreferenced", LEAVING, facts(U, LEAVE), D, R.HEALTH_UNKNOWN, R.HEALTH_UNKNOWN),
    Case("unknown while gone", GONE, facts(U), W, R.HEALTH_UNKNOWN, R.HEALTH_UNKNOWN),
    Case("restarted, first checks", SERVING, facts(U, first_checks=True), N, R.FIRST_CHECKS, R.FIRST_CHECKS),
    # told to leave
    Case("stopping", SERVING, facts(T, stopping=True), W, R.STOPPING, None, ("health", "stopping", "withdraw_guard")),
    Case("stopping, failed, suspect, spent", replace(LEAVING, penalty=SPENT),
         facts(F, checker_suspect=True, stopping=True), W, R.STOPPING, None,
         ("health", "stopping", "withdraw_guard")),
    Case("stopping, unknown", SERVING, facts(U, stopping=True), W, R.STOPPING, None,
         ("health", "stopping", "withdraw_guard")),
    Case("stopping while absent", ABSENT, facts(T, stopping=True), W, R.STOPPING, None, ("health", "stopping")),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_situation(case: Case) -> None:
    decision, after = decide(case.facts, case.memory)
    assert (decision.level, decision.reason, decision.hold) == (case.level, case.reason, case.hold)
    assert tuple(step.rule for step in decision.trail) == case.rules
    if case.wake_in_s is None:
        assert decision.wake_at_s is None
    else:
        assert decision.wake_at_s == pytest.approx(NOW_S + case.wake_in_s, abs=1.0)
    assert after.level is case.level
    assert after.level_since_s == (case.memory.level_since_s if case.level is case.memory.level else NOW_S)


def run(spec: PrefixSpec, memory: Memory, condition: Truth, now_s: float) -> tuple[Decision, Memory]:
    return decide(Facts(now_s=now_s, spec=spec, condition=condition), memory)


def test_the_order_of_policy_is_one_line() -> None:
    assert [rule.__name__ for rule in RULES] == [
        "health", "degraded", "under_attack", "standby", "override", "stopping", "drain", "intent", "slow_start",
        "return_steps",
        "return_budget",
        "settle", "checker_suspect", "withdraw_guard", "withdraw_budget", "gshut_wait", "gshut_budget",
        "circuit_breaker", "fleet_token", "data_plane", "come_back", "neighbor_drain", "spread", "freeze",
        "observation",
    ]  # fmt: skip


def test_hold_down_doubles_with_each_relapse_up_to_its_cap() -> None:
    timers = PrefixTimers()
    holds = [return_hold_s(timers, Memory(relapses=relapses)) for relapses in range(7)]
    assert holds == [300.0, 300.0, 600.0, 1200.0, 1800.0, 1800.0, 1800.0]


def test_hold_down_of_a_line_that_flapped_for_a_month_is_its_cap() -> None:
    assert return_hold_s(PrefixTimers(), Memory(relapses=5000)) == 1800.0


def test_hold_down_is_never_shorter_than_return_after() -> None:
    assert return_hold_s(PrefixTimers(return_after_s=600.0, return_max_s=60.0), Memory()) == 600.0


def test_relapses_are_counted_within_the_window_and_forgotten_after_it() -> None:
    memory, now_s = SERVING, NOW_S
    for relapse in (1, 2, 3):
        _, memory = run(STAY, replace(memory, level=Level.NORMAL), Truth.FALSE, now_s)
        assert memory.relapses == relapse
        now_s += STAY.timers.backoff_reset_s
    _, memory = run(STAY, replace(memory, level=Level.NORMAL), Truth.FALSE, now_s + 0.1)
    assert memory.relapses == 1


def test_being_told_to_stop_is_no_relapse() -> None:
    _, after = decide(facts(Truth.TRUE, stopping=True), SERVING)
    assert after.relapses == 0


def test_every_entry_into_depref_is_a_new_epoch() -> None:
    _, down = run(LEAVE, SERVING, Truth.FALSE, NOW_S)
    assert down.epoch == SERVING.epoch + 1
    _, same = run(LEAVE, down, Truth.FALSE, NOW_S + 1.0)
    assert same.epoch == down.epoch
    _, gone = run(LEAVE, same, Truth.FALSE, NOW_S + 2.0)
    assert (gone.level, gone.epoch) == (Level.WITHDRAWN, down.epoch)
    _, back = run(LEAVE, gone, Truth.TRUE, NOW_S + 3.0)
    assert (back.level, back.epoch) == (Level.DEPREF, down.epoch + 1)


def test_a_passing_fault_costs_one_attribute_change_and_no_withdrawal() -> None:
    _, down = run(LEAVE, SERVING, Truth.FALSE, NOW_S)
    _, up = run(LEAVE, down, Truth.TRUE, NOW_S + 1.9)
    assert (up.level, up.penalty.plain) == (Level.DEPREF, 500.0)
    _, down = run(LEAVE, up, Truth.FALSE, NOW_S + 2.1)
    assert down.level is Level.DEPREF


def test_without_settling_a_failure_withdraws_at_once() -> None:
    spec = replace(LEAVE, timers=PrefixTimers(settle_s=0.0))
    decision, _ = run(spec, SERVING, Truth.FALSE, NOW_S)
    assert decision.level is Level.WITHDRAWN


def test_unknown_ends_the_time_of_being_fine() -> None:
    _, memory = run(STAY, MENDING, Truth.UNKNOWN, NOW_S)
    decision, _ = run(STAY, memory, Truth.TRUE, NOW_S + 1.0)
    assert decision.wake_at_s == NOW_S + 301.0


def test_a_decision_says_what_would_change_it() -> None:
    decision, _ = run(STAY, MENDING, Truth.TRUE, NOW_S)
    assert decision.would_change == ("fine for another 240 s -> NORMAL",)
    decision, _ = run(STAY, SERVING, Truth.FALSE, NOW_S)
    assert decision.would_change == ("enough usable again -> announced, first depreferenced",)


def test_while_something_is_ordered_only_its_end_would_change_a_decision() -> None:
    forced = decide(facts(Truth.FALSE, override=Order(Level.DEPREF, forced=False, detail="by ann")), SERVING)[0]
    assert forced.would_change == (f"anycastd override clear {STAY.prefix} -> as health says",)
    for condition in (Truth.TRUE, Truth.FALSE):
        frozen = decide(facts(condition, frozen="incident"), SERVING)[0]
        assert (frozen.level, frozen.would_change) == (Level.NORMAL, ("anycastd unfreeze",))
